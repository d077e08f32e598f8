"""Schedules: when each fires next, which are late or paused; pause, resume, start now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Literal
from uuid import uuid4

from fastapi import Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import Conflict, Invalid, Missing
from automata.http.authorization import needs
from automata.http.context import context_of
from automata.http.query import Cursor, Limit, check_cursor
from automata.operations.context import AppContext
from automata.operations.schedule_runs import trigger_schedule
from automata.operations.schedules import pause_schedule, resume_schedule
from automata.store.flows import find_flow
from automata.store.pagination import Page
from automata.store.schedules import ScheduleRow, list_schedules
from automata.web.bulk import list_address
from automata.web.forms import KEY, Form, read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.query import Blank, FlowField, paging

HERE = "/schedules"
SHOWN_FIRES = 3

router = pages(limits=True)


@router.get(HERE)
async def index(
    request: Request,
    flow: FlowField = None,
    state: Annotated[Literal["on", "paused", "late"] | None, Blank, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """By flow and name, each with its next fires."""
    page: Page[ScheduleRow] = Page([])
    trouble = None
    try:
        async with context_of(request).db.connection() as conn:
            flow_id = (await find_flow(conn, flow)).id if flow else None
            after = check_cursor(cursor, 2)
            page = await list_schedules(conn, flow_id=flow_id, state=state, after=after, limit=limit)
    except Missing as error:  # a flow that is not there has no schedules; the filter stays to be mended
        trouble = error
    return render(
        request,
        "schedules.html",
        schedules=[(row, row.next_fires(SHOWN_FIRES)) for row in page.items],
        flow=flow or "",
        state=state,
        filtered=bool(flow or state),
        trouble=trouble,
        **paging(HERE, {"flow": flow, "state": state}, limit, cursor, page.next),
        key=str(uuid4()),
    )


@router.post(f"{HERE}/{{schedule_id}}/pause", dependencies=[needs(Role.OPERATOR, limits=True)])
async def pause(request: Request, schedule_id: str) -> Response:
    """Switch it off."""

    async def do(context: AppContext) -> str:
        row = await pause_schedule(context, schedule_id)
        return f"{row.name} of {row.flow_name} is paused, until it is resumed here or its lines in the file change."

    return await _done(request, do)


@router.post(f"{HERE}/{{schedule_id}}/resume", dependencies=[needs(Role.OPERATOR, limits=True)])
async def resume(request: Request, schedule_id: str) -> Response:
    """Switch it on."""

    async def do(context: AppContext) -> str:
        row = await resume_schedule(context, schedule_id)
        return f"{row.name} of {row.flow_name} is on. What it would have fired meanwhile is not made up for."

    return await _done(request, do)


@router.post(f"{HERE}/{{schedule_id}}/trigger", dependencies=[needs(Role.OPERATOR, limits=True)])
async def trigger(request: Request, schedule_id: str) -> Response:
    """Lead to the run that was started."""
    form = await read_form(request)
    try:
        key = form.get("key", "")
        once = f"console:{key}:{schedule_id}" if KEY.fullmatch(key) else None
        run = await trigger_schedule(context_of(request), schedule_id, key=once)
    except (Conflict, Invalid) as error:
        return _refused(request, form, error)
    return redirect_with_message(request, f"/runs/{run.id}", "Started as the schedule would.")


async def _done(request: Request, do: Callable[[AppContext], Awaitable[str]]) -> Response:
    form = await read_form(request)
    try:
        message = await do(context_of(request))
    except Conflict as error:
        return _refused(request, form, error)
    return redirect_with_message(request, list_address(HERE, form.get("back", "")), message)


def _refused(request: Request, form: Form, error: Conflict | Invalid) -> Response:
    if isinstance(error, Missing):
        raise error
    return redirect_with_message(request, list_address(HERE, form.get("back", "")), str(error), bad=True)
