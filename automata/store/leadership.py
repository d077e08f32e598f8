"""One leader for a role: an advisory lock on a connection of its own, and a row with the number of the leader's term.

Failure argument. The lock alone elects. It lives as long as its session, and the server ends a session that is silent
for SILENCE_SEC, so a leader that is paused or cut off loses the lock without doing anything. A leader that wakes up
late still believes that it leads, so every transaction of its work locks the row and compares the term (`is_leader`).
The next leader raises the term under the same lock, before it does anything else.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from psycopg import AsyncConnection

from automata.store.database import CONNECT_SEC, LIMITS, Connection, conninfo_of
from automata.store.error_mapping import describe, mapped_errors
from automata.store.scalars import fetch_value

SILENCE_SEC = 10
PAUSE_SEC = 8  # less than SILENCE_SEC: the next leader finds the row of the term free
ANSWER_SEC = 5.0


class LeaderLock:
    """One try for one role. Make it with `open`; a session that broke raises Unavailable, and is of no more use."""

    def __init__(self, conn: Connection, role: str, label: str) -> None:
        self._conn = conn
        self._role = role
        self._label = label

    @classmethod
    async def open(cls, url: str, role: str) -> LeaderLock:
        """Raises Unavailable."""
        limits = {**LIMITS, "idle_session_timeout": f"{SILENCE_SEC}s"}
        conninfo = conninfo_of(url, f"automata {role} seat", limits)
        with mapped_errors(describe(url)):
            async with asyncio.timeout(CONNECT_SEC + 1):
                conn = await AsyncConnection.connect(conninfo, autocommit=True)
        return cls(conn, role, describe(url))

    async def take(self, holder: str) -> int | None:
        """The number of the new term, None while another holds the lock."""
        with mapped_errors(self._label):
            async with asyncio.timeout(ANSWER_SEC):
                is_ours = await fetch_value(
                    self._conn,
                    "SELECT pg_try_advisory_lock(hashtextextended('automata leader ' || %s, 0))",
                    [self._role],
                )
                if not is_ours:
                    return None
                epoch = await fetch_value(
                    self._conn,
                    "INSERT INTO leaders (role, epoch, holder) VALUES (%s, 1, %s) ON CONFLICT (role) DO UPDATE"
                    " SET epoch = leaders.epoch + 1, holder = excluded.holder, since = now() RETURNING epoch",
                    [self._role, holder],
                )
        return int(epoch)

    async def ping(self) -> None:
        """Keep the session; raises Unavailable or TimeoutError when the lock must be considered lost."""
        with mapped_errors(self._label):
            async with asyncio.timeout(ANSWER_SEC):
                await self._conn.execute("SELECT 1")

    async def close(self) -> None:
        """Give the lock up. Never raises; a dead server gets a second to answer."""
        with suppress(Exception):
            async with asyncio.timeout(1):
                await self._conn.close()


async def is_leader(conn: Connection, role: str, epoch: int) -> bool:
    """Whether the term still runs. In a transaction, so that no other term begins before it ends.

    A transaction of a leader that falls silent ends after PAUSE_SEC, because it keeps the next leader waiting.
    """
    running = await fetch_value(
        conn,
        "SELECT epoch, set_config('idle_in_transaction_session_timeout', %s, true) FROM leaders"
        " WHERE role = %s FOR SHARE",
        [f"{PAUSE_SEC}s", role],
    )
    return running is not None and running == epoch
