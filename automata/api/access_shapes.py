"""What requests and answers about access look like; see shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from automata.access.tokens import DEFAULT_DAYS, MAX_DAYS
from automata.api.shapes import Answered, Given

Word = Annotated[str, StringConstraints(strict=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Days = Annotated[int, Field(strict=True, ge=1, le=MAX_DAYS)]
RoleWord = Literal["viewer", "operator", "author", "reviewer", "admin"]


class SignInRequest(Given):
    token: Annotated[str, StringConstraints(strict=True, max_length=200)]


class MeAnswer(Answered):
    name: str
    mail: str
    role: RoleWord
    labels: dict[str, str] = Field(description="Only flows with all of these are there; empty: all flows.")
    csrf_token: str | None = Field(description="What changes need as X-CSRF-Token where a cookie says who asks.")


class TokenRequest(Given):
    name: Word
    role: RoleWord
    mail: Word = Field("", description="How commits and approvals know who this is.")
    labels: dict[Word, Word] = Field(default_factory=dict, description="Limits it to flows with all of these.")
    days: Days = Field(DEFAULT_DAYS, description="For how long it is good.")


class RotateRequest(Given):
    days: Days = Field(DEFAULT_DAYS, description="For how long it is good from now.")


class TokenAnswer(Answered):
    id: UUID
    name: str
    mail: str
    role: RoleWord
    labels: dict[str, str]
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime
    revoked_at: AwareDatetime | None
    used_at: AwareDatetime | None = Field(description="To five minutes.")


class NewTokenAnswer(TokenAnswer):
    token: str = Field(description="Shown this once.")


class AuditAnswer(Answered):
    id: int
    at: AwareDatetime
    actor: str
    role: str
    token_id: UUID | None
    address: str = Field(description="`cli` for a command that worked on the database by itself.")
    request_id: str
    action: str
    object: str
    before: Any
    after: Any
