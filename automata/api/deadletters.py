"""Dead letters: which steps failed for good, and what is to become of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.bulk_answers import bulk_answer, dry_run_answer, require_filter
from automata.api.schemas.bulk import BulkAnswer
from automata.api.schemas.deadletters import BulkLetters, DeadLetterAnswer
from automata.api.schemas.pages import Page
from automata.api.schemas.runs import RetryRequest
from automata.broker.contract import RUNS_PENDING
from automata.errors import Missing
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, Moment, Word, check_cursor, page_of
from automata.operations.context import AppContext
from automata.operations.masking import masker
from automata.store.audit import Deed, no_entry, note
from automata.store.deadletters import (
    MAX_ID,
    Batch,
    DeadLetterRow,
    Filter,
    State,
    count_open,
    discard_batch,
    discard_letter,
    discard_letters,
    get_letter,
    list_letters,
    retry_batch,
    retry_letter,
    retry_letters,
)
from automata.store.pages import Page as ListPage
from automata.store.pages import decode, encode

States = Annotated[Literal["open", "retried", "discarded", "all"], Query(description="Those that wait, unless named.")]
Action = Literal["retry", "discard"]

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
    """Dead letters, the newest first; `since` is included, `until` is not."""
    desk = context_of(request)
    filter = Filter(flow or None, code or None, run_id, since, until)
    found = await letters_of(desk, filter, state, cursor, limit)
    return Json(page_of(found, found.items))


@router.get(
    "/dlq/{letter_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": DeadLetterAnswer}}
)
async def show(request: Request, letter_id: str) -> Response:
    """One dead letter."""
    return Json(await letter_of(context_of(request), letter_id_of(letter_id)))


@router.post(
    "/dlq/{letter_id}/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": DeadLetterAnswer}},
    openapi_extra=request_body(RetryRequest, required=False),
)
async def retry(request: Request, letter_id: str) -> Response:
    """Have the run go on at this step. 409 when the letter is closed, or its run did not end FAILED."""
    desk = context_of(request)
    id = letter_id_of(letter_id)
    asked = await read_model(request, RetryRequest)
    await retry_one(desk, id, attribution(request, asked.by))
    return Json(await letter_of(desk, id), 202)


@router.post(
    "/dlq/{letter_id}/discard",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": DeadLetterAnswer}},
    openapi_extra=request_body(RetryRequest, required=False),
)
async def discard(request: Request, letter_id: str) -> Response:
    """Close a letter; its run stays as it is. 409 when it is closed already."""
    desk = context_of(request)
    id = letter_id_of(letter_id)
    asked = await read_model(request, RetryRequest)
    await discard_one(desk, id, attribution(request, asked.by))
    return Json(await letter_of(desk, id))


@router.post(
    "/dlq/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkLetters),
)
async def retry_many(request: Request) -> Response:
    """Retry open letters, the oldest first; at most `limit` a request, then `next_cursor` goes on."""
    return await _many(request, "retry")


@router.post(
    "/dlq/discard",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": BulkAnswer}},
    openapi_extra=request_body(BulkLetters),
)
async def discard_many(request: Request) -> Response:
    """Discard open letters, the oldest first; at most `limit` a request, then `next_cursor` goes on."""
    return await _many(request, "discard")


def letter_id_of(text: str) -> int:
    """Raises Missing for what is no dead letter's id."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Missing(f"There is no dead letter {text[:30]!r}.", hint="A dead letter's id is a number.")
    return int(text)


async def letters_of(
    desk: AppContext, filter: Filter, state: str, cursor: str | None, limit: int
) -> ListPage[dict[str, Any]]:
    """A page of letters as DeadLetterAnswer says, the newest first. Raises Missing for an unknown flow, Invalid."""
    after = check_cursor(cursor, 1, number=True)
    wanted = None if state == "all" else cast(State, state)
    async with desk.db.connection() as conn:
        found = await list_letters(conn, filter, state=wanted, after=after, limit=limit)
    return ListPage([await _letter(desk, row) for row in found.items], found.next)


