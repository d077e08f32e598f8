"""The scheduler: takes the schedules whose fire time has come, and writes the runs they start.

Failure argument. One batch of schedules is one transaction: the runs of their fires and the moved `next_fire_at` are
written together or not at all, so a scheduler that dies repeats a batch and loses none. The transaction begins by
checking the leader's term; and should two decide about one fire all the same, the unique key (schedule, fire time)
leaves one run. A leader that stops in the middle of a batch holds its rows until the server ends that transaction,
which is sooner than it ends the seat. What is remembered between batches (which fires wait) only saves looking.
Only the database's clock is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from automata.broker.contract import RUNS_PENDING, Broker
from automata.errors import AutomataError
from automata.services.firing import Decision, decide
from automata.services.leader import Leader, LostTerm
from automata.services.plans import Compiled, Plans
from automata.services.retention import Retention
from automata.settings import Settings
from automata.store.codec import dumps
from automata.store.database import Database
from automata.store.fires import Due, next_fire_sec, record, take_due
from automata.store.leadership import holds
from automata.store.queue import CreatedRun, NewRun, create_runs
from automata.telemetry import SCHEDULE_ERRORS, SCHEDULE_FIRES, SCHEDULE_LATENESS

log = logging.getLogger(__name__)

ROLE = "scheduler"
LOOK_SEC = 1.0  # a schedule that was made or changed is seen this soon; so is the end of a run that a fire waits for
BUSY_SEC = 0.05  # what is due is locked by an edit or a sync
# A batch whose schedules all catch up is cut at the first of these: what is over stays due and comes next. The time
# is far below leadership.PAUSE_SEC, after which the server ends a transaction that is only being thought about.
MAX_RUNS = 2_000
MAX_BYTES = 16 * 2**20
DECIDE_SEC = 0.5

Now = Callable[[], datetime]


class Scheduler:
    """One of any number; the one that leads works, the others wait. `now` replaces the database's clock in tests."""

    def __init__(self, db: Database, broker: Broker, plans: Plans, settings: Settings, now: Now | None = None) -> None:
        self._db = db
        self._broker = broker
        self._plans = plans
        self._settings = settings
        self._now = now
        self._held: dict[UUID, float] = {}  # a fire waits for the run before it -> when to look again (monotonic)
        self._retention = Retention(db, ROLE, settings.retention_days)
        self.leader = Leader(db.url, ROLE, self.office)

    async def run(self, stop: asyncio.Event) -> None:
        await self.leader.run(stop)

    async def office(self, epoch: int, stop: asyncio.Event) -> None:
        """Fire, and delete what is old beside it, until `stop`. Raises LostTerm when another leads."""
        beside = asyncio.create_task(self._retention.run(epoch, stop))
        try:
            await self._fire(epoch, stop)
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)

    async def _fire(self, epoch: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if not (pause := await self._until_due()):
                    pause = 0.0 if await self.turn(epoch) else BUSY_SEC
            except AutomataError as error:
                log.warning("scheduler: %s", error)
                pause = LOOK_SEC
            if pause:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)

    async def turn(self, epoch: int) -> bool:
        """Decide about one batch; whether there was one. Raises LostTerm."""
        waiting = self._waiting()
        async with self._db.transaction() as conn:
            if not await holds(conn, ROLE, epoch):
                raise LostTerm
            due = await take_due(conn, self._settings.batch, list(waiting), self._now and self._now())
            if not due:
                return False
            compiled = await self._plans.get({one.version_id for one in due if one.version_id})
            decisions = _decide(due, compiled)
            runs = [run for decision in decisions for run in decision.runs]
            made = await create_runs(conn, runs) if runs else []
            await record(conn, [decision.decided for decision in decisions if decision.decided])
        again = time.monotonic() + LOOK_SEC
        self._held |= {one.id: again for one, decision in zip(due, decisions, strict=False) if not decision.decided}
        SCHEDULE_ERRORS.inc(sum(1 for one in decisions if one.decided and one.decided.error))
        self._announce(runs, made)
        return True

    def _announce(self, runs: Sequence[NewRun], made: Sequence[CreatedRun]) -> None:
        fresh = [(run, one) for run, one in zip(runs, made, strict=True) if one.created]
        if not fresh:
            return
        SCHEDULE_FIRES.inc(len(fresh))
        for run, one in fresh:
            if run.scheduled_for:
                SCHEDULE_LATENESS.observe((one.created_at - run.scheduled_for).total_seconds())
        self._broker.ring(RUNS_PENDING, [str(run.id) for run, _ in fresh])

    async def _until_due(self) -> float:
        """Seconds that may pass before a look is worth it; 0 when something is due."""
        waiting = self._waiting()
        async with self._db.connection() as conn:
            due = await next_fire_sec(conn, list(waiting))
        soonest = min(waiting.values(), default=time.monotonic() + LOOK_SEC) - time.monotonic()
        return max(0.0, min(LOOK_SEC, soonest, LOOK_SEC if due is None else due))

    def _waiting(self) -> Mapping[UUID, float]:
        now = time.monotonic()
        self._held = {id: until for id, until in self._held.items() if until > now}
        return self._held


def _decide(due: Sequence[Due], compiled: Mapping[UUID, Compiled]) -> list[Decision]:
    """Decisions about the first of `due`, up to MAX_RUNS, MAX_BYTES and DECIDE_SEC; at least about one."""
    decisions: list[Decision] = []
    count = size = 0
    until = time.monotonic() + DECIDE_SEC
    for one in due:
        if decisions and (count >= MAX_RUNS or size >= MAX_BYTES or time.monotonic() > until):
            break
        decisions.append(decision := decide(one, compiled))
        count += len(decision.runs)
        size += len(decision.runs) * len(dumps(decision.runs[0].inputs)) if decision.runs else 0
    return decisions
