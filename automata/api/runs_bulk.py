"""Many runs at once: ended or retried, those that are named or those that a filter finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.bulk_answers import bulk_answer, dry_run_answer, require_filter
from automata.api.schemas.bulk import BulkAnswer
from automata.api.schemas.runs import BulkCancel, BulkRetry
from automata.broker.contract import RUNS_PENDING
from automata.engine.states import RunStatus
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import check_cursor
from automata.operations.context import AppContext
from automata.store.audit import Deed, no_entry, note
from automata.store.database import Connection
from automata.store.pages import encode
from automata.store.queue import request_cancel
from automata.store.retries import retry_runs
from automata.store.runs import RunFilter, chosen_runs, count_chosen, seen

router = APIRouter(prefix=V1, tags=["runs"])


@router.post(
    "/runs/cancel",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkCancel),
)
async def cancel_many(request: Request) -> Response:
    """Ask for the end of many runs, the newest first; at most `limit` a request, then `next_cursor` goes on."""
    desk = context_of(request)
    asked = await read_model(request, BulkCancel)
    filter = _filter(asked)
    if asked.dry_run:
        return await _count(desk, filter)
    chosen, reached, after = await end_many(desk, filter, asked.cursor, asked.limit)
    return Json(bulk_answer(chosen, len(reached), sorted(reached), after))


@router.post(
    "/runs/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkRetry),
)
async def retry_many(request: Request) -> Response:
    """Retry many runs, the newest first; at most `limit` a request, then `next_cursor` goes on."""
    desk = context_of(request)
    asked = await read_model(request, BulkRetry)
    filter = _filter(asked)
    filter = replace(filter, status=filter.status or RunStatus.FAILED)
    if asked.dry_run:
        return await _count(desk, filter)
    by = attribution(request, asked.by)
    chosen, reached, after = await go_on_many(desk, filter, asked.cursor, asked.limit, by)
    return Json(bulk_answer(chosen, len(reached), sorted(reached), after))


def _filter(asked: BulkCancel | BulkRetry) -> RunFilter:
    """Raises BadBody for one that nobody can have meant."""
    status = RunStatus(asked.status) if asked.status else None
    filter = RunFilter(asked.flow, status, asked.trigger, asked.since, asked.until)
    require_filter(asked, filter)
    return filter


async def _count(desk: AppContext, filter: RunFilter) -> Response:
    no_entry()
    async with desk.db.connection() as conn:
        counts = await count_chosen(conn, filter)
    return Json(dry_run_answer([(flow, None, count) for flow, count in counts.items()]))


async def end_many(
    desk: AppContext, filter: RunFilter, cursor: str | None, limit: int
) -> tuple[int, set[UUID], str | None]:
    """One transaction's worth: how many were chosen, those that will end, and the cursor of what is left."""
    async with desk.db.transaction() as conn:
        chosen = await chosen_runs(conn, filter, seen(check_cursor(cursor, 1)), limit)
        reached = await request_cancel(conn, chosen)
        await _note(conn, "run.cancel", reached)
    return _reached(desk, chosen, reached, limit)


async def go_on_many(
    desk: AppContext, filter: RunFilter, cursor: str | None, limit: int, by: str | None
) -> tuple[int, set[UUID], str | None]:
    """One transaction's worth of runs that ended badly: how many were chosen, those that go on, and the cursor."""
    async with desk.db.transaction() as conn:
        chosen = await chosen_runs(conn, filter, seen(check_cursor(cursor, 1)), limit)
        reached = {one.run_id for one in await retry_runs(conn, chosen, by)}
        await _note(conn, "run.retry", reached)
    return _reached(desk, chosen, reached, limit)


async def _note(conn: Connection, action: str, ids: Iterable[UUID]) -> None:
    await note(conn, *(Deed(action, f"run/{id}") for id in sorted(ids)))


def _reached(
    desk: AppContext, chosen: Sequence[UUID], reached: set[UUID], limit: int
) -> tuple[int, set[UUID], str | None]:
    desk.broker.ring(RUNS_PENDING, [str(id) for id in reached])
    return len(chosen), reached, encode([str(chosen[-1])]) if len(chosen) == limit else None


async def end_these(desk: AppContext, ids: Sequence[UUID]) -> set[UUID]:
    """Ask for the end of runs; those that had ended already are not among the answer."""
    async with desk.db.transaction() as conn:
        reached = await request_cancel(conn, ids)
        await _note(conn, "run.cancel", reached)
    desk.broker.ring(RUNS_PENDING, [str(id) for id in reached])
    return reached


async def go_on_these(desk: AppContext, ids: Sequence[UUID], by: str | None) -> set[UUID]:
    """Retry runs; those that neither failed nor were cancelled are not among the answer."""
    async with desk.db.transaction() as conn:
        reached = {one.run_id for one in await retry_runs(conn, ids, by)}
        await _note(conn, "run.retry", reached)
    desk.broker.ring(RUNS_PENDING, [str(id) for id in reached])
    return reached
