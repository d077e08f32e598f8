"""Tokens: who may come in by them, and until when. What is kept is their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from automata.errors import Conflict, Missing
from automata.store.ids import as_uuid
from automata.store.json_codec import dumps
from automata.store.pagination import Page, clamp, decode, page
from automata.store.scalars import fetch_value

Connection = AsyncConnection[Any]

USED_EVERY = timedelta(minutes=5)  # how coarse `used_at` is: a row that every request wrote would be the hottest of all
_FIRST = 0x6175746F6D61746F  # the lock of the first token; any number that nobody else takes


@dataclass(frozen=True, slots=True)
class TokenRow:
    """`left_sec`: for how long it is good at most, by the database's clock; 0 when it expired or was revoked."""

    id: UUID
    name: str
    mail: str
    role: str
    labels: Mapping[str, str]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    used_at: datetime | None
    left_sec: float


_COLUMNS = sql.SQL(
    "id, name, mail, role, labels, created_at, created_by, expires_at, revoked_at, used_at,"
    " CASE WHEN revoked_at IS NULL THEN greatest(0, extract(epoch FROM expires_at - now()))::float8 ELSE 0 END"
    " AS left_sec"
)
_SELECT = sql.SQL("SELECT {} FROM access_tokens").format(_COLUMNS)


async def add_token(
    conn: Connection,
    hash: bytes,
    *,
    name: str,
    mail: str,
    role: str,
    labels: Mapping[str, str],
    ttl: timedelta,
    by: str,
) -> TokenRow:
    """Raises Conflict `token_exists` for a name that another token has which was not revoked."""
    query = sql.SQL(
        "INSERT INTO access_tokens (hash, name, mail, role, labels, created_by, expires_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, now() + %s) RETURNING {}"
    ).format(_COLUMNS)
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        try:
            await cursor.execute(query, [hash, name, mail, role, dumps(labels), by, ttl])
        except UniqueViolation as error:
            raise Conflict(
                f"There is a token {name!r} already.",
                code="token_exists",
                hint="Choose another name, or revoke or rotate that one.",
            ) from error
        row = await cursor.fetchone()
    assert row is not None
    return row


async def token_of(conn: Connection, hash: bytes) -> TokenRow | None:
    """The token that is good, None for any that is not. Notes now and then that it is used."""
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            _SELECT + sql.SQL(" WHERE hash = %s AND revoked_at IS NULL AND expires_at > now()"), [hash]
        )
        row = await cursor.fetchone()
    if row:
        await conn.execute(
            "UPDATE access_tokens SET used_at = now() WHERE id = %s AND (used_at IS NULL OR used_at < now() - %s)",
            [row.id, USED_EVERY],
        )
    return row


async def find_token(conn: Connection, key: str) -> TokenRow:
    """By id, or by the name of one that was not revoked. Raises Missing."""
    by_id = as_uuid(key)
    condition = " WHERE id = %s" if by_id else " WHERE name = %s AND revoked_at IS NULL"
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(_SELECT + sql.SQL(condition), [by_id or key])
        if row := await cursor.fetchone():
            return row
    raise Missing(f"There is no token {key[:100]!r}.", hint="`automata token list` shows which there are.")


async def list_tokens(
    conn: Connection, *, revoked: bool = False, after: str | None = None, limit: int | None = None
) -> Page[TokenRow]:
    """By name; expired ones too, and `revoked` ones when they are asked for."""
    limit = clamp(limit)
    name, id = decode(after, 2) if after else ("", "00000000-0000-0000-0000-000000000000")
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(
            _SELECT
            + sql.SQL(" WHERE (name, id) > (%s, %s::uuid) AND (%s OR revoked_at IS NULL) ORDER BY name, id LIMIT %s"),
            [name, as_uuid(id), revoked, limit + 1],
        )
        return page(await cursor.fetchall(), limit, lambda row: (row.name, str(row.id)))


async def revoke_token(conn: Connection, id: UUID) -> bool:
    """Also ends the sessions that it opened. False when it was revoked before."""
    cursor = await conn.execute(
        "UPDATE access_tokens SET revoked_at = now() WHERE id = %s AND revoked_at IS NULL", [id]
    )
    await conn.execute("DELETE FROM access_sessions WHERE token_id = %s", [id])
    return cursor.rowcount == 1


async def rotate_token(conn: Connection, id: UUID, hash: bytes, ttl: timedelta) -> TokenRow:
    """Give a token another text and another end; its sessions end. Raises Conflict for one that was revoked."""
    query = sql.SQL(
        "UPDATE access_tokens SET hash = %s, expires_at = now() + %s WHERE id = %s AND revoked_at IS NULL RETURNING {}"
    ).format(_COLUMNS)
    async with conn.cursor(row_factory=class_row(TokenRow)) as cursor:
        await cursor.execute(query, [hash, ttl, id])
        row = await cursor.fetchone()
    if row is None:
        raise Conflict("The token was revoked.", code="token_revoked", hint="Make a new one.")
    await conn.execute("DELETE FROM access_sessions WHERE token_id = %s", [id])
    return row


async def is_first(conn: Connection) -> bool:
    """Whether there never was a token. No other transaction gets True before this one ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", [_FIRST])
    return bool(await fetch_value(conn, "SELECT NOT EXISTS (SELECT FROM access_tokens)"))
