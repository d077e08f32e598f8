"""Writes that this process is up, so that workers can be counted and clocks compared.

Only people depend on it: work is shared out by leases, never by presence.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Collection
from contextlib import suppress

from automata import __version__
from automata.errors import AutomataError
from automata.pausing import pause
from automata.settings import Settings
from automata.store import processes
from automata.store.database import Database
from automata.store.ids import new_id

log = logging.getLogger(__name__)

BEAT_SEC = 10.0


class Presence:
    """One row of this process, renewed every BEAT_SEC, removed at the end."""

    def __init__(self, db: Database, parts: Collection[str], settings: Settings) -> None:
        self.id = new_id()
        self._db = db
        self._parts = sorted(parts)
        self._settings = settings
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    async def run(self, stop: asyncio.Event) -> None:
        """Renew the row until `stop`, then remove it."""
        while not stop.is_set():
            try:
                await self.beat()
            except AutomataError as error:
                log.info("presence: %s", error)
            await pause(BEAT_SEC, stop)
        with suppress(AutomataError):
            async with self._db.connection() as conn:
                await processes.remove_process(conn, self.id)

    async def beat(self) -> None:
        """Raises Unavailable."""
        queues = self._settings.queues if "worker" in self._parts else ()
        async with self._db.connection() as conn:
            await processes.record_heartbeat(
                conn, self.id, self._name, self._parts, queues, self._settings.concurrency, __version__
            )
