"""What a due schedule starts: a decision without clock or database, so that one that cannot be made harms no other."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from automata.engine.schedule import Fires, next_times, plan_fires
from automata.engine.states import Trigger
from automata.errors import Invalid
from automata.flow.inputs import check_inputs
from automata.flow.model import Schedule
from automata.services.plan_cache import CompiledVersion
from automata.store.due_schedules import DueSchedule, ScheduleDecision
from automata.store.new_runs import NewRun

log = logging.getLogger(__name__)

MOMENT = timedelta(microseconds=1)
MAX_ERROR = 1000


@dataclass(frozen=True, slots=True)
class FireDecision:
    """`decided` None: the fire stays where it is, because the run before has not ended."""

    decided: ScheduleDecision | None
    runs: tuple[NewRun, ...] = ()


HELD = FireDecision(None)


def decide(due: DueSchedule, compiled: Mapping[UUID, CompiledVersion]) -> FireDecision:
    """Never raises: what is wrong with a schedule is written beside it, and it goes on at its next fire time."""
    try:
        return _fire(due, due.schedule, compiled)
    except Exception as error:
        log.warning("schedule %s of flow %s starts nothing: %s", due.name, due.flow_id, error)
        return FireDecision(ScheduleDecision(due.id, _following(due), None, str(error)[:MAX_ERROR]))


def jitter(schedule: UUID, moment: datetime, most_sec: float) -> timedelta:
    """By how much this fire begins later: the same whoever computes it, so that a repeated batch changes nothing."""
    if not most_sec:
        return timedelta(0)
    digest = hashlib.sha256(f"{schedule}:{moment.isoformat()}".encode()).digest()
    return timedelta(seconds=most_sec * int.from_bytes(digest[:8]) / 2**64)


def _fire(due: DueSchedule, schedule: Schedule, compiled: Mapping[UUID, CompiledVersion]) -> FireDecision:
    if schedule.overlap == "queue" and due.last_open:
        return HELD
    fires = _fires(due, schedule)
    if schedule.overlap == "skip":
        # Of several that were missed the first starts, and is under way when the others' turn comes.
        fires = replace(fires, times=() if due.last_open else fires.times[:1])
    if not fires.times:
        return FireDecision(ScheduleDecision(due.id, fires.next_at))
    inputs = _inputs(due, schedule, compiled)
    runs = tuple(_run(due, schedule, inputs, moment) for moment in fires.times)
    return FireDecision(ScheduleDecision(due.id, fires.next_at, fires.times[-1]), runs)


def _fires(due: DueSchedule, schedule: Schedule) -> Fires:
    """What to start now. Of queued fires the first one, and the next stays where it is: it waits for this one."""
    before = due.next_fire_at - MOMENT
    if schedule.overlap != "queue":
        return plan_fires(schedule, before, due.now)
    # A fire that had to wait was not missed: `catchup` says nothing about it.
    waited = due.last_ended is not None and due.last_ended >= due.next_fire_at
    planned = plan_fires(replace(schedule, catchup="all") if waited else schedule, before, due.now)
    if len(planned.times) < 2:
        return planned
    return Fires(planned.times[:1], planned.times[1], planned.missed)


def _inputs(due: DueSchedule, schedule: Schedule, compiled: Mapping[UUID, CompiledVersion]) -> Mapping[str, object]:
    if due.version_id is None:
        raise Invalid("The flow has no version.", code="no_version")
    version = compiled[due.version_id]
    if version.plan is None:
        raise version.error or Invalid("The version cannot be executed.", code="bad_version")
    return check_inputs(version.plan.inputs, schedule.inputs)


def _run(due: DueSchedule, schedule: Schedule, inputs: Mapping[str, object], moment: datetime) -> NewRun:
    assert due.version_id is not None  # _inputs looked
    delay = jitter(due.id, moment, schedule.jitter_sec)
    return NewRun(
        due.flow_id,
        due.version_id,
        inputs,
        Trigger.SCHEDULE,
        schedule_id=due.id,
        scheduled_for=moment,
        created_by=f"schedule {due.name}",
        ready_at=moment + delay if delay else None,
    )


def _following(due: DueSchedule) -> datetime | None:
    try:
        return next(iter(next_times(due.schedule, due.now, 1)), None)
    except Exception:
        return None  # it cannot be read at all: it fires no more until it is changed
