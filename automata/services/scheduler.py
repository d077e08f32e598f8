"""The scheduler: decides about fire times that have come, and writes the runs they start.

Failure argument. One batch of schedules is one transaction: the runs of their fires and the moved `next_fire_at` are
written together or not at all, so a scheduler that dies repeats a batch and loses none. The transaction begins by
checking the leader's term; and should two decide about one fire all the same, the unique key (schedule, fire time)
leaves one run. Only the database's clock is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from automata.broker.contract import RUNS_PENDING, Broker
from automata.engine.schedule import Fires, next_times, plan_fires
from automata.errors import AutomataError, Invalid
from automata.flow.inputs import check_inputs
from automata.services.leader import Leader, LostTerm
from automata.services.plans import Compiled, Plans
from automata.settings import Settings
from automata.store.database import Database
from automata.store.fires import Decided, Due, next_fire_sec, record, take_due
from automata.store.leadership import holds
from automata.store.queue import NewRun, create_runs
from automata.telemetry import SCHEDULE_FIRES

log = logging.getLogger(__name__)

ROLE = "scheduler"
LOOK_SEC = 1.0  # a schedule that was made or changed is seen this soon; so is the end of a run that a fire waits for
MOMENT = timedelta(microseconds=1)


class Scheduler:
    """One of any number; the one that leads works, the others wait."""

    def __init__(self, db: Database, broker: Broker, plans: Plans, settings: Settings) -> None:
        self._db = db
        self._broker = broker
        self._plans = plans
        self._settings = settings
        self._held: dict[UUID, float] = {}  # a fire waits for the run before it: when to look again
        self.leader = Leader(db.url, ROLE, self.office)

    async def run(self, stop: asyncio.Event) -> None:
        await self.leader.run(stop)

    async def office(self, epoch: int, stop: asyncio.Event) -> None:
        """Fire until `stop`. Raises LostTerm when another leads."""
        while not stop.is_set():
            try:
                pause = 0.0 if await self.turn(epoch) else await self._until_due()
            except AutomataError as error:
                log.warning("scheduler: %s", error)
                pause = LOOK_SEC
            if pause:
                await _sleep(pause, stop)

    async def turn(self, epoch: int) -> bool:
        """Decide about one batch; whether there was anything to decide. Raises LostTerm."""
        now = time.monotonic()
        self._held = {id: until for id, until in self._held.items() if until > now}
        async with self._db.transaction() as conn:
            if not await holds(conn, ROLE, epoch):
                raise LostTerm
            due = await take_due(conn, self._settings.batch, list(self._held))
            if not due:
                return False
            compiled = await self._plans.get({one.version_id for one in due if one.version_id})
            decisions = [_decide(one, compiled) for one in due]
            runs = [run for _, started in decisions for run in started]
            made = await create_runs(conn, runs) if runs else []
            await record(conn, [decided for decided, _ in decisions])
        for (decided, _), one in zip(decisions, due, strict=True):
            if decided.next_fire_at == one.next_fire_at:
                self._held[one.id] = now + LOOK_SEC
        if fresh := [str(run.id) for run in made if run.created]:
            SCHEDULE_FIRES.inc(len(fresh))
            self._broker.ring(RUNS_PENDING, fresh)
        return True

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            due = await next_fire_sec(conn)
        if due is None or self._held:
            return LOOK_SEC
        return min(max(due, 0.01), LOOK_SEC)


def _decide(due: Due, compiled: Mapping[UUID, Compiled]) -> tuple[Decided, Sequence[NewRun]]:
    try:
        return _fire(due, compiled)
    except Exception as error:  # one schedule that cannot be read must not hold up the rest
        log.warning("schedule %s of flow %s: %s", due.name, due.flow_id, error)
        following = _following(due)
        return Decided(due.id, following, None, str(error)[:1000]), ()


def _fire(due: Due, compiled: Mapping[UUID, Compiled]) -> tuple[Decided, Sequence[NewRun]]:
    schedule = due.schedule
    if schedule.overlap == "queue" and due.last_open:
        return Decided(due.id, due.next_fire_at), ()
    fires = _fires(due)
    if schedule.overlap == "skip":
        fires = replace(fires, times=() if due.last_open else fires.times[:1])
    if not fires.times:
        return Decided(due.id, fires.next_at), ()
    inputs = _inputs(due, compiled)
    runs = [_run(due, inputs, moment) for moment in fires.times]
    return Decided(due.id, fires.next_at, fires.times[-1]), runs


def _fires(due: Due) -> Fires:
    """What to start now. Of queued fires the first one, and the next stays where it is: it waits for this one."""
    before = due.next_fire_at - MOMENT
    schedule = due.schedule
    if schedule.overlap != "queue":
        return plan_fires(schedule, before, due.now)
    waited = due.last_ended is not None and due.last_ended >= due.next_fire_at
    planned = plan_fires(replace(schedule, catchup="all") if waited else schedule, before, due.now)
    if len(planned.times) < 2:
        return planned
    return Fires(planned.times[:1], planned.times[1], planned.missed)


def _inputs(due: Due, compiled: Mapping[UUID, Compiled]) -> Mapping[str, object]:
    if due.version_id is None:
        raise Invalid("The flow has no version.", code="no_version")
    version = compiled[due.version_id]
    if version.plan is None:
        raise version.error or Invalid("The version cannot be executed.", code="bad_version")
    return check_inputs(version.plan.inputs, due.spec.get("inputs", {}))


def _run(due: Due, inputs: Mapping[str, object], moment: datetime) -> NewRun:
    assert due.version_id is not None  # _inputs looked
    delay = jitter(due.id, moment, due.schedule.jitter_sec)
    return NewRun(
        due.flow_id,
        due.version_id,
        inputs,
        "schedule",
        schedule_id=due.id,
        scheduled_for=moment,
        created_by=f"schedule {due.name}",
        ready_at=moment + delay if delay else None,
    )


def jitter(schedule: UUID, moment: datetime, most_sec: float) -> timedelta:
    """By how much this fire begins later: the same whoever computes it, so that a repeated batch changes nothing."""
    if not most_sec:
        return timedelta(0)
    digest = hashlib.sha256(f"{schedule}:{moment.isoformat()}".encode()).digest()
    return timedelta(seconds=most_sec * int.from_bytes(digest[:8]) / 2**64)


def _following(due: Due) -> datetime | None:
    try:
        return next(iter(next_times(due.schedule, due.now, 1)), None)
    except Exception:
        return None  # it cannot be read at all: it fires no more until it is changed


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
