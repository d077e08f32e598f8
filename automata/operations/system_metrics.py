"""The metrics of the whole system, read from the database when somebody asks, and not more often than that is worth."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import Gauge

from automata.caching import StaleWhileRevalidate
from automata.errors import AutomataError
from automata.store.database import Database
from automata.store.gauges import Gauges, read_gauges
from automata.telemetry import (
    APPROVALS,
    DATABASE_UP,
    DEAD_LETTERS,
    NOTIFICATIONS_PENDING,
    POOL,
    POOL_MAX,
    POOL_WAITING,
    PROCESSES,
    QUEUE_AGE,
    QUEUE_TASKS,
    SCHEDULE_OVERDUE,
)

FRESH_SEC: Final = 5.0
READ_SEC: Final = 3.0  # a scrape must not hang with the database
PARTS: Final = ("api", "scheduler", "orchestrator", "worker", "controller")
STATES: Final = ("ready", "delayed", "running")


class SystemMetrics:
    """However many ask, the database is asked once in FRESH_SEC. What could not be read is left out, never old."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._shown = StaleWhileRevalidate(self._show, FRESH_SEC, FRESH_SEC)

    async def refresh(self) -> None:
        """Show what is true now, or was FRESH_SEC ago."""
        await self._shown.get()

    async def _show(self) -> None:
        try:
            async with asyncio.timeout(READ_SEC), self._db.transaction() as conn:
                gauges = await read_gauges(conn)
        except (AutomataError, TimeoutError):
            gauges = None
        _show(gauges)


def show_pool(db: Database) -> None:
    """Set the gauges of this process's connections."""
    pool = db.pool()
    for state in ("idle", "busy"):
        POOL.labels(state).set(pool[state])
    POOL_MAX.set(pool["most"])
    POOL_WAITING.set(pool["waiting"])


def _show(gauges: Gauges | None) -> None:
    DATABASE_UP.set(gauges is not None)
    for gauge in (QUEUE_TASKS, QUEUE_AGE, PROCESSES):
        gauge.clear()
    plain = (DEAD_LETTERS, APPROVALS, NOTIFICATIONS_PENDING, SCHEDULE_OVERDUE)
    if gauges is None:
        _set(plain, (float("nan"),) * len(plain))
        return
    _set(plain, (gauges.dead_letters, gauges.approvals, gauges.notifications, gauges.schedule_overdue))
    # A queue that is empty is told too, at zero: an alert that loses its series would stay silent.
    for queue in {"default", *(queue for queue, _ in gauges.tasks), *gauges.oldest_ready}:
        for state in STATES:
            QUEUE_TASKS.labels(queue, state).set(gauges.tasks.get((queue, state), 0))
        QUEUE_AGE.labels(queue).set(gauges.oldest_ready.get(queue, 0.0))
    for part in {*PARTS, *gauges.processes}:
        PROCESSES.labels(part).set(gauges.processes.get(part, 0))


def _set(gauges: tuple[Gauge, ...], values: tuple[float, ...]) -> None:
    for gauge, value in zip(gauges, values, strict=True):
        gauge.set(value)
