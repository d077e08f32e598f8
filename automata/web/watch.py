"""Streams that tell pages to look again: one reader of the database for all that watch a run in this process.

Failure argument. A stream carries no facts, so one that is cut, refused or late costs a page a few seconds: it polls
meanwhile. The reader runs while somebody watches and ends with the last; a look that fails is tried at the next turn.
Streams are bounded in number and in length: who comes back after the end signs in anew. One that finds no room is told
so before it begins, and the page polls. A server that stops ends them within a turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic
from uuid import UUID

from fastapi import Request

from automata.errors import AutomataError, Busy
from automata.http.context import context_of
from automata.store.database import Database
from automata.store.flow_visibility import viewer_labels, visible_runs
from automata.store.run_revisions import RunMark, run_marks

TURN_SEC = 1.0  # of the reader
MAX_STREAMS = 200  # of one process
MAX_SEC = 600.0
SILENCE_SEC = 15.0  # proxies cut what says nothing
CHANGED, OVER, BREATH = b"event: changed\ndata:\n\n", b"event: over\ndata:\n\n", b": still here\n\n"

log = logging.getLogger(__name__)


class Watch:
    """The streams of one process and their reader."""

    def __init__(self, db: Database, stopping: asyncio.Event, turn_sec: float = TURN_SEC) -> None:
        self._db = db
        self._stopping = stopping
        self._turn_sec = turn_sec
        self._known: dict[UUID, RunMark] = {}
        self._watchers: dict[UUID, set[asyncio.Event]] = {}
        self._reader: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, request: Request) -> Watch:
        """This process's."""
        state, context = request.app.state, context_of(request)
        if not hasattr(state, "console_watch"):
            state.console_watch = cls(context.db, context.stopping)
        watch: Watch = state.console_watch
        return watch

    @property
    def streams(self) -> int:
        """How many pages watch."""
        return sum(map(len, self._watchers.values()))

    def check_room(self) -> None:
        """Raises Busy."""
        if self.streams >= MAX_STREAMS:
            raise Busy(f"{MAX_STREAMS} pages watch runs already.", hint="The page looks again by itself.")

    async def stream(self, run: UUID) -> AsyncIterator[bytes]:
        """Server-sent events: `changed` at first and at every change, `over` at the end. Raises Busy."""
        self.check_room()
        event = asyncio.Event()
        self._watchers.setdefault(run, set()).add(event)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read())
        try:
            async for piece in self._tell(run, event):
                yield piece
        finally:
            self._watchers[run].discard(event)
            if not self._watchers[run]:
                del self._watchers[run]
                self._known.pop(run, None)

    async def _tell(self, run: UUID, event: asyncio.Event) -> AsyncIterator[bytes]:
        until, seen = monotonic() + MAX_SEC, None
        yield b"retry: 2000\n\n"
        while monotonic() < until and not self._stopping.is_set():
            event.clear()
            sign = self._known.get(run)
            if sign is not None and sign != seen:
                if not await self._is_shown(run):
                    return
                seen = sign
                yield OVER if sign.over else CHANGED
                if sign.over:
                    return
            try:
                async with asyncio.timeout(SILENCE_SEC):
                    await event.wait()
            except TimeoutError:
                yield BREATH

    async def _is_shown(self, run: UUID) -> bool:
        """Whether whoever watches still knows of the run's flow: it may have lost a label that they are limited to."""
        if viewer_labels() is None:
            return True
        async with self._db.connection() as conn:
            return bool(await visible_runs(conn, [run]))

    async def _read(self) -> None:
        while self._watchers:
            try:
                async with self._db.connection() as conn:
                    current = await run_marks(conn, list(self._watchers))
            except AutomataError as error:
                log.warning("pages that watch runs wait: %s", error)
                current = {}
            for run, sign in current.items():
                if run in self._watchers and self._known.get(run) != sign:
                    self._known[run] = sign
                    self._wake(run)
            await asyncio.sleep(self._turn_sec)
            if self._stopping.is_set():
                for run in list(self._watchers):
                    self._wake(run)
                return

    def _wake(self, run: UUID) -> None:
        for event in self._watchers[run]:
            event.set()
