"""The sync controller: keeps the flows of one environment at the head of its branch.

Failure argument. An attempt is all or nothing in itself (sync/reconcile.py), so the controller may be killed anywhere,
and any number may run: whoever comes second finds nothing to do. What may pass by itself (a remote, the database) is
tried again with back-off. What will not (a file that is wrong, a guard that refused) waits for another commit: the
branch is looked at as before, but nothing is read, and nothing is recorded a second time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextlib import suppress

from automata.errors import AutomataError, Unavailable
from automata.store.database import Database
from automata.sync.reconcile import stages_of, sync_once
from automata.sync.source import Source, head
from automata.telemetry import SYNC_ATTEMPTS, SYNC_LAST, SYNC_SECONDS

log = logging.getLogger(__name__)

FIRST_PAUSE_SEC = 2.0
LONGEST_PAUSE_SEC = 600.0


class Controller:
    """`stuck` is the commit that failed for good, and is not tried again; `failures` count those that may pass."""

    def __init__(self, db: Database, source: Source, interval_sec: float) -> None:
        self._db = db
        self._source = source
        self._interval = interval_sec
        self.stuck: str | None = None
        self.failures = 0

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            pause = await self.turn()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause * random.uniform(0.9, 1.0))  # noqa: S311 - jitter

    async def turn(self) -> float:
        """One look; returns the seconds until the next. Raises nothing of ours: what failed is told and counted."""
        try:
            if self.stuck is None or await asyncio.to_thread(head, self._source, stages_of) != self.stuck:
                await self._sync()
        except Unavailable as error:
            return self._later(error)
        except AutomataError as error:
            self._give_up(error)
        self.failures = 0
        return self._interval

    async def _sync(self) -> None:
        began = time.monotonic()
        report = await sync_once(self._db, self._source)
        self.stuck = None
        SYNC_SECONDS.observe(time.monotonic() - began)
        SYNC_ATTEMPTS.labels(self._source.environment, report.status).inc()
        SYNC_LAST.labels(self._source.environment).set_to_current_time()
        for warning in report.diagnostics:
            log.warning("sync: %s", warning)
        if report.status == "synced":
            log.info("sync: %s", report.summary())

    def _later(self, error: Unavailable) -> float:
        self.failures += 1
        SYNC_ATTEMPTS.labels(self._source.environment, "unavailable").inc()
        pause = min(FIRST_PAUSE_SEC * 2.0 ** min(self.failures - 1, 20), LONGEST_PAUSE_SEC)
        log.warning("sync: %s; again in %.0f s", error, pause)
        return pause

    def _give_up(self, error: AutomataError) -> None:
        self.stuck = error.details.get("sha") or None
        SYNC_ATTEMPTS.labels(self._source.environment, "failed").inc()
        log.error("sync: %s%s", error, "; waiting for another commit" if self.stuck else "")
        for finding in error.diagnostics:
            log.error("sync: %s", finding)
