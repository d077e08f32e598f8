"""Schedules: all of them to read, those that the API owns to write."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.pages import Page
from automata.api.schemas.schedules import ScheduleAnswer, ScheduleRequest
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, check_cursor, page_of
from automata.operations.schedules import (
    create_schedule,
    delete_schedule,
    parse_schedule_id,
    pause_schedule,
    resume_schedule,
    update_schedule,
)
from automata.store.flows import find_flow
from automata.store.schedules import ScheduleRow, State, get_schedule, list_schedules

router = APIRouter(prefix=f"{V1}/schedules", tags=["schedules"])

_BODY = request_body(ScheduleRequest)
_SPEC = ("cron", "interval_sec", "timezone", "inputs", "catchup", "overlap", "jitter_sec", "starting_deadline_sec")
_schedule = answer_from(
    ScheduleAnswer,
    flow="flow_name",
    managed_by="origin",
    next_fires=ScheduleRow.next_fires,
    **{name: f"schedule.{name}" for name in _SPEC},
)
States = Annotated[State | None, Query(description="`late`: its time passed, and nothing was decided about it yet.")]


@router.get("", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[ScheduleAnswer]}})
async def index(
    request: Request, flow: FlowKey = None, state: States = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """By flow and name, each with its next five fire times."""
    async with context_of(request).db.connection() as conn:
        flow_id = (await find_flow(conn, flow)).id if flow is not None else None
        page = await list_schedules(conn, flow_id=flow_id, state=state, after=check_cursor(cursor, 2), limit=limit)
    return Json(page_of(page, [_schedule(row) for row in page.items]))


@router.post(
    "",
    dependencies=[needs(Role.AUTHOR, limits=True)],
    status_code=201,
    responses={201: {"model": ScheduleAnswer}},
    openapi_extra=_BODY,
)
async def create(request: Request) -> Response:
    """Add a schedule that the API owns, to any flow."""
    row = await create_schedule(context_of(request), *await _read_spec(request))
    return Json(_schedule(row), 201, headers={"Location": f"{V1}/schedules/{row.id}"})


@router.get(
    "/{schedule_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": ScheduleAnswer}}
)
async def show(request: Request, schedule_id: str) -> Response:
    """One schedule with its next five fire times."""
    async with context_of(request).db.connection() as conn:
        return Json(_schedule(await get_schedule(conn, parse_schedule_id(schedule_id))))


@router.put(
    "/{schedule_id}",
    dependencies=[needs(Role.AUTHOR, limits=True)],
    responses={200: {"model": ScheduleAnswer}},
    openapi_extra=_BODY,
)
async def replace(request: Request, schedule_id: str) -> Response:
    """Change what a schedule of the API says; its flow and name stay."""
    return Json(_schedule(await update_schedule(context_of(request), schedule_id, *await _read_spec(request))))


@router.post(
    "/{schedule_id}/pause", dependencies=[needs(Role.OPERATOR, limits=True)], responses={200: {"model": ScheduleAnswer}}
)
async def pause(request: Request, schedule_id: str) -> Response:
    """Switch any schedule off, one of Git too: it stays so until its lines in the file change."""
    return Json(_schedule(await pause_schedule(context_of(request), schedule_id)))


@router.post(
    "/{schedule_id}/resume",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": ScheduleAnswer}},
)
async def resume(request: Request, schedule_id: str) -> Response:
    """Switch a schedule on; what would have fired meanwhile is not made up for."""
    return Json(_schedule(await resume_schedule(context_of(request), schedule_id)))


@router.delete(
    "/{schedule_id}", dependencies=[needs(Role.AUTHOR, limits=True)], status_code=204, response_class=Response
)
async def delete(request: Request, schedule_id: str) -> Response:
    """Delete a schedule of the API; runs that it started stay."""
    await delete_schedule(context_of(request), schedule_id)
    return Response(status_code=204)


async def _read_spec(request: Request) -> tuple[str, dict[str, Any]]:
    """The key of the flow, and the schedule as a flow file has it. Raises Invalid."""
    body = await read_model(request, ScheduleRequest)
    if (body.cron is None) == (body.interval_sec is None):
        raise BadBody("A schedule has either `cron` or `interval_sec`.", pointer="/cron")
    return body.flow, body.model_dump(exclude={"flow"}, exclude_none=True)
