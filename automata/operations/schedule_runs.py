"""Runs that a schedule starts on request: one now, or those of fire times that have passed.

Failure argument. A backfill that is cut off anywhere may be asked for again: the unique key (schedule, fire time)
leaves one run each, whether the scheduler, another backfill or the first half of this one was earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automata.broker.contract import RUNS_PENDING
from automata.engine.schedule import due_times
from automata.engine.states import Trigger
from automata.flow.inputs import check_inputs
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version, current_version
from automata.operations.schedules import parse_schedule_id
from automata.store.audit import AuditEvent, record_change, skip_audit
from automata.store.due_schedules import fired
from automata.store.json_codec import dumps
from automata.store.new_runs import CreatedRun, NewRun, create_runs
from automata.store.schedules import ScheduleRow, get_schedule
from automata.telemetry import RUNS_CREATED

MOMENT = timedelta(microseconds=1)
MAX_BYTES = 16 * 2**20  # of inputs in one transaction


@dataclass(frozen=True, slots=True)
class Backfill:
    """The fire times that were asked about, and how many of them have a new run or had one already.

    `next_from` is where to go on, None when nothing is left.
    """

    created: int
    existing: int
    fires: Sequence[datetime]
    next_from: datetime | None


async def trigger_schedule(context: AppContext, schedule_id: str, *, key: str | None = None) -> CreatedRun:
    """Start a run now, as the schedule would. Raises Missing, Conflict, Invalid for inputs that the flow refuses."""
    async with context.db.connection() as conn:
        schedule = await get_schedule(conn, parse_schedule_id(schedule_id))
    version, inputs = await _version_and_inputs(context, schedule)
    created_by = f"schedule {schedule.name}"
    run = NewRun(schedule.flow_id, version.id, inputs, Trigger.MANUAL, idempotency_key=key, created_by=created_by)
    async with context.db.transaction() as conn:
        (created,) = await create_runs(conn, [run])
        if created.created:
            await record_change(
                conn, AuditEvent("schedule.trigger", f"schedule/{schedule.id}", None, {"run": str(created.id)})
            )
    skip_audit()
    if created.created:
        RUNS_CREATED.labels(Trigger.MANUAL).inc()
        context.broker.notify(RUNS_PENDING, [str(created.id)])
    return created


async def backfill_schedule(
    context: AppContext, schedule_id: str, since: datetime, until: datetime, limit: int, *, dry_run: bool = False
) -> Backfill:
    """Start the runs of the first `limit` fire times from `since` on and before `until`, each once.

    Raises Missing, Conflict, Invalid.
    """
    async with context.db.connection() as conn:
        schedule = await get_schedule(conn, parse_schedule_id(schedule_id))
        fires, next_from = _times(schedule, since, until, limit)
        earlier = await fired(conn, schedule.id, fires)
    created = 0
    skip_audit()
    if not dry_run and len(earlier) < len(fires):
        version, inputs = await _version_and_inputs(context, schedule)
        missing = [fire for fire in fires if fire not in earlier]
        created = await _start(context, schedule, version, inputs, missing)
    # A fire that the scheduler was faster with in this moment exists by now.
    existing = len(earlier) if dry_run else len(fires) - created
    return Backfill(created, existing, fires, next_from)


def _times(
    schedule: ScheduleRow, since: datetime, until: datetime, limit: int
) -> tuple[list[datetime], datetime | None]:
    """The first `limit` fire times, and the next one after them."""
    until = min(until, schedule.now)
    if until <= since:
        return [], None
    # `since` is included and `until` is not, while due_times counts the other way round.
    times = due_times(schedule.schedule, since - MOMENT, until - MOMENT, limit + 1)
    return times[:limit], times[limit] if len(times) > limit else None


async def _version_and_inputs(context: AppContext, schedule: ScheduleRow) -> tuple[Version, Mapping[str, Any]]:
    """What a run of this schedule is made of today. Raises Conflict, Invalid."""
    version = await context.versions.get(current_version(await context.flows.get(str(schedule.flow_id))))
    return version, check_inputs(version.inputs, schedule.schedule.inputs)


async def _start(
    context: AppContext,
    schedule: ScheduleRow,
    version: Version,
    inputs: Mapping[str, Any],
    fires: Sequence[datetime],
) -> int:
    """How many runs are new; each piece is written by one transaction."""
    size = max(1, MAX_BYTES // max(1, len(dumps(inputs))))
    created = 0
    for start in range(0, len(fires), size):
        runs = [_run(schedule, version, inputs, fire) for fire in fires[start : start + size]]
        async with context.db.transaction() as conn:
            written = await create_runs(conn, runs)
            new = [str(run.id) for run in written if run.created]
            await record_change(conn, AuditEvent("schedule.backfill", f"schedule/{schedule.id}", None, {"runs": new}))
        if new:
            RUNS_CREATED.labels(Trigger.BACKFILL).inc(len(new))
            context.broker.notify(RUNS_PENDING, new)
        created += len(new)
    return created


def _run(schedule: ScheduleRow, version: Version, inputs: Mapping[str, Any], fire: datetime) -> NewRun:
    return NewRun(
        schedule.flow_id,
        version.id,
        inputs,
        Trigger.BACKFILL,
        schedule_id=schedule.id,
        scheduled_for=fire,
        created_by=f"schedule {schedule.name}",
    )
