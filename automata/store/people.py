"""Whose mail addresses somebody vouches for: the admin who made a token, or the provider of a session."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]


async def vouched_mails(conn: Connection) -> list[str] | None:
    """The addresses of all tokens that there ever were and of all people of the provider; None where there are none.

    A token that was revoked still tells whose commits bear its address.
    """
    cursor = await conn.execute("SELECT mail FROM access_tokens UNION SELECT mail FROM access_people")
    return [mail for (mail,) in await cursor.fetchall()] or None


async def remember_person(conn: Connection, mail: str) -> None:
    """The provider vouches for this address. Twice is fine."""
    await conn.execute("INSERT INTO access_people (mail) VALUES (%s) ON CONFLICT DO NOTHING", [mail])
