"""The scheduler: takes the schedules whose fire time has come, and writes the runs they start.

Failure argument. One batch of schedules is one transaction: the runs of their fires and the moved `next_fire_at` are
written together or not at all, so a scheduler that dies repeats a batch and loses none. The transaction begins by
checking the leader's term; and should two decide about one fire all the same, the unique key (schedule, fire time)
leaves one run. A leader that stops in the middle of a batch holds its rows until the server ends that transaction,
which is sooner than it ends the leader's session. What is remembered between batches (which fires wait) only saves
looking. Only the database's clock is asked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from automata.broker.contract import RUNS_PENDING, Broker
from automata.errors import AutomataError
from automata.pausing import pause
from automata.services.fire_decisions import FireDecision, decide
from automata.services.leader_election import Leader, LostTerm
from automata.services.plan_cache import CompiledVersion, PlanCache
from automata.services.retention import Retention
from automata.settings import Settings
from automata.store.database import Database
from automata.store.due_schedules import DueSchedule, next_fire_sec, record_decisions, take_due
from automata.store.json_codec import dumps
from automata.store.leadership import is_leader
from automata.store.new_runs import CreatedRun, NewRun, create_runs
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

    def __init__(
        self, db: Database, broker: Broker, plans: PlanCache, settings: Settings, now: Now | None = None
    ) -> None:
        self._db = db
        self._broker = broker
        self._plans = plans
        self._settings = settings
        self._now = now
        self._waiting_fires: dict[
            UUID, float
        ] = {}  # a fire waits for the run before it -> when to look again (monotonic)
        self._retention = Retention(db, ROLE, settings.retention_days)
        self.leader = Leader(db.url, ROLE, self.on_elected)

    async def run(self, stop: asyncio.Event) -> None:
        """Stand for election until `stop`."""
        await self.leader.run(stop)

    async def on_elected(self, epoch: int, stop: asyncio.Event) -> None:
        """Fire schedules, and delete old runs beside that, until `stop`. Raises LostTerm when another leads."""
        beside = asyncio.create_task(self._retention.run(epoch, stop))
        try:
            await self._fire(epoch, stop)
        finally:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)

    async def _fire(self, epoch: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                if not (pause_sec := await self._until_due()):
                    pause_sec = 0.0 if await self.run_once(epoch) else BUSY_SEC
            except AutomataError as error:
                log.warning("scheduler: %s", error)
                pause_sec = LOOK_SEC
            if pause_sec:
                await pause(pause_sec, stop)

    async def run_once(self, epoch: int) -> bool:
        """Decide about one batch; whether there was one. Raises LostTerm."""
        waiting = self._still_waiting()
        async with self._db.transaction() as conn:
            if not await is_leader(conn, ROLE, epoch):
                raise LostTerm
            due = await take_due(conn, self._settings.batch, list(waiting), self._now and self._now())
            if not due:
                return False
            compiled = await self._plans.get({schedule.version_id for schedule in due if schedule.version_id})
            decisions = _decide(due, compiled)
            runs = [run for decision in decisions for run in decision.runs]
            created = await create_runs(conn, runs) if runs else []
            await record_decisions(conn, [decision.decided for decision in decisions if decision.decided])
        again = time.monotonic() + LOOK_SEC
        undecided = [item.id for item, decision in zip(due, decisions, strict=False) if not decision.decided]
        self._waiting_fires |= dict.fromkeys(undecided, again)
        SCHEDULE_ERRORS.inc(sum(1 for item in decisions if item.decided and item.decided.error))
        self._announce(runs, created)
        return True

    def _announce(self, runs: Sequence[NewRun], created: Sequence[CreatedRun]) -> None:
        fresh = [(run, row) for run, row in zip(runs, created, strict=True) if row.created]
        if not fresh:
            return
        SCHEDULE_FIRES.inc(len(fresh))
        for run, row in fresh:
            if run.scheduled_for:
                SCHEDULE_LATENESS.observe((row.created_at - run.scheduled_for).total_seconds())
        self._broker.notify(RUNS_PENDING, [str(run.id) for run, _ in fresh])

    async def _until_due(self) -> float:
        """Seconds that may pass before a look is worth it; 0 when something is due."""
        waiting = self._still_waiting()
        async with self._db.connection() as conn:
            due = await next_fire_sec(conn, list(waiting))
        soonest = min(waiting.values(), default=time.monotonic() + LOOK_SEC) - time.monotonic()
        return max(0.0, min(LOOK_SEC, soonest, LOOK_SEC if due is None else due))

    def _still_waiting(self) -> Mapping[UUID, float]:
        now = time.monotonic()
        self._waiting_fires = {id: until for id, until in self._waiting_fires.items() if until > now}
        return self._waiting_fires


def _decide(due: Sequence[DueSchedule], compiled: Mapping[UUID, CompiledVersion]) -> list[FireDecision]:
    """Decisions about the first of `due`, up to MAX_RUNS, MAX_BYTES and DECIDE_SEC; at least about one."""
    decisions: list[FireDecision] = []
    count = size = 0
    until = time.monotonic() + DECIDE_SEC
    for schedule in due:
        if decisions and (count >= MAX_RUNS or size >= MAX_BYTES or time.monotonic() > until):
            break
        decisions.append(decision := decide(schedule, compiled))
        count += len(decision.runs)
        size += len(decision.runs) * len(dumps(decision.runs[0].inputs)) if decision.runs else 0
    return decisions
