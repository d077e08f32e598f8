"""Pydantic models of requests that come as a REST body and as a form of the console, held to the same bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from automata.access.principal import Role
from automata.access.tokens import DEFAULT_DAYS, NewToken
from automata.http.bodies import RequestModel
from automata.http.fields import By, Days, RoleWord, Word


class RollbackRequest(RequestModel):
    to: Annotated[str, Field(pattern="^[0-9a-f]{7,40}$", description="A commit that was synced, or its first digits.")]
    reason: Annotated[
        str, StringConstraints(strict=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")
    ] = Field("emergency", description="Shown wherever the environment is, for as long as it is pinned.")
    by: By = None


class TokenRequest(RequestModel):
    name: Word
    role: RoleWord
    mail: Word = Field("", description="How commits and approvals know who this is.")
    labels: dict[Word, Word] = Field(default_factory=dict, description="Limits it to flows with all of these.")
    days: Days = Field(DEFAULT_DAYS, description="For how long it is good.")

    def wanted(self) -> NewToken:
        """What it asks for. Raises Usage."""
        return NewToken(self.name, Role.read(self.role), self.mail, self.labels, self.days)


class RotateRequest(RequestModel):
    days: Days = Field(DEFAULT_DAYS, description="For how long it is good from now.")
