"""The parameters that several resources share, with their bounds."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from automata.engine.states import TRIGGER_WORDS
from automata.errors import Invalid
from automata.operations.proposal_list import MAX_NUMBER
from automata.store.pagination import DEFAULT_LIMIT, MAX_LIMIT, Page, decode

MAX_LABELS = 10
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)  # arithmetic on the far end of the calendar overflows


def check_written_out(value: object) -> object:
    """Raises ValueError for a number: pydantic reads it as seconds since 1970, and nobody who sent one meant that."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        raise ValueError("must be a date and time as RFC 3339 writes it, such as 2026-01-31T09:00:00Z")
    return value


def check_year(moment: datetime) -> datetime:
    """Raises ValueError."""
    if not EARLIEST <= moment <= LATEST:
        raise ValueError(f"must be between {EARLIEST.year} and {LATEST.year}")
    return moment


_NUMBER = re.compile(r"\s*[-+]?[\d_.]+(e[-+]?\d+)?\s*", re.IGNORECASE)
_PLAIN = r"^[^\x00-\x1f\x7f]*$"

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description=f"Items a page; {DEFAULT_LIMIT} when not given.")]
Cursor = Annotated[
    str | None,
    Query(max_length=600, pattern=r"^[A-Za-z0-9_-]*$", description="`next_cursor` of the page before."),
]
Word = Annotated[str | None, Query(max_length=100, pattern=_PLAIN)]
StartedBy = Annotated[str | None, Query(max_length=100, pattern=_PLAIN, description=f"One of {TRIGGER_WORDS}.")]
Labels = Annotated[list[str] | None, Query(max_length=MAX_LABELS, description="`name=value`; all must match.")]
Instant = Annotated[AwareDatetime, BeforeValidator(check_written_out), AfterValidator(check_year)]
Moment = Annotated[Instant | None, Query()]
ProposalNumber = Annotated[int, Path(ge=1, le=MAX_NUMBER, description="The proposal's number.")]
AuditObject = Annotated[str | None, Query(max_length=300, pattern=_PLAIN, description="Like `flow/orders`.")]
FlowKey = Annotated[str | None, Query(max_length=100, pattern=_PLAIN, description="A flow's name or id.")]


def parse_labels(labels: list[str] | None) -> dict[str, str]:
    """`name=value` pairs; raises Invalid."""
    pairs = [item.partition("=") for item in labels or ()]
    for name, equals, value in pairs:
        if not name or not equals or not (name + value).isprintable():
            raise Invalid("label must be name=value.", code="invalid_request", pointer="/query/label")
    return {name: value for name, _, value in pairs}


def check_cursor(cursor: str | None, parts: int, *, number: bool = False) -> str | None:
    """A cursor of `parts` that the database can be asked about; raises Invalid (`bad_cursor`)."""
    if not cursor:
        return None
    if not all(_plain(part, number) for part in _parts(cursor, parts)):
        raise _bad_cursor()
    return cursor


def _parts(cursor: str, size: int) -> list[str]:
    try:
        return decode(cursor, size)
    except Invalid:
        raise _bad_cursor() from None


def _plain(part: str, number: bool) -> bool:
    """What the database can be asked about: no control characters, no lone surrogates, a number where one belongs."""
    return part.isprintable() and len(part) <= 100 and not (number and not (part.isascii() and part.isdigit()))


def _bad_cursor() -> Invalid:
    return Invalid("The cursor is not one that this list gave out.", code="bad_cursor", pointer="/query/cursor")


def page_of(page: Page[Any], items: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a list: the items and the cursor of the next page."""
    return {"items": items, "next_cursor": page.next}
