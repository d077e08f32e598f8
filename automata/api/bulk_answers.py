"""What the bulk commands share: a filter must be meant, one request is one bounded transaction, counts come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from automata.api.schemas.bulk import BulkRequest
from automata.http.errors import BadBody


def require_filter(asked: BulkRequest, filter: object) -> None:
    """Raises Invalid when neither a filter nor `all` was given, or both."""
    if bool(filter) is asked.all:
        problem = "`all` and a filter exclude each other." if filter else "Nothing says which are meant."
        raise BadBody(problem, code="nothing_chosen", hint="Give a filter, or `all: true`.", pointer="/all")


def dry_run_answer(groups: Sequence[tuple[str, str | None, int]]) -> dict[str, Any]:
    """The answer of a dry run: flow, code and count each."""
    found = [{"flow": flow, "code": code, "count": count} for flow, code, count in groups]
    return _answer(True, sum(count for *_, count in groups), 0, 0, (), found, None)


def bulk_answer(matched: int, done: int, runs: Sequence[UUID], after: str | None) -> dict[str, Any]:
    return _answer(False, matched, done, matched - done, runs, [], after)


def _answer(
    dry_run: bool,
    matched: int,
    done: int,
    skipped: int,
    runs: Sequence[UUID],
    groups: list[dict[str, Any]],
    after: str | None,
) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "matched": matched,
        "done": done,
        "skipped": skipped,
        "runs": list(runs),
        "groups": groups,
        "next_cursor": after,
    }
