"""Roles, and who a request is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

from automata.errors import Usage


class Role(IntEnum):
    """Each may do all that those before it may: look; run; propose; approve and apply; everything."""

    VIEWER = 1
    OPERATOR = 2
    AUTHOR = 3
    REVIEWER = 4
    ADMIN = 5

    @classmethod
    def read(cls, text: str) -> Role:
        """From its name in any case. Raises Usage."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            raise Usage(f"{text[:40]!r} is no role: {', '.join(role.word for role in cls)}.", code="bad_role") from None

    @property
    def word(self) -> str:
        """As REST, the command line and the database write it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Principal:
    """`mail` is how commits and approvals know a person. `labels`: only flows with all of these; empty: all flows.

    `token_id` is the token that it came by, also where that token has opened a session.
    """

    name: str
    mail: str
    role: Role
    labels: Mapping[str, str] = field(default_factory=dict)
    token_id: UUID | None = None

    @property
    def identity(self) -> str:
        """What let them in, which nobody chooses: `token:UUID`, or `oidc:…`; "" where nobody was asked."""
        if self.token_id is not None:
            return f"token:{self.token_id}"
        return self.name if self.name.startswith("oidc:") else ""

    def __str__(self) -> str:
        return f"{self.name} <{self.mail}>"


# Who asks where nobody has to say: a server that is bound to loopback without authentication.
LOCAL = Principal("local", "local@localhost", Role.ADMIN)
