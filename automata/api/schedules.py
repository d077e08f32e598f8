"""Schedules: all of them to read, those that the API owns to write."""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import replace as replace_fields
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Page
from automata.api.schemas.schedules import ScheduleAnswer, ScheduleRequest
from automata.errors import Invalid, Missing
from automata.flow.declared import check_declared
from automata.flow.findings import Findings, Positions
from automata.http.authorization import needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, check_cursor, page_of
from automata.operations.context import AppContext
from automata.operations.lookups import current_version
from automata.store.audit import Deed, note
from automata.store.flows import FlowRow, as_uuid, find_flow
from automata.store.schedules import (
    ScheduleRow,
    State,
    create_schedule,
    delete_schedule,
    enable_schedule,
    get_schedule,
    list_schedules,
    update_schedule,
)

router = APIRouter(prefix=f"{V1}/schedules", tags=["schedules"])

_BODY = request_body(ScheduleRequest)
States = Annotated[State | None, Query(description="`late`: its time passed, and nothing was decided about it yet.")]


@router.get("", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[ScheduleAnswer]}})
async def index(
    request: Request, flow: FlowKey = None, state: States = None, limit: Limit = 50, cursor: Cursor = None
) -> Response:
    """By flow and name, each with its next five fire times."""
    async with context_of(request).db.connection() as conn:
        flow_id = (await find_flow(conn, flow)).id if flow else None
        found = await list_schedules(conn, flow_id=flow_id, state=state, after=check_cursor(cursor, 2), limit=limit)
    return Json(page_of(found, [_schedule(row) for row in found.items]))


@router.post(
    "",
    dependencies=[needs(Role.AUTHOR, limits=True)],
    status_code=201,
    responses={201: {"model": ScheduleAnswer}},
    openapi_extra=_BODY,
)
async def create(request: Request) -> Response:
    """Add a schedule that the API owns, to any flow."""
    asked = await _asked(request)
    desk = context_of(request)
    flow = await desk.flows.get(asked.flow)
    await _check(desk, flow, asked)
    async with desk.db.transaction() as conn:
        made = await create_schedule(conn, flow.id, _spec(asked))
        await note(conn, Deed("schedule.create", f"schedule/{made.id}", None, _facts(made)))
    return Json(_schedule(made), 201, headers={"Location": f"{V1}/schedules/{made.id}"})


@router.get(
    "/{schedule_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": ScheduleAnswer}}
)
async def show(request: Request, schedule_id: str) -> Response:
    """One schedule with its next five fire times."""
    async with context_of(request).db.connection() as conn:
        return Json(_schedule(await get_schedule(conn, schedule_id_of(schedule_id))))


@router.put(
    "/{schedule_id}",
    dependencies=[needs(Role.AUTHOR, limits=True)],
    responses={200: {"model": ScheduleAnswer}},
    openapi_extra=_BODY,
)
async def replace(request: Request, schedule_id: str) -> Response:
    """Change what a schedule of the API says; its flow and name stay."""
    asked = await _asked(request)
    desk = context_of(request)
    async with desk.db.connection() as conn:
        found = await get_schedule(conn, schedule_id_of(schedule_id))
    if asked.name != found.name or asked.flow not in (found.flow_name, str(found.flow_id)):
        pointer = "/name" if asked.name != found.name else "/flow"
        raise BadBody("A schedule keeps its flow and its name.", code="name_mismatch", pointer=pointer)
    await _check(desk, await desk.flows.get(str(found.flow_id)), asked)
    async with desk.db.transaction() as conn:
        made = await update_schedule(conn, found.id, _spec(asked))
        await note(conn, Deed("schedule.update", f"schedule/{found.id}", _facts(found), _facts(made)))
    return Json(_schedule(made))


@router.post(
    "/{schedule_id}/pause", dependencies=[needs(Role.OPERATOR, limits=True)], responses={200: {"model": ScheduleAnswer}}
)
async def pause(request: Request, schedule_id: str) -> Response:
    """Switch any schedule off, one of Git too: it stays so until its lines in the file change."""
    return await _enable(request, schedule_id, False)


