"""What is done to all that a filter finds: counted and confirmed first, then done in bounded batches.

Failure argument. A batch is one transaction: a request that is cut off leaves whole batches done and the rest as it
was, and asking again finds the rest. The question carries the time of its count, and the batches go no further, so
nothing is changed that came later. A request works for MAX_SECONDS or on MAX_AT_ONCE things, then asks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from fastapi import Request
from starlette.responses import Response

from automata.http.errors import BadBody
from automata.operations.bulk import MAX_BULK, BulkResult
from automata.store.pagination import MAX_LIMIT
from automata.web.forms import Form
from automata.web.page import redirect_with_message
from automata.web.query import link
from automata.web.templating import plural

MAX_AT_ONCE = 10 * MAX_BULK
MAX_SECONDS = 5.0
Batch = Callable[[str | None], Awaitable[BulkResult]]  # one that begins at a cursor


@dataclass(frozen=True, slots=True)
class BatchesDone:
    """`cursor` is where what there was no time for begins, None when all is done."""

    matched: int
    done: int
    cursor: str | None

    def message(self, noun: str, verb: str) -> str:
        """`12 runs asked to end. 3 could not: see their state.`"""
        return summary(self.matched, self.done, noun, verb) + (" There are more." if self.cursor else "")


def summary(matched: int, done: int, noun: str, verb: str) -> str:
    """How many of those that were meant were reached, in a sentence or two."""
    missed = matched - done
    return f"{plural(done, noun)} {verb}." + (f" {missed:,} could not: see their state." if missed else "")


async def run_batches(batch: Batch, cursor: str | None) -> BatchesDone:
    """Batch after batch from `cursor` on, within MAX_AT_ONCE and MAX_SECONDS."""
    matched = done = 0
    until = monotonic() + MAX_SECONDS
    while True:
        result = await batch(cursor)
        matched, done, cursor = matched + result.matched, done + result.done, result.next_cursor
        if cursor is None or matched >= MAX_AT_ONCE or monotonic() > until:
            return BatchesDone(matched, done, cursor)


def counted_at(until: datetime | None) -> datetime:
    """The time up to which a question counts."""
    now = datetime.now(UTC)
    return min(until, now) if until else now


def redirect_after(
    request: Request, outcome: BatchesDone, words: str, question: str, again: Mapping[str, Any], back: str
) -> Response:
    """Back to the list, or with `again` to the question where there was no time for all."""
    where = link(question, again, cursor=outcome.cursor) if outcome.cursor else back
    return redirect_with_message(request, where, words, bad=outcome.matched > 0 == outcome.done)


def selected_ids(form: Form, field: str) -> list[str]:
    """The ids that are ticked in a list, each once. Raises BadBody."""
    ids = form.all(field)
    if not ids:
        raise BadBody("Nothing is ticked.", code="nothing_chosen", hint="Tick what is meant in the list first.")
    if len(ids) > MAX_LIMIT:
        raise BadBody(f"At most {MAX_LIMIT} at once.", hint="Use the button for all that the filter finds.")
    return list(dict.fromkeys(ids))


def list_address(path: str, address: str) -> str:
    """A list at `path` and nothing else: the field comes from a browser."""
    return address if address.startswith(f"{path}?") and address.isprintable() and len(address) < 2000 else path
