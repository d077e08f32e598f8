"""What the attempts of a run said, for people who look why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Page
from automata.api.schemas.tasks import LogAnswer
from automata.errors import Missing
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.http.query import Cursor, Limit, page_of
from automata.operations.run_secrets import run_mask
from automata.operations.runs import parse_run_id
from automata.store import task_logs
from automata.store.pagination import DEFAULT_LIMIT
from automata.store.runs import get_run
from automata.store.task_logs import TaskLog

router = APIRouter(prefix=V1, tags=["runs"], dependencies=[needs(Role.VIEWER, limits=True)])


@router.get("/runs/{run_id}/logs", responses={200: {"model": Page[LogAnswer]}})
async def of_run(request: Request, run_id: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None) -> Response:
    """Every attempt that said something, by step and attempt. A step that is under way has not said it yet."""
    return await _page(request, run_id, None, limit, cursor)


@router.get("/runs/{run_id}/tasks/{step}/logs", responses={200: {"model": Page[LogAnswer]}})
async def of_step(
    request: Request, run_id: str, step: str, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
) -> Response:
    """The attempts of one step; `step` is its full id. 404 for a step that the run's version does not have."""
    return await _page(request, run_id, step, limit, cursor)


async def _page(request: Request, run_id: str, step: str | None, limit: int, cursor: str | None) -> Response:
    context = context_of(request)
    id = parse_run_id(run_id)
    async with context.db.connection() as conn:
        run = await get_run(conn, id)
        if step is not None and not (await context.versions.get(run.version_id)).has(step):
            raise Missing(f"The flow of this run has no step {step[:100]!r}.", hint="Its tasks have their full ids.")
        logs = await task_logs.list_logs(conn, id, step=step, after=cursor or None, limit=limit)
    mask = await run_mask(context, id)
    return Json(page_of(logs, [_log(row, mask) for row in logs.items]))


def _log(row: TaskLog, mask: Callable[[Any], Any]) -> dict[str, Any]:
    return {"step": row.step, "attempt": row.attempt, "lines": mask(row.lines)}
