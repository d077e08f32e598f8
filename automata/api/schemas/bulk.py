"""What commands about many things at once take and answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import Flag, Text
from automata.http.query import Instant
from automata.operations.bulk import MAX_BULK


class BulkRequest(RequestModel):
    """What a bulk command is about. Without any filter it needs `all: true`."""

    flow: Text | None = Field(None, description="The flow's name or id.")
    since: Instant | None = None
    until: Instant | None = Field(None, description="Not included.")
    all: Flag = Field(False, description="Say that no filter is meant.")
    dry_run: Flag = Field(False, description="Only count.")
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_BULK)] = Field(
        MAX_BULK, description="At most so many in this request, which is one transaction."
    )
    cursor: Annotated[str, StringConstraints(max_length=600, pattern=r"^[A-Za-z0-9_-]*$")] | None = Field(
        None, description="`next_cursor` of the request before."
    )


class CountAnswer(ResponseModel):
    flow: str
    code: str | None = None
    count: int


class BulkAnswer(ResponseModel):
    """`next_cursor` is null when everything that was meant has been looked at."""

    dry_run: bool
    matched: int
    done: int
    skipped: int = Field(description="Matched, and not in a state for it.")
    runs: list[UUID] = Field(description="The runs that this reached.")
    groups: list[CountAnswer] = Field(description="What a dry run found.")
    next_cursor: str | None
