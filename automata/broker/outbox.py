"""Notifications that wait for their connection: merged by topic, bounded, and dropped rather than waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from automata.broker.metrics import count
from automata.broker.notification import encode

MAX_IDS_WAITING = 10_000  # about 1 MB; a connection that is this far behind is as good as down
MAX_IDS_OF_TOPIC = 5_000  # a flood on one topic leaves room for the others
MAX_TOPICS = 1_000


class EncodedNotification(NamedTuple):
    """One message, ready to be sent."""

    topic: str
    body: bytes


class Outbox:
    """Filled by `put`, emptied through `taken`."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, None]] = {}
        self._ids = 0
        self._filled = asyncio.Event()
        self._sent = asyncio.Event()
        self._sent.set()

    def put(self, topic: str, ids: Sequence[str], *, with_ids: bool = True) -> None:
        """Never blocks. Ids beyond the limit are dropped and counted; with `with_ids=False` (no connection) all are.

        The topic itself stays: the first notification after a reconnect says "look", and for whom is in the database.
        """
        if topic not in self._topics and len(self._topics) >= MAX_TOPICS:
            count("dropped", topic, max(1, len(ids)))
            return
        waiting = self._topics.setdefault(topic, {})
        fresh = list(dict.fromkeys(name for name in ids if name not in waiting))
        room = min(MAX_IDS_OF_TOPIC - len(waiting), MAX_IDS_WAITING - self._ids) if with_ids else 0
        waiting.update(dict.fromkeys(fresh[:room]))
        self._ids += len(fresh[:room])
        if len(fresh) > room:
            count("dropped", topic, len(fresh) - room)
        self._filled.set()
        self._sent.clear()

    def forget_ids(self) -> None:
        """There is no connection: the ids that wait are old by the time it is back."""
        for topic, waiting in self._topics.items():
            if waiting:
                count("dropped", topic, len(waiting))
                waiting.clear()
        self._ids = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[list[EncodedNotification]]:
        """Wait for notifications and yield all of them; leaving the block without an exception means they are sent.

        An idle connection that was cut is noticed by the first use, so what failed waits for one more try.
        """
        await self._filled.wait()
        self._filled.clear()
        self._sent.clear()
        topics, self._topics, self._ids = self._topics, {}, 0
        try:
            yield [
                EncodedNotification(topic, body) for topic, ids in topics.items() for body in encode(topic, list(ids))
            ]
        except BaseException:
            for topic, ids in topics.items():
                self.put(topic, list(ids))
            raise
        if not self._topics:
            self._sent.set()

    async def drain(self, seconds: float) -> None:
        """Until all is sent, or for so long; the rest is dropped and counted."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._sent.wait(), seconds)
        self.forget_ids()
