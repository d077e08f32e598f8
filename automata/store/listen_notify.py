"""LISTEN and NOTIFY on a connection outside the pool: the wire of the broker between processes."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress

from automata.store.database import LIMITS, Connection, open_session
from automata.store.error_mapping import describe, mapped_errors

CHANNEL = "automata"
# A connection that the network swallowed looks like one on which nothing happens: so it is asked something.
QUIET_SEC = 10.0
ANSWER_SEC = 5.0


class NotifyConnection:
    """`open_notify_connection` makes one. An AutomataError or TimeoutError means that the connection is gone."""

    def __init__(self, conn: Connection, label: str) -> None:
        self._conn = conn
        self._label = label

    async def listen(self) -> None:
        """From here on `notifications` has what is sent."""
        with mapped_errors(self._label):
            await self._conn.execute(f"LISTEN {CHANNEL}")

    async def notify(self, payloads: Sequence[str]) -> None:
        """Each payload is shorter than 8000 bytes (PostgreSQL's limit)."""
        with mapped_errors(self._label), self._cut_after(ANSWER_SEC):
            await self._conn.execute(
                "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) payload", [CHANNEL, list(payloads)]
            )

    async def notifications(self) -> AsyncGenerator[str]:
        """Payloads as they come, without end. A dead connection is noticed within QUIET_SEC + ANSWER_SEC."""
        with mapped_errors(self._label):
            while True:
                async with aclosing(self._conn.notifies(timeout=QUIET_SEC)) as arriving:
                    async for notification in arriving:
                        yield notification.payload
                with self._cut_after(ANSWER_SEC):
                    await self._conn.execute("SELECT 1")

    @contextmanager
    def _cut_after(self, seconds: float) -> Iterator[None]:
        """What takes longer fails as on a broken connection. Cancelling it would ask the server to cancel, through
        the same dead network, and wait for that."""
        timer = asyncio.get_running_loop().call_later(seconds, self._cut)
        try:
            yield
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self._conn.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def open_notify_connection(url: str) -> AsyncIterator[NotifyConnection]:
    """Raises Unavailable, or TimeoutError, within CONNECT_SEC or so."""
    conn = await open_session(url, "automata bell", LIMITS)
    try:
        yield NotifyConnection(conn, describe(url))
    finally:
        await conn.close()
