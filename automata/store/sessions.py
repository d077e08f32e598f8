"""Sessions of people at the console.

One that a token opened ends with that token, any other when the settings of the provider change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from automata.store.json_codec import dumps
from automata.store.scalars import fetch_value

Connection = AsyncConnection[Any]

RENEW_AFTER = timedelta(hours=1)
# The answer with the new cookie may be under way while the page asks for more with the old one.
FORMER_FOR = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class SessionRow:
    """`is_former`: it was found by the cookie before the present one."""

    id: UUID
    token_id: UUID | None
    name: str
    mail: str
    role: str
    labels: Mapping[str, str]
    renewed_at: datetime
    expires_at: datetime
    left_sec: float
    is_former: bool
    is_due: bool


async def add_session(
    conn: Connection,
    hash: bytes,
    *,
    token_id: UUID | None,
    name: str,
    mail: str,
    role: str,
    labels: Mapping[str, str],
    ttl: timedelta,
    config_digest: bytes | None = None,
) -> UUID:
    """`config_digest`: of the provider's settings, where no token opened it. Also deletes a few that have ended."""
    await conn.execute(
        "DELETE FROM access_sessions WHERE id IN"
        " (SELECT id FROM access_sessions WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)"
    )
    id = await fetch_value(
        conn,
        "INSERT INTO access_sessions (hash, token_id, name, mail, role, labels, basis, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, now() + %s) RETURNING id",
        [hash, token_id, name, mail, role, dumps(labels), config_digest, ttl],
    )
    return UUID(str(id))


async def session_of(conn: Connection, hash: bytes, config_digest: bytes | None = None) -> SessionRow | None:
    """The session whose cookie this is, or was a moment ago; None when it or its token has ended, or when no
    token opened it and `config_digest` is another than then.
    """
    async with conn.cursor(row_factory=class_row(SessionRow)) as cursor:
        await cursor.execute(
            "SELECT session.id, session.token_id, session.name, session.mail, session.role, session.labels,"
            " session.renewed_at, session.expires_at, session.hash <> %(hash)s AS is_former,"
            " session.hash = %(hash)s AND session.renewed_at < now() - %(renew)s AS is_due,"
            " extract(epoch FROM least(session.expires_at, token.expires_at,"
            "   CASE WHEN session.hash <> %(hash)s THEN session.renewed_at + %(former)s END) - now())::float8"
            " AS left_sec"
            " FROM access_sessions AS session LEFT JOIN access_tokens AS token ON token.id = session.token_id"
            " WHERE (session.hash = %(hash)s"
            "     OR session.former = %(hash)s AND session.renewed_at > now() - %(former)s)"
            " AND session.expires_at > now()"
            " AND (token.id IS NULL OR token.revoked_at IS NULL AND token.expires_at > now())"
            " AND (session.basis IS NULL OR session.basis = %(basis)s::bytea)",
            {"hash": hash, "renew": RENEW_AFTER, "former": FORMER_FOR, "basis": config_digest},
        )
        return await cursor.fetchone()


async def renew_session(conn: Connection, old: bytes, new: bytes) -> bool:
    """Another cookie for the same session. False when another request renewed it first: then that cookie counts."""
    cursor = await conn.execute(
        "UPDATE access_sessions SET hash = %s, former = hash, renewed_at = now()"
        " WHERE hash = %s AND renewed_at < now() - %s",
        [new, old, RENEW_AFTER],
    )
    return cursor.rowcount == 1


async def end_session(conn: Connection, id: UUID) -> None:
    """Its cookies let nobody in any more."""
    await conn.execute("DELETE FROM access_sessions WHERE id = %s", [id])


async def use_once(conn: Connection, hash: bytes, ttl: timedelta) -> bool:
    """True for the first call with this hash in all processes; for `lives` every other call gets False."""
    await conn.execute(
        "DELETE FROM access_spent WHERE hash IN"
        " (SELECT hash FROM access_spent WHERE expires_at < now() LIMIT 100 FOR UPDATE SKIP LOCKED)"
    )
    cursor = await conn.execute(
        "INSERT INTO access_spent (hash, expires_at) VALUES (%s, now() + %s) ON CONFLICT DO NOTHING", [hash, ttl]
    )
    return cursor.rowcount == 1


async def secret_of(conn: Connection, name: str, fresh: bytes) -> bytes:
    """The secret of that name, the same for every process; `fresh` becomes it when there is none yet."""
    await conn.execute("INSERT INTO access_secrets (name, value) VALUES (%s, %s) ON CONFLICT DO NOTHING", [name, fresh])
    return bytes(await fetch_value(conn, "SELECT value FROM access_secrets WHERE name = %s", [name]))
