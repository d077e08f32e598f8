"""Pages of a list: a cursor names the last row that was seen, so that rows that come or go meanwhile shift nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from automata.errors import Invalid

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`next` is the cursor of the following page, None on the last one."""

    items: list[Row]
    next: str | None = None


def page(rows: Sequence[Row], limit: int, key: Callable[[Row], Sequence[str]]) -> Page[Row]:
    """Cut the one row too many that was asked for; that it came says that there is another page."""
    items = list(rows[:limit])
    return Page(items, encode(key(items[-1])) if len(rows) > limit else None)


def clamp(limit: int | None) -> int:
    """1 to MAX_LIMIT, DEFAULT_LIMIT for None."""
    return max(1, min(DEFAULT_LIMIT if limit is None else limit, MAX_LIMIT))


def encode(parts: Sequence[str]) -> str:
    """A cursor of these parts, for `decode`."""
    return base64.urlsafe_b64encode(json.dumps(list(parts)).encode()).decode().rstrip("=")


def decode(cursor: str, size: int) -> list[str]:
    """The parts of a cursor; raises Invalid for one that `encode` never made."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        parts = None
    if not isinstance(parts, list) or len(parts) != size or not all(isinstance(part, str) for part in parts):
        raise bad_cursor()
    return parts


def bad_cursor() -> Invalid:
    """What is raised for a cursor that this list never gave out."""
    return Invalid("The cursor is not one that this list gave out.", code="bad_cursor", pointer="/cursor")
