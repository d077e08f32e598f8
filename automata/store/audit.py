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

from automata.store.json_codec import dumps
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.scalars import fetch_value
from automata.store.where import Where

Connection = AsyncConnection[Any]

MAX_BYTES = 16 * 1024  # of `before` and of `after`, each
MAX_SHOWN_CHARS = 2_000  # of what is larger
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
class AuditEvent:
    """`action` is `thing.verb`, `object` names one thing: `flow/orders`, `run/019b...`."""

    action: str
    object: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry of the log. `address` and `request_id` are those of its Actor; `before` and `after` are JSON values."""

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
class CurrentActor:
    """For whom a task acts. `recorded`: the log has what they did, or it needs no entry."""

    actor: Actor
    recorded: bool = False


_current: ContextVar[CurrentActor | None] = ContextVar("current_actor", default=None)


def set_actor(actor: Actor | None) -> None:
    """From here on this task, and those that it starts, act for `actor`; None: for Automata itself."""
    _current.set(CurrentActor(actor) if actor else None)


def current_actor() -> CurrentActor | None:
    """For whom this task acts; None: for Automata itself."""
    return _current.get()


async def record_change(conn: Connection, *events: AuditEvent) -> None:
    """Record what the current actor does, in the transaction that does it. Automata's own acts make no entry."""
    if (current := _current.get()) is not None:
        await record_change_by(conn, current.actor, *events)
        current.recorded = True


def skip_audit() -> None:
    """Say that no entry is needed: nothing changed, or the new row says who made it, as a run does in `created_by`."""
    if (current := _current.get()) is not None:
        current.recorded = True


async def record_change_by(conn: Connection, actor: Actor, *events: AuditEvent) -> None:
    """Record what `actor` does, in the transaction that does it."""
    skip_audit()
    if not events:
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
            [event.action for event in events],
            [event.object for event in events],
            [bounded_json(event.before) for event in events],
            [bounded_json(event.after) for event in events],
        ],
    )


async def list_audit(
    conn: Connection, filter: AuditFilter, *, after: str | None = None, limit: int | None = None
) -> Page[AuditRow]:
    """The newest first. Raises Invalid for a cursor that is none."""
    limit = clamp(limit)
    where = Where()
    where.add_given("actor = %(actor)s", actor=filter.actor)
    if filter.action and filter.action.endswith("."):
        where.add("starts_with(action, %(action)s)", action=filter.action)
    else:
        where.add_given("action = %(action)s", action=filter.action)
    where.add_given("object = %(object)s", object=filter.object)
    where.add_given("at >= %(since)s", since=filter.since)
    where.add_given("at < %(until)s", until=filter.until)
    where.add_given("id < %(below)s", below=_last_seen(after) if after else None)
    query = sql.SQL(
        "SELECT id, at, actor, role, token_id, address, request_id, action, object, before, after FROM audit_log"
        " WHERE {} ORDER BY id DESC LIMIT %(limit)s"
    ).format(where.clause())
    async with conn.cursor(row_factory=class_row(AuditRow)) as cursor:
        await cursor.execute(query, where.values | {"limit": limit + 1}, prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (str(row.id),))


async def delete_before(conn: Connection, before: datetime, who: str) -> int:
    """Delete what is older, which the log itself says afterwards; at least the last 30 days stay. The owner's alone."""
    return int(await fetch_value(conn, "SELECT audit_forget(%s, %s)", [before, who]))


def bounded_json(value: Any) -> str | None:
    """JSON text of at most MAX_BYTES; values under names of credentials are masked before anything is cut."""
    if value is None:
        return None
    text = dumps(_masked(value))
    data = text.encode()
    if len(data) <= MAX_BYTES:
        return text
    return dumps(
        {"cut": True, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "begins": text[:MAX_SHOWN_CHARS]}
    )


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: MASKED if _is_credential(str(name), item) else _masked(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_masked(item) for item in value]
    return value


def _is_credential(name: str, value: Any) -> bool:
    return value is not None and name not in _FACTS and _CREDENTIAL.search(name) is not None


def _last_seen(cursor: str) -> int:
    (id,) = decode(cursor, 1)
    if not id.isascii() or not id.isdigit() or len(id) > 18:
        raise bad_cursor()
    return int(id)
