"""Many runs at once: cancelled or retried, those that a filter finds."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.bulk import Groups, bulk_response
from automata.api.schemas.bulk import BulkAnswer
from automata.api.schemas.runs import BulkCancel, BulkRetry
from automata.engine.states import RunStatus
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import check_cursor
from automata.operations.bulk import BulkResult
from automata.operations.run_bulk_actions import CONTAINED, Action, change_matching_runs
from automata.store.runs import RunFilter, count_matching

router = APIRouter(prefix=V1, tags=["runs"])


@router.post(
    "/runs/cancel",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkCancel),
)
async def cancel_many(request: Request) -> Response:
    """Ask for the end of many runs, the newest first; at most `limit` a request, then `next_cursor` goes on."""
    body = await read_model(request, BulkCancel)
    return await _change(request, "cancel", body, _filter(body), None)


@router.post(
    "/runs/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkRetry),
)
async def retry_many(request: Request) -> Response:
    """Retry many runs, the newest first; at most `limit` a request, then `next_cursor` goes on."""
    body = await read_model(request, BulkRetry)
    return await _change(request, "retry", body, _filter(body), attribution(request, body.by))


def _filter(body: BulkCancel | BulkRetry) -> RunFilter:
    status = RunStatus(body.status) if body.status else None
    return RunFilter(body.flow, status, body.trigger, body.since, body.until)


async def _change(
    request: Request, action: Action, body: BulkCancel | BulkRetry, filter: RunFilter, by: str | None
) -> Response:
    context = context_of(request)
    # A retry without a status is of what FAILED; that default alone does not say that a filter is meant.
    chosen = replace(filter, status=filter.status or RunStatus.FAILED) if action == "retry" else filter

    async def count() -> Groups:
        async with context.db.connection() as conn:
            counts = await count_matching(conn, chosen, contained=CONTAINED[action])
        return [(flow, None, number) for flow, number in counts.items()]

    async def change() -> BulkResult:
        return await change_matching_runs(context, action, chosen, check_cursor(body.cursor, 1), body.limit, by)

    return await bulk_response(body, filter, count, change)
