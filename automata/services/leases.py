"""What a worker holds: renewed while it runs, stopped when it is somebody else's, or when it could not be renewed."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from automata.errors import AutomataError
from automata.settings import Settings
from automata.store import worker_queue
from automata.store.database import Database
from automata.store.worker_queue import Claim

log = logging.getLogger(__name__)

WATCH_SEC = 1.0
STOP_BEFORE_LEASE_SEC = 5.0  # a call that could not be renewed ends this long before its lease does


@dataclass(slots=True)
class HeldLease:
    """A claim that is being executed by `call`."""

    claim: Claim
    call: asyncio.Task[None]
    safe_until: float  # monotonic; the lease, less the margin
    since: float


class Leases:
    """`held` by fence; the completer takes a lease out when the outcome is committed."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.held: dict[UUID, HeldLease] = {}
        self._db = db
        self._settings = settings

    def hold(self, claim: Claim, call: asyncio.Task[None], asked: float) -> None:
        """`asked`: monotonic, before the database was asked for the lease."""
        self.held[claim.fence] = HeldLease(claim, call, self._safe_until(asked), asked)

    def _safe_until(self, asked: float) -> float:
        return asked + self._settings.lease_sec - STOP_BEFORE_LEASE_SEC

    async def heartbeat(self) -> None:
        """Renew all leases again and again; runs until it is cancelled."""
        while True:
            await asyncio.sleep(self._settings.heartbeat_sec * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
            try:
                await self._renew()
            except AutomataError as error:
                log.warning("worker: leases not renewed: %s", error)
            self._stop_unsafe()

    async def _renew(self) -> None:
        held = dict(self.held)
        if not held:
            return
        asked = time.monotonic()
        async with self._db.connection() as conn:
            ours = await worker_queue.renew(conn, _rows(held), self._settings.lease_sec)
        for fence, item in held.items():
            if fence in ours:
                item.safe_until = self._safe_until(asked)
            elif fence in self.held:
                item.call.cancel()  # cancelled, or another worker's by now

    def _stop_unsafe(self) -> None:
        for item in list(self.held.values()):
            if time.monotonic() > item.safe_until:
                item.call.cancel()

    async def watch(self) -> None:
        """Calls that were cancelled end within a second or two, wherever the cancel came from.

        One statement a second while calls are under way that are older than that, none otherwise; short calls are
        over before anybody could cancel them.
        """
        while True:
            await asyncio.sleep(WATCH_SEC)
            old = time.monotonic() - WATCH_SEC
            held = {fence: item for fence, item in self.held.items() if item.since <= old and not item.call.done()}
            if not held:
                continue
            try:
                async with self._db.connection() as conn:
                    ours = await worker_queue.still_held(conn, _rows(held))
            except AutomataError:
                continue  # the heartbeat says it louder
            for fence, item in held.items():
                if fence not in ours and fence in self.held:
                    item.call.cancel()


def _rows(held: Mapping[UUID, HeldLease]) -> list[tuple[UUID, str, UUID]]:
    return [(item.claim.run.id, item.claim.step, fence) for fence, item in held.items()]
