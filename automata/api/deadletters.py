"""Dead letters: which steps failed for good, and what is to become of them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.bulk import Groups, bulk_response
from automata.api.schemas.bulk import BulkAnswer
from automata.api.schemas.deadletters import BulkLetters, DeadLetterAnswer
from automata.api.schemas.pages import Page
from automata.api.schemas.runs import RetryRequest
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, Moment, Word, check_cursor, page_of
from automata.operations.bulk import BulkResult
from automata.operations.deadletters import (
    Action,
    change_matching_dead_letters,
    discard_dead_letter,
    list_dead_letters,
    parse_letter_id,
    read_dead_letter,
    retry_dead_letter,
)
from automata.store.deadletters import DeadLetterFilter, count_open

States = Annotated[Literal["open", "retried", "discarded", "all"], Query(description="Those that wait, unless named.")]

router = APIRouter(prefix=V1, tags=["dead letters"])


@router.get("/dlq", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[DeadLetterAnswer]}})
async def index(
    request: Request,
    state: States = "open",
    flow: FlowKey = None,
    code: Word = None,
    run_id: UUID | None = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Dead letters, the newest first; `since` is included, `until` is not. A run or flow above the letter's counts."""
    context = context_of(request)
    filter = DeadLetterFilter(flow, code, run_id, since, until)
    page = await list_dead_letters(context, filter, state, check_cursor(cursor, 1, number=True), limit)
    return Json(page_of(page, page.items))


@router.get(
    "/dlq/{letter_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": DeadLetterAnswer}}
)
async def show(request: Request, letter_id: str) -> Response:
    """One dead letter."""
    return Json(await read_dead_letter(context_of(request), parse_letter_id(letter_id)))


@router.post(
    "/dlq/{letter_id}/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": DeadLetterAnswer}},
    openapi_extra=request_body(RetryRequest, required=False),
)
async def retry(request: Request, letter_id: str) -> Response:
    """Have the run, and its parents, go on at this step. 409 when the letter is closed, or its run not FAILED."""
    context = context_of(request)
    id = parse_letter_id(letter_id)
    body = await read_model(request, RetryRequest)
    await retry_dead_letter(context, id, attribution(request, body.by))
    return Json(await read_dead_letter(context, id), 202)


@router.post(
    "/dlq/{letter_id}/discard",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": DeadLetterAnswer}},
    openapi_extra=request_body(RetryRequest, required=False),
)
async def discard(request: Request, letter_id: str) -> Response:
    """Close a letter; its run stays as it is. 409 when it is closed already."""
    context = context_of(request)
    id = parse_letter_id(letter_id)
    body = await read_model(request, RetryRequest)
    await discard_dead_letter(context, id, attribution(request, body.by))
    return Json(await read_dead_letter(context, id))


@router.post(
    "/dlq/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkLetters),
)
async def retry_many(request: Request) -> Response:
    """Retry open letters, the oldest first; `limit` a request, and others of the same runs; `next_cursor` goes on."""
    return await _change(request, "retry")


@router.post(
    "/dlq/discard",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkLetters),
)
async def discard_many(request: Request) -> Response:
    """Discard open letters, the oldest first; at most `limit` a request, then `next_cursor` goes on."""
    return await _change(request, "discard")


async def _change(request: Request, action: Action) -> Response:
    context = context_of(request)
    body = await read_model(request, BulkLetters)
    filter = DeadLetterFilter(body.flow, body.code, body.run_id, body.since, body.until)

    async def count() -> Groups:
        async with context.db.connection() as conn:
            groups = await count_open(conn, filter)
        return [(group.flow, group.code, group.count) for group in groups]

    async def change() -> BulkResult:
        by, cursor = attribution(request, body.by), check_cursor(body.cursor, 1, number=True)
        return await change_matching_dead_letters(context, action, filter, cursor, body.limit, by)

    return await bulk_response(body, filter, count, change)
