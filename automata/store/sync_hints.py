"""What wakes a sync controller in another process: a time in the source's row, and deliveries that were heard once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

Connection = AsyncConnection[Any]

# Longer than any forge keeps trying by itself; what is sent again later costs a look at the branch and nothing else.
KEPT_DAYS = 7
_FORGOTTEN_AT_ONCE = 1_000


async def take_delivery(conn: Connection, keys: Collection[str]) -> bool:
    """Whether none of these was taken before; all of them are from now on. Runs in the caller's transaction."""
    cursor = await conn.execute(
        "INSERT INTO sync_deliveries (key) SELECT * FROM unnest(%s::text[]) ON CONFLICT DO NOTHING RETURNING key",
        [sorted(keys)],
    )
    new = len(await cursor.fetchall()) == len(keys)
    await conn.execute(
        "DELETE FROM sync_deliveries WHERE key IN (SELECT key FROM sync_deliveries"
        " WHERE received_at < now() - make_interval(days => %s) LIMIT %s FOR UPDATE SKIP LOCKED)",
        [KEPT_DAYS, _FORGOTTEN_AT_ONCE],
    )
    return new


async def record_hint(conn: Connection, source_ids: Sequence[UUID]) -> None:
    """Have the controllers of these sources look at their branches soon."""
    await conn.execute("UPDATE sync_sources SET hinted_at = now() WHERE id = ANY(%s)", [list(source_ids)])


async def request_sync(conn: Connection, source_id: UUID) -> None:
    """Have the controller of a source look at its branch soon because a person asked; no webhook announced anything."""
    await conn.execute("UPDATE sync_sources SET asked_at = now() WHERE id = %s", [source_id])


async def record_seen_commit(conn: Connection, source_id: UUID, sha: str) -> None:
    """Note where the branch is now; written only when it moved."""
    await conn.execute(
        "UPDATE sync_sources SET seen_sha = %(sha)s, seen_at = now()"
        " WHERE id = %(id)s AND seen_sha IS DISTINCT FROM %(sha)s",
        {"sha": sha, "id": source_id},
    )
