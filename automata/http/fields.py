"""Types of the fields of requests, with their bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from automata.access.tokens import MAX_DAYS

MAX_INT = 2**31 - 1  # PostgreSQL's integer, and every version's number
NAME = r"^[a-z0-9][a-z0-9._-]{0,99}$"
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

Number = Annotated[int, Field(strict=True, ge=1, le=MAX_INT)]
Flag = Annotated[bool, Field(strict=True)]
# Not empty: an empty flow in a filter would mean all flows, an empty key or name would be one.
Text = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=1000, pattern=PRINTABLE)]
Word = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200, pattern=PRINTABLE)]
OptionalWord = Annotated[str, StringConstraints(strict=True, max_length=200, pattern=PRINTABLE)]
By = Annotated[Word | None, Field(description="Who asks; kept with what was done.")]
Days = Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)]
RoleWord = Literal["viewer", "operator", "author", "reviewer", "admin"]
