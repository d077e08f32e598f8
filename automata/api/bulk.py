"""What the bulk routes share: a filter must be meant, a dry run counts, and one request is one bounded transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from starlette.responses import Response

from automata.api.schemas.bulk import BulkRequest
from automata.http.bodies import Json
from automata.http.errors import BadBody
from automata.operations.bulk import BulkResult
from automata.store.audit import skip_audit

Groups = Sequence[tuple[str, str | None, int]]  # flow, code and how many


async def bulk_response(
    body: BulkRequest,
    filter: object,
    count: Callable[[], Awaitable[Groups]],
    change: Callable[[], Awaitable[BulkResult]],
) -> Response:
    """Count in a dry run, else change what `filter` finds. Raises BadBody where nothing says what is meant."""
    require_filter(body, filter)
    if body.dry_run:
        skip_audit()
        return Json(_dry_run_answer(await count()))
    return Json(_answer(await change()))


def require_filter(body: BulkRequest, filter: object) -> None:
    """Raises BadBody when neither a filter nor `all` was given, or both."""
    if bool(filter) is body.all:
        problem = "`all` and a filter exclude each other." if filter else "Nothing says which are meant."
        raise BadBody(problem, code="nothing_chosen", hint="Give a filter, or `all: true`.", pointer="/all")


def _dry_run_answer(groups: Groups) -> dict[str, Any]:
    result = BulkResult(sum(count for *_, count in groups), 0, ())
    return _answer(result) | {
        "dry_run": True,
        "skipped": 0,
        "groups": [{"flow": flow, "code": code, "count": count} for flow, code, count in groups],
    }


def _answer(result: BulkResult) -> dict[str, Any]:
    return {
        "dry_run": False,
        "matched": result.matched,
        "done": result.done,
        "skipped": result.matched - result.done,
        "runs": list(result.runs),
        "groups": [],
        "next_cursor": result.next_cursor,
    }