@router.post(
    "/{schedule_id}/resume",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": ScheduleAnswer}},
)
async def resume(request: Request, schedule_id: str) -> Response:
    """Switch a schedule on; what would have fired meanwhile is not made up for."""
    return await _enable(request, schedule_id, True)


@router.delete(
    "/{schedule_id}", dependencies=[needs(Role.AUTHOR, limits=True)], status_code=204, response_class=Response
)
async def delete(request: Request, schedule_id: str) -> Response:
    """Delete a schedule of the API; runs that it started stay."""
    async with context_of(request).db.transaction() as conn:
        found = await get_schedule(conn, schedule_id_of(schedule_id))
        await delete_schedule(conn, found.id)
        await note(conn, Deed("schedule.delete", f"schedule/{found.id}", _facts(found)))
    return Response(status_code=204)


def schedule_id_of(text: str) -> UUID:
    """Raises Missing."""
    if (found := as_uuid(text)) is None:
        raise Missing(f"There is no schedule {text[:100]!r}.", hint="A schedule's id is a UUID.")
    return found


async def switch(desk: AppContext, schedule_id: str, enabled: bool) -> ScheduleRow:
    """Raises Missing."""
    async with desk.db.transaction() as conn:
        before = await get_schedule(conn, schedule_id_of(schedule_id))
        made = await enable_schedule(conn, before.id, enabled)
        verb = "resume" if enabled else "pause"
        await note(conn, Deed(f"schedule.{verb}", f"schedule/{made.id}", _facts(before), _facts(made)))
        return made


def _facts(row: ScheduleRow) -> dict[str, Any]:
    """What of a schedule a change changes."""
    return {"flow": row.flow_name, "name": row.name, "enabled": row.enabled, **asdict(row.schedule)}


async def _enable(request: Request, schedule_id: str, enabled: bool) -> Response:
    return Json(_schedule(await switch(context_of(request), schedule_id, enabled)))


async def _asked(request: Request) -> ScheduleRequest:
    asked = await read_model(request, ScheduleRequest)
    if (asked.cron is None) == (asked.interval_sec is None):
        raise BadBody("A schedule has either `cron` or `interval_sec`.", pointer="/cron")
    return asked


async def _check(desk: AppContext, flow: FlowRow, asked: ScheduleRequest) -> None:
    """Hold a schedule to the rules of those in flow files. Raises Invalid, Conflict."""
    version = await desk.versions.get(current_version(flow))
    findings = Findings("", Positions())
    check_declared({"inputs": version.declared, "schedules": [_spec(asked)]}, findings)
    root = "/schedules/0"
    found = [
        replace_fields(one, pointer=one.pointer.removeprefix(root))
        for one in findings.done()
        if one.severity == "error" and one.pointer.startswith(root)
    ]
    if found:
        first = found[0]
        raise Invalid(
            f"The schedule is not valid: {first.message}.",
            code="invalid_schedule",
            hint=first.suggestion,
            pointer=first.pointer,
            diagnostics=found,
        )


def _spec(asked: ScheduleRequest) -> dict[str, Any]:
    return asked.model_dump(exclude={"flow"}, exclude_none=True)


def _schedule(row: ScheduleRow) -> dict[str, Any]:
    schedule = row.schedule
    return {
        "id": row.id,
        "flow": row.flow_name,
        "flow_id": row.flow_id,
        "name": row.name,
        "managed_by": row.origin,
        "enabled": row.enabled,
        "cron": schedule.cron,
        "interval_sec": schedule.interval_sec,
        "timezone": schedule.timezone,
        "inputs": schedule.inputs,
        "catchup": schedule.catchup,
        "overlap": schedule.overlap,
        "jitter_sec": schedule.jitter_sec,
        "starting_deadline_sec": schedule.starting_deadline_sec,
        "last_fire_at": row.last_fire_at,
        "last_error": row.last_error,
        "next_fires": row.next_fires(),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
