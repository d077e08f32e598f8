"""A pooler between a process and PostgreSQL that gives a server to each transaction, as PgBouncer can.

Through it a session is nobody's: what is prepared, set, listened for or locked for longer than a transaction is left to
whoever gets that server next. So the pool does none of this where a second address is given, and what needs a session
goes to that second address. Anything else is refused at the start: it would fail later, at random, in every part.
"""

from __future__ import annotations

import secrets
from typing import Any

from psycopg import AsyncConnection

from automata.errors import Unavailable
from automata.store.error_mapping import pooler_error
from automata.store.scalars import fetch_value

TRIES = 3


async def leads_through_pooler(conn: AsyncConnection[Any]) -> bool:
    """A pooler makes up the number that a server gives its client to cancel by, which is the server's own else."""
    return bool(await fetch_value(conn, "SELECT pg_backend_pid()") != conn.info.backend_pid)


async def refuse_pooler(conn: AsyncConnection[Any], label: str) -> None:
    """Raises Unavailable."""
    if await leads_through_pooler(conn):
        raise pooler_error(label)


async def refuse_other_server(
    pooled: AsyncConnection[Any], direct: AsyncConnection[Any], pooled_label: str, direct_label: str
) -> None:
    """Both addresses must name one database of one running server. Raises Unavailable."""
    identity = "SELECT current_database() || ' ' || pg_postmaster_start_time()"
    if await fetch_value(pooled, identity) != await fetch_value(direct, identity):
        raise Unavailable(
            f"AUTOMATA_DATABASE_DIRECT_URL leads to another database, {direct_label}, than AUTOMATA_DATABASE_URL,"
            f" {pooled_label}.",
            code="pooler",
            hint="Both must name the same database: the first through the pooler, the second past it.",
        )


async def refuse_shared_sessions(one: AsyncConnection[Any], other: AsyncConnection[Any], label: str) -> None:
    """Neither may see what the other has set for its session. Raises Unavailable."""
    for _ in range(TRIES):
        mark = secrets.token_hex(8)
        await one.execute("SELECT set_config('automata.mark', %s, false)", [mark])
        if await fetch_value(other, "SELECT current_setting('automata.mark', true)") == mark:
            raise Unavailable(
                f"AUTOMATA_DATABASE_DIRECT_URL ({label}) leads through a pooler that works per transaction.",
                code="pooler",
                hint="Name the database itself there (docs/operations.md, PgBouncer).",
            )
