"""Runs that a schedule starts on request: one now, or those of fire times that have passed.

Failure argument. A backfill that is cut off anywhere may be asked for again: the unique key (schedule, fire time)
leaves one run each, whether the scheduler, another backfill or the first half of this one was earlier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schedules import schedule_id_of
from automata.api.schemas.runs import CreatedAnswer
from automata.api.schemas.schedules import BackfillAnswer, BackfillRequest
from automata.broker.contract import RUNS_PENDING
from automata.engine.schedule import due_times
from automata.flow.inputs import check_inputs
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.idempotency import KEY_PARAMETER, idempotency_key
from automata.http.openapi import request_body
from automata.operations.context import AppContext
from automata.operations.lookups import Version, current_version
from automata.store.audit import Deed, no_entry, note
from automata.store.codec import dumps
from automata.store.fires import fired
from automata.store.queue import CreatedRun, NewRun, create_runs
from automata.store.schedules import ScheduleRow, get_schedule
from automata.telemetry import RUNS_CREATED

# Ten years of a line that never matches take less than a tenth of a second to look through.
LONGEST = timedelta(days=3660)
MOMENT = timedelta(microseconds=1)
MOST_BYTES = 16 * 2**20  # of inputs in one transaction

router = APIRouter(prefix=f"{V1}/schedules", tags=["schedules"])


@router.post(
    "/{schedule_id}/trigger",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=201,
    responses={200: {"model": CreatedAnswer}, 201: {"model": CreatedAnswer}},
    openapi_extra={"parameters": [KEY_PARAMETER]},
)
async def trigger(request: Request, schedule_id: str) -> Response:
    """Start a run now, as the schedule would: its flow's current version and its inputs, even while it is paused."""
    made = await fire_now(context_of(request), schedule_id, key=idempotency_key(request))
    answer = {"id": made.id, "created_at": made.created_at}
    return Json(answer, 201 if made.created else 200, headers={"Location": f"{V1}/runs/{made.id}"})


async def fire_now(desk: AppContext, schedule_id: str, *, key: str | None = None) -> CreatedRun:
    """Raises Missing, Conflict, Invalid for inputs that the flow takes no more, Busy."""
    async with desk.db.connection() as conn:
        found = await get_schedule(conn, schedule_id_of(schedule_id))
    version, inputs = await _ready(desk, found)
    created_by = f"schedule {found.name}"
    run = NewRun(found.flow_id, version.id, inputs, "manual", idempotency_key=key, created_by=created_by)
    async with desk.db.transaction() as conn:
        (made,) = await create_runs(conn, [run])
        if made.created:
            await note(conn, Deed("schedule.trigger", f"schedule/{found.id}", None, {"run": str(made.id)}))
    no_entry()
    if made.created:
        RUNS_CREATED.labels("manual").inc()
        desk.broker.ring(RUNS_PENDING, [str(made.id)])
    return made


@router.post(
    "/{schedule_id}/backfill",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BackfillAnswer}},
    openapi_extra=request_body(BackfillRequest),
)
async def backfill(request: Request, schedule_id: str) -> Response:
    """Start the runs of fire times that have passed, each once: what was started before stays as it is."""
    desk = context_of(request)
    asked = await _asked(request)
    async with desk.db.connection() as conn:
        found = await get_schedule(conn, schedule_id_of(schedule_id))
        fires, next_from = _times(found, asked)
        earlier = await fired(conn, found.id, fires)
    created = 0
    no_entry()
    if not asked.dry_run and len(earlier) < len(fires):
        version, inputs = await _ready(desk, found)
        created = await _start(desk, found, version, inputs, [fire for fire in fires if fire not in earlier])
    # A fire that the scheduler was faster with in this moment exists by now.
    existing = len(earlier) if asked.dry_run else len(fires) - created
    return Json({"created": created, "existing": existing, "fires": fires, "next_from": next_from})


async def _asked(request: Request) -> BackfillRequest:
    asked = await read_model(request, BackfillRequest)
    if asked.until <= asked.since:
        raise BadBody("`to` must be after `from`.", pointer="/to")
    if asked.until - asked.since > LONGEST:
        raise BadBody(f"At most {LONGEST.days} days lie between `from` and `to`.", pointer="/to")
    return asked


def _times(found: ScheduleRow, asked: BackfillRequest) -> tuple[list[datetime], datetime | None]:
    """The first `limit` fire times, and the next one after them."""
    until = min(asked.until, found.now)
    if until <= asked.since:
        return [], None
    # `from` is included and `to` is not, while due_times counts the other way round.
    times = due_times(found.schedule, asked.since - MOMENT, until - MOMENT, asked.limit + 1)
    return times[: asked.limit], times[asked.limit] if len(times) > asked.limit else None


async def _ready(desk: AppContext, found: ScheduleRow) -> tuple[Version, Mapping[str, Any]]:
    """What a run of this schedule is made of today. Raises Conflict, Invalid."""
    version = await desk.versions.get(current_version(await desk.flows.get(str(found.flow_id))))
    return version, check_inputs(version.inputs, found.schedule.inputs)


async def _start(
    desk: AppContext, found: ScheduleRow, version: Version, inputs: Mapping[str, Any], fires: Sequence[datetime]
) -> int:
    """How many runs are new; each piece is written by one transaction."""
    size = max(1, MOST_BYTES // max(1, len(dumps(inputs))))
    created = 0
    for start in range(0, len(fires), size):
        runs = [_run(found, version, inputs, fire) for fire in fires[start : start + size]]
        async with desk.db.transaction() as conn:
            made = await create_runs(conn, runs)
            new = [str(run.id) for run in made if run.created]
            await note(conn, Deed("schedule.backfill", f"schedule/{found.id}", None, {"runs": new}))
        if new:
            RUNS_CREATED.labels("backfill").inc(len(new))
            desk.broker.ring(RUNS_PENDING, new)
        created += len(new)
    return created


def _run(found: ScheduleRow, version: Version, inputs: Mapping[str, Any], fire: datetime) -> NewRun:
    created_by = f"schedule {found.name}"
    return NewRun(
        found.flow_id, version.id, inputs, "backfill", schedule_id=found.id, scheduled_for=fire, created_by=created_by
    )
