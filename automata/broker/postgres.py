"""Notifications between processes that have PostgreSQL and no RabbitMQ: NOTIFY sends, LISTEN receives.

Failure argument. A notification is sent on a connection of its own, after the transaction that it tells of, so neither
can fail the other. PostgreSQL forgets notifications of sessions that are away, and its queue can fill up; both lose
some, and polls find the work. Every process receives every notification, so there is nothing to give back: `done` only
feeds the watchdog. A consumer that reconnects wakes every listener, since it cannot know what it missed.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Protocol

from automata.broker.backoff import Watchdog
from automata.broker.contract import BrokerState
from automata.broker.local import LocalBroker, LocalListener
from automata.broker.metrics import count, count_heard, count_malformed
from automata.broker.notification import MalformedNotification, decode
from automata.broker.outbox import Outbox
from automata.broker.persistent_connection import PersistentConnection

CLOSE_SEC = 1.0


class Wire(Protocol):
    """One connection to PostgreSQL. The store, where SQL and psycopg live, makes it; whoever composes hands it in."""

    async def listen(self) -> None: ...

    async def notify(self, payloads: Sequence[str]) -> None:
        """Each payload is shorter than 8000 bytes. Raises within seconds when there is no answer."""
        ...

    def notifications(self) -> AsyncGenerator[str]:
        """Payloads as they come; raises when the connection is dead, at the latest after some 15 s."""
        ...


Connect = Callable[[], AbstractAsyncContextManager[Wire]]


class PostgresBroker:
    """LISTEN and NOTIFY, each on a connection of its own."""

    def __init__(self, connect: Connect) -> None:
        """Connects in the background; needs a running loop."""
        self._connect = connect
        self._hub = LocalBroker(self._on_unannounced)
        self._outbox = Outbox()
        self._watchdogs: defaultdict[tuple[str, ...], Watchdog] = defaultdict(Watchdog)
        self._publisher = PersistentConnection("postgres", "mouth", self._publish)
        self._consumer: PersistentConnection | None = None  # a process that only notifies needs none

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        """See Broker.notify."""
        if not (self._publisher.connected and self._consumer and self._consumer.connected):
            self._hub.notify(topic, ids)  # what cannot come back over PostgreSQL reaches at least this process
        self._outbox.put(topic, ids, with_ids=self._publisher.connected)

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        """See Broker.listen."""
        if self._consumer is None:
            self._consumer = PersistentConnection("postgres", "ear", self._consume)
        return self._hub.listen(*topics, id=id)

    def _connections(self) -> list[PersistentConnection]:
        return [each for each in (self._publisher, self._consumer) if each]

    def state(self) -> BrokerState:
        """See Broker.state."""
        broken = [each for each in self._connections() if not each.connected]
        return BrokerState("postgres", not broken, broken[0].detail if broken else "")

    async def close(self) -> None:
        """See Broker.close."""
        await self._outbox.drain(CLOSE_SEC if self._publisher.connected else 0)
        await asyncio.gather(*(each.close() for each in self._connections()))
        await self._hub.close()

    async def _publish(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                wire = await stack.enter_async_context(self._connect())
            except BaseException:
                self._outbox.forget_ids()
                raise
            self._publisher.up()
            while True:
                async with self._outbox.taken() as notifications:
                    await wire.notify([item.body.decode() for item in notifications])
                    for item in notifications:
                        count("sent", item.topic)

    async def _consume(self) -> None:
        async with self._connect() as wire:
            await wire.listen()
            assert self._consumer
            self._consumer.up()
            self._hub.notify_all_topics()
            async with aclosing(wire.notifications()) as payloads:
                async for payload in payloads:
                    self._take(payload)

    def _take(self, payload: str) -> None:
        try:
            notification = decode(payload.encode())
        except MalformedNotification as error:
            count_malformed("postgres", error)
            return
        count_heard(notification.topic)
        for topics, watchdog in self._watchdogs.items():
            if notification.topic in topics:
                watchdog.notified()
        self._hub.notify(notification.topic, notification.ids)

    def _on_unannounced(self, topics: Sequence[str]) -> None:
        if self._consumer and self._watchdogs[tuple(topics)].unannounced():
            self._consumer.rebuild(f"work for {', '.join(topics)} was found and no notification came")
