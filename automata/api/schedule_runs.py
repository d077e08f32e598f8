"""Runs that a schedule starts on request: one now, or those of fire times that have passed."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.runs import CreatedAnswer
from automata.api.schemas.schedules import BackfillAnswer, BackfillRequest
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.idempotency import KEY_PARAMETER, idempotency_key
from automata.http.openapi import request_body
from automata.operations.schedule_runs import backfill_schedule, trigger_schedule

# Ten years of a line that never matches take less than a tenth of a second to look through.
MAX_SPAN = timedelta(days=3660)

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
    run = await trigger_schedule(context_of(request), schedule_id, key=idempotency_key(request))
    answer = {"id": run.id, "created_at": run.created_at}
    return Json(answer, 201 if run.created else 200, headers={"Location": f"{V1}/runs/{run.id}"})


@router.post(
    "/{schedule_id}/backfill",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BackfillAnswer}},
    openapi_extra=request_body(BackfillRequest),
)
async def backfill(request: Request, schedule_id: str) -> Response:
    """Start the runs of fire times that have passed, each once: what was started before stays as it is."""
    body = await read_model(request, BackfillRequest)
    if body.until <= body.since:
        raise BadBody("`to` must be after `from`.", pointer="/to")
    if body.until - body.since > MAX_SPAN:
        raise BadBody(f"At most {MAX_SPAN.days} days lie between `from` and `to`.", pointer="/to")
    context = context_of(request)
    result = await backfill_schedule(context, schedule_id, body.since, body.until, body.limit, dry_run=body.dry_run)
    return Json(asdict(result))
