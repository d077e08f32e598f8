"""Tokens, sessions and the log of changes."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints

from automata.http.bodies import RequestModel, ResponseModel
from automata.http.fields import RoleWord


class SignInRequest(RequestModel):
    token: Annotated[str, StringConstraints(strict=True, max_length=200)]


class MeAnswer(ResponseModel):
    name: str
    mail: str
    role: RoleWord
    labels: dict[str, str] = Field(description="Only flows with all of these are there; empty: all flows.")
    csrf_token: str | None = Field(description="What changes need as X-CSRF-Token where a cookie says who asks.")


class TokenAnswer(ResponseModel):
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


class AuditAnswer(ResponseModel):
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
