"""What commands about many things at once share: one bounded transaction a call, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

MAX_BULK = 500  # things of one transaction


@dataclass(frozen=True, slots=True)
class BulkResult:
    """`matched` were found and `done` of them were in a state for it; `runs` moved by it.

    `next_cursor` is where to go on, None when everything that the filter finds was looked at.
    """

    matched: int
    done: int
    runs: Sequence[UUID]
    next_cursor: str | None = None
