"""Retention: what the leading scheduler does beside firing. Walks over ended runs and deletes the old ones.

Failure argument. Each batch is a transaction that begins by checking the leader's term, so of two schedulers that both
believe to lead one deletes; and two that deleted the same would find nothing the second time. Where the walk is, is
known here only: a new leader begins again at the oldest run, and finds there what its predecessor left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from uuid import UUID

from automata.errors import AutomataError
from automata.pausing import pause
from automata.store.database import Database
from automata.store.leadership import is_leader
from automata.store.retention import BEFORE_ALL, MAX_RUNS, PrunedBatch, prune_batch
from automata.telemetry import RETENTION_LAST, RETENTION_ROWS, RETENTION_RUNS

log = logging.getLogger(__name__)

WALK_SEC = 600.0  # from the end of a walk to the next one: a policy in days may be ten minutes late
PAUSE_SEC = 0.1
SHARE = 4  # a batch is followed by a pause of so many times its length: a fifth of one connection at most


class Retention:
    """Off when `days` is 0. `run` ends with `stop`, or when another leads."""

    def __init__(self, db: Database, role: str, days: int, batch: int = MAX_RUNS) -> None:
        self._db = db
        self._role = role
        self._days = days
        self._batch = batch

    async def run(self, epoch: int, stop: asyncio.Event) -> None:
        """Walk again and again until `stop`, or until another leads."""
        while self._days and not stop.is_set():
            if await self.walk(epoch, stop) is None:
                return
            await pause(WALK_SEC, stop)

    async def walk(self, epoch: int, stop: asyncio.Event) -> int | None:
        """From the oldest run to the youngest that may go: how many went. None when another leads."""
        after: UUID | None = BEFORE_ALL
        total = 0
        while after is not None and not stop.is_set():
            began = time.monotonic()
            try:
                if (swept := await self.run_once(epoch, after)) is None:
                    return None
                after, total = swept.after, total + swept.runs
            except AutomataError as error:
                log.warning("retention: %s", error)
            if after is not None:
                await pause(max(PAUSE_SEC, SHARE * (time.monotonic() - began)), stop)
        if total:
            log.info("retention: deleted %d runs that ended more than %d days ago", total, self._days)
        if after is None:
            RETENTION_LAST.set_to_current_time()
        return total

    async def run_once(self, epoch: int, after: UUID) -> PrunedBatch | None:
        """One batch; None when another leads."""
        async with self._db.transaction() as conn:
            if not await is_leader(conn, self._role, epoch):
                return None
            swept = await prune_batch(conn, self._days, after, self._batch)
        RETENTION_RUNS.inc(swept.runs)
        RETENTION_ROWS.inc(swept.rows)
        return swept