async def letter_of(desk: AppContext, id: int) -> dict[str, Any]:
    """As DeadLetterAnswer says, secrets masked. Raises Missing."""
    async with desk.db.connection() as conn:
        row = await get_letter(conn, id)
    return await _letter(desk, row)


async def retry_one(desk: AppContext, id: int, by: str | None) -> UUID:
    """Have the run go on at a letter's step; the run's id. Raises as `retry_letter` does."""
    async with desk.db.transaction() as conn:
        reopened = await retry_letter(conn, id, by)
        await note(conn, Deed("letter.retry", f"letter/{id}", None, {"run": str(reopened.run_id)}))
    desk.broker.ring(RUNS_PENDING, [str(reopened.run_id)])
    return reopened.run_id


async def discard_one(desk: AppContext, id: int, by: str | None) -> None:
    """Raises as `discard_letter` does."""
    async with desk.db.transaction() as conn:
        await discard_letter(conn, id, by)
        await note(conn, Deed("letter.discard", f"letter/{id}"))


async def settle_these(desk: AppContext, action: Action, ids: Sequence[int], by: str | None) -> Batch:
    """Retry or discard letters; those in no state for it are left, and counted by the difference."""
    async with desk.db.transaction() as conn:
        made = await (retry_letters if action == "retry" else discard_letters)(conn, ids, by)
        await note(conn, _deed(action, {"letters": list(ids)}, made))
    desk.broker.ring(RUNS_PENDING, [str(id) for id in made.runs])
    return made


async def settle_many(
    desk: AppContext, action: Action, filter: Filter, cursor: str | None, limit: int, by: str | None
) -> tuple[Batch, str | None]:
    """One transaction's worth of the open letters that `filter` finds, with the cursor of what is left."""
    cursor = check_cursor(cursor, 1, number=True)
    after = min(int(decode(cursor, 1)[0]), MAX_ID) if cursor else 0
    async with desk.db.transaction() as conn:
        made = await (retry_batch if action == "retry" else discard_batch)(conn, filter, after, limit, by)
        chosen = {name: value for name, value in asdict(filter).items() if value is not None}
        await note(conn, _deed(action, {"filter": chosen, "after": after}, made))
    desk.broker.ring(RUNS_PENDING, [str(id) for id in made.runs])
    return made, encode([str(made.after)]) if made.after else None


def _deed(action: Action, which: dict[str, Any], made: Batch) -> Deed:
    """Of many letters at once: which were meant, and what became of them."""
    return Deed(f"letter.{action}", "letters", which, {"done": made.done, "of": made.chosen, "runs": made.runs})


async def _many(request: Request, action: Action) -> Response:
    desk = context_of(request)
    asked = await read_model(request, BulkLetters)
    filter = Filter(asked.flow, asked.code, asked.run_id, asked.since, asked.until)
    require_filter(asked, filter)
    if asked.dry_run:
        no_entry()
        async with desk.db.connection() as conn:
            groups = await count_open(conn, filter)
        return Json(dry_run_answer([(group.flow, group.code, group.count) for group in groups]))
    by = attribution(request, asked.by)
    made, after = await settle_many(desk, action, filter, asked.cursor, asked.limit, by)
    return Json(bulk_answer(made.chosen, made.done, made.runs, after))


async def _letter(desk: AppContext, row: DeadLetterRow) -> dict[str, Any]:
    version = await desk.versions.get(row.version_id)
    error = dict(row.error or {})
    request = error.pop("request", None)
    mask = masker(version.secrets, row.inputs or {})
    return {
        "id": row.id,
        "state": row.state,
        "flow": row.flow_name,
        "flow_id": row.flow_id,
        "version": row.version,
        "run_id": row.run_id,
        "run_status": row.run_status,
        "step": row.step,
        "attempts": row.attempts,
        "code": row.code,
        "error": mask(error),
        "request": mask(request),
        "created_at": row.created_at,
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by,
    }
