"""The log of who changed what: a row in the transaction of the change itself, so neither is there without the other.

The table takes rows and gives none away: a trigger refuses every other change (migration `access`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.store.codec import dumps
from automata.store.flows import all_of
from automata.store.pages import Page, bad_cursor, clamp, decode, page

Connection = AsyncConnection[Any]

MAX_BYTES = 16 * 1024  # of `before` and of `after`, each
SHOWN_CHARS = 2_000  # of what is larger
MASKED = "***"
_CREDENTIAL = re.compile(r"authorization|cookie|token|secret|password|signature|credential|api.?key", re.IGNORECASE)
# Their names are those of facts about a credential, not of one.
_FACTS = frozenset({"token_id", "secrets"})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts and from where: an address, or `cli` for a command that works on the database by itself."""

    name: str
    role: str
    token_id: UUID | None = None
    address: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Deed:
    """`action` is `thing.verb`, `object` names one thing: `flow/orders`, `run/019b...`."""

    action: str
    object: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    id: int
    at: datetime
    actor: str
    role: str
    token_id: UUID | None
    address: str
    request_id: str
    action: str
    object: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """None leaves a member open. `action` may end in a dot, for all of one thing; `until` is not included."""

    actor: str | None = None
    action: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(slots=True)
class Acting:
    """Who acts in this task, and whether what they do has been written down, or was seen to need no entry."""

    actor: Actor
    noted: bool = False


_acting: ContextVar[Acting | None] = ContextVar("acting", default=None)


def act(actor: Actor | None) -> None:
    """From here on this task, and those that it starts, act for somebody; None: for Automata itself."""
    _acting.set(Acting(actor) if actor else None)


def acting() -> Acting | None:
    return _acting.get()


async def note(conn: Connection, *deeds: Deed) -> None:
    """Write down what whoever acts does, in the transaction that does it. What Automata does by itself is no entry."""
    if (now := _acting.get()) is not None:
        await record(conn, now.actor, *deeds)
        now.noted = True


def no_entry() -> None:
    """Nothing was changed, or what was made says itself who made it: a run, in `created_by`."""
    if (now := _acting.get()) is not None:
        now.noted = True


async def record(conn: Connection, actor: Actor, *deeds: Deed) -> None:
    """Write down what `actor` does, in the transaction that does it."""
    no_entry()
    if not deeds:
        return
    await conn.execute(
        "INSERT INTO audit_log (actor, role, token_id, address, request_id, action, object, before, after)"
        " SELECT %s, %s, %s, %s, %s, * FROM unnest(%s::text[], %s::text[], %s::json[], %s::json[])",
        [
            actor.name,
            actor.role,
            actor.token_id,
            actor.address,
            actor.request_id,
            [deed.action for deed in deeds],
            [deed.object for deed in deeds],
            [kept(deed.before) for deed in deeds],
            [kept(deed.after) for deed in deeds],
        ],
    )


async def list_audit(
    conn: Connection, filter: AuditFilter, *, after: str | None = None, limit: int | None = None
) -> Page[AuditRow]:
    """The newest first. Raises Invalid for a cursor that is none."""
    limit = clamp(limit)
    is_thing = bool(filter.action and filter.action.endswith("."))
    chosen = (
        ("actor = %s", filter.actor),
        ("starts_with(action, %s)" if is_thing else "action = %s", filter.action),
        ("object = %s", filter.object),
        ("at >= %s", filter.since),
        ("at < %s", filter.until),
        ("id < %s", _seen(after) if after else None),
    )
    filters = [(text, value) for text, value in chosen if value is not None]
    query = sql.SQL(
        "SELECT id, at, actor, role, token_id, address, request_id, action, object, before, after FROM audit_log"
        " WHERE {} ORDER BY id DESC LIMIT %s"
    ).format(all_of(filters))
    async with conn.cursor(row_factory=class_row(AuditRow)) as cursor:
        await cursor.execute(query, [*(value for _, value in filters), limit + 1], prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (str(row.id),))


async def forget(conn: Connection, before: datetime, who: str) -> int:
    """Delete what is older, which the log itself says afterwards; at least the last 30 days stay. The owner's alone."""
    cursor = await conn.execute("SELECT audit_forget(%s, %s)", [before, who])
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def kept(value: Any) -> str | None:
    """JSON text of at most MAX_BYTES; values under names of credentials are masked before anything is cut."""
    if value is None:
        return None
    text = dumps(_masked(value))
    data = text.encode()
    if len(data) <= MAX_BYTES:
        return text
    return dumps(
        {"cut": True, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "begins": text[:SHOWN_CHARS]}
    )


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: MASKED if _is_credential(str(name), item) else _masked(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_masked(item) for item in value]
    return value


def _is_credential(name: str, value: Any) -> bool:
    return value is not None and name not in _FACTS and _CREDENTIAL.search(name) is not None


def _seen(cursor: str) -> int:
    (id,) = decode(cursor, 1)
    if not id.isascii() or not id.isdigit() or len(id) > 18:
        raise bad_cursor()
    return int(id)
