"""A source at another address: its row keeps its id, and with that its flows, versions, attempts and proposals."""

from __future__ import annotations

from psycopg import sql

from automata.errors import Conflict
from automata.store.audit import AuditEvent, record_change
from automata.store.scalars import fetch_value
from automata.store.sync import Connection, SourceRow, get_source, list_sources, lock_source


async def move_source(conn: Connection, source: SourceRow, url: str, path: str) -> SourceRow:
    """Give a source another address and folder. Raises Conflict (`address_taken`) when another one has flows there.

    A source without flows that is there already, as a sync that was refused leaves it, gives way; its proposals go
    over, but for open ones of branches that have one here.
    """
    await lock_source(conn, source.id)
    for other in await list_sources(conn):
        if (other.url, other.path, other.environment) == (url, path, source.environment) and other.id != source.id:
            await _absorb(conn, source, other)
    await conn.execute("UPDATE sync_sources SET url = %s, path = %s WHERE id = %s", [url, path, source.id])
    before, after = ({"url": place[0], "path": place[1]} for place in ((source.url, source.path), (url, path)))
    await record_change(conn, AuditEvent("sync.move", f"source/{source.id}", before, after))
    return await get_source(conn, source.id)


async def _absorb(conn: Connection, source: SourceRow, other: SourceRow) -> None:
    flows = await fetch_value(conn, "SELECT count(*) FROM flows WHERE source_id = %s", [other.id])
    if flows or other.head_sha is not None:
        raise Conflict(
            f"{other.label} is a source with flows of its own.",
            code="address_taken",
            hint="Two sources cannot become one: remove the flows of one of them from its repository first.",
        )
    both = {"source": source.id, "other": other.id}
    await conn.execute(
        "UPDATE proposals AS other SET state = 'CLOSED', ended_at = now(), updated_at = now()"
        " WHERE source_id = %(other)s AND ended_at IS NULL AND EXISTS (SELECT FROM proposals AS mine"
        "  WHERE mine.source_id = %(source)s AND mine.branch = other.branch AND mine.ended_at IS NULL)",
        both,
    )
    await conn.execute("UPDATE proposals SET source_id = %(source)s WHERE source_id = %(other)s", both)
    for table in ("sync_attempts", "notification_rules", "sync_members", "sync_sets"):
        query = sql.SQL("DELETE FROM {} WHERE source_id = %(other)s").format(sql.Identifier(table))
        await conn.execute(query, both)
    await conn.execute("DELETE FROM sync_sources WHERE id = %(other)s", both)
