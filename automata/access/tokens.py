"""Tokens: created, rotated, revoked, and found to be good or not.

Failure argument. A request seldom asks the database whose token it brings: an answer is used for CACHE_SEC from the
moment of the question, so a revoked token is refused everywhere after that time at the latest. A database that does not
answer lets nobody in whose answer is older.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from automata.access.principal import Principal, Role
from automata.access.token_text import digest, is_token_text, new_token_text
from automata.caching import SingleFlightCache
from automata.errors import Invalid, Usage
from automata.store import tokens as store
from automata.store.audit import Actor, AuditEvent, record_change_by
from automata.store.database import Connection, Database
from automata.store.tokens import TokenRow

CACHE_SEC = 5.0
DEFAULT_DAYS = 90
MAX_DAYS = 366
MAX_LABELS = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}")
_MAIL = re.compile(r"[^\s<>\x00-\x1f\x7f]{1,200}")


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that is to be created, good for `days`. Raises Usage, Invalid for one that cannot be."""

    name: str
    role: Role
    mail: str = ""
    labels: Mapping[str, str] | None = None
    days: int = DEFAULT_DAYS

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Invalid(
                "A token's name is 1 to 100 letters, digits, `.`, `_`, `@` and `-`.", code="bad_name", pointer="/name"
            )
        if self.mail and not _MAIL.fullmatch(self.mail):
            raise Invalid("That is no mail address.", code="bad_mail", pointer="/mail")
        if not 1 <= self.days <= MAX_DAYS:
            raise Invalid(f"A token is good for 1 to {MAX_DAYS} days.", code="bad_days", pointer="/days")
        if len(self.labels or {}) > MAX_LABELS:
            raise Invalid(f"At most {MAX_LABELS} labels limit a token.", code="too_many_labels", pointer="/labels")
        if self.role is Role.ADMIN and self.labels:
            raise Usage(
                "An admin sees every flow: labels cannot limit one.",
                code="admin_limited",
                hint="The role reviewer does all that can be limited.",
            )


class Tokens:
    """Whom a token lets in. What is good is known for CACHE_SEC: after that a revoked one is refused everywhere."""

    def __init__(self, db: Database, *, cache_sec: float = CACHE_SEC) -> None:
        self._db = db
        self._known: SingleFlightCache[bytes, Principal] = SingleFlightCache(self._read, ttl_sec=cache_sec)

    def was_good(self, text: str) -> bool:
        """Whether this token let somebody in lately; asks nobody."""
        return digest(text) in self._known

    def clear(self) -> None:
        """Forget what was read, so that a change made by this process holds at once."""
        self._known.clear()

    async def principal(self, text: str) -> Principal | None:
        """None for whatever is not good: unknown, expired, revoked, or no token at all. Raises Unavailable."""
        return await self._known.get(digest(text)) if is_token_text(text) else None

    async def _read(self, key: bytes) -> tuple[Principal, float] | None:
        async with self._db.connection() as conn:
            row = await store.token_of(conn, key)
        return (principal_of(row), row.left_sec) if row else None


def principal_of(row: TokenRow) -> Principal:
    """Whom a row of access_tokens is about."""
    return Principal(row.name, row.mail, Role.read(row.role), row.labels, row.id)


async def create(conn: Connection, actor: Actor, new: NewToken) -> tuple[str, TokenRow]:
    """A new token and its text, which is nowhere else. Raises Conflict `token_exists`."""
    text = new_token_text()
    row = await store.add_token(
        conn,
        digest(text),
        name=new.name,
        mail=new.mail or f"{new.name}@automata",
        role=new.role.word,
        labels=new.labels or {},
        ttl=timedelta(days=new.days),
        by=actor.name,
    )
    await record_change_by(conn, actor, AuditEvent("token.create", f"token/{row.name}", None, token_facts(row)))
    return text, row


async def revoke(conn: Connection, actor: Actor, key: str) -> TokenRow:
    """Twice is fine. Raises Missing."""
    row = await store.find_token(conn, key)
    if await store.revoke_token(conn, row.id):
        await record_change_by(conn, actor, AuditEvent("token.revoke", f"token/{row.name}", token_facts(row), None))
    return await store.find_token(conn, str(row.id))


async def rotate(conn: Connection, actor: Actor, key: str, days: int = DEFAULT_DAYS) -> tuple[str, TokenRow]:
    """Another text for the same token; the one before is worth nothing any more. Raises Missing, Conflict, Invalid."""
    before = await store.find_token(conn, key)
    NewToken(before.name, Role.read(before.role), before.mail, before.labels, days)
    text = new_token_text()
    row = await store.rotate_token(conn, before.id, digest(text), timedelta(days=days))
    await record_change_by(
        conn, actor, AuditEvent("token.rotate", f"token/{row.name}", token_facts(before), token_facts(row))
    )
    return text, row


def token_facts(row: TokenRow) -> dict[str, Any]:
    """A token as it may be shown: all but its digest."""
    return {
        "id": str(row.id),
        "name": row.name,
        "mail": row.mail,
        "role": row.role,
        "labels": row.labels,
        "created_at": row.created_at.isoformat(),
        "created_by": row.created_by,
        "expires_at": row.expires_at.isoformat(),
        "revoked_at": row.revoked_at and row.revoked_at.isoformat(),
        "used_at": row.used_at and row.used_at.isoformat(),
    }
