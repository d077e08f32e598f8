"""Which processes are up: each writes its row every few seconds, and who is silent counts no more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from automata.store.database import Connection
from automata.store.scalars import fetch_value

ALIVE_SEC = 30  # three beats: one may be late, and one lost
FORGET_SEC = 3_600


@dataclass(frozen=True, slots=True)
class Process:
    """`clock_ms`: how far its clock is ahead of the database's; `alive`: it was heard of within ALIVE_SEC."""

    id: UUID
    name: str
    parts: list[str]
    queues: list[str]
    concurrency: int
    version: str
    clock_ms: float
    started_at: datetime
    seen_at: datetime
    alive: bool


async def clock_ahead_ms(conn: Connection) -> float:
    """How far this process's clock is ahead of the database's; right to about half a round trip."""
    before = time.time()
    now = float(await fetch_value(conn, "SELECT extract(epoch FROM clock_timestamp())::float8"))
    middle = (before + time.time()) / 2
    return (middle - now) * 1000


async def record_heartbeat(
    conn: Connection, id: UUID, name: str, parts: Sequence[str], queues: Sequence[str], concurrency: int, version: str
) -> None:
    """Say that this process is up, and forget those that were not heard of for FORGET_SEC."""
    clock = await clock_ahead_ms(conn)
    await conn.execute(
        "INSERT INTO processes (id, name, parts, queues, concurrency, version, clock_ms)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE SET seen_at = now(), clock_ms = excluded.clock_ms",
        [id, name, list(parts), list(queues), concurrency, version, clock],
    )
    await conn.execute("DELETE FROM processes WHERE seen_at < now() - make_interval(secs => %s)", [FORGET_SEC])


async def remove_process(conn: Connection, id: UUID) -> None:
    """Say that this process has ended."""
    await conn.execute("DELETE FROM processes WHERE id = %s", [id])


async def list_processes(conn: Connection) -> list[Process]:
    """By part and name; those that fell silent too, for FORGET_SEC."""
    async with conn.cursor(row_factory=class_row(Process)) as cursor:
        await cursor.execute(
            "SELECT *, seen_at > now() - make_interval(secs => %s) AS alive FROM processes"
            " ORDER BY parts, name, started_at",
            [ALIVE_SEC],
        )
        return await cursor.fetchall()
