"""The bell between processes that have PostgreSQL and no RabbitMQ: NOTIFY rings, LISTEN hears.

Failure argument. A notification is sent on a connection of its own, after the transaction that it tells of, so neither
can fail the other. PostgreSQL forgets notifications of sessions that are away, and its queue can fill up; both lose
rings, and polls find the work. Every process hears every ring, so there is nothing to hand back: `done` only feeds the
watchdog. An ear that came back wakes every listener, since it cannot know what it missed.
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
    def __init__(self, connect: Connect) -> None:
        """Connects in the background; needs a running loop."""
        self._connect = connect
        self._hub = LocalBroker(self._on_unannounced)
        self._outbox = Outbox()
        self._watchdogs: defaultdict[tuple[str, ...], Watchdog] = defaultdict(Watchdog)
        self._mouth = PersistentConnection("postgres", "mouth", self._speak)
        self._ear: PersistentConnection | None = None  # a process that only rings needs none

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        if not (self._mouth.connected and self._ear and self._ear.connected):
            self._hub.notify(topic, ids)  # what cannot come back over the wire is at least heard here
        self._outbox.put(topic, ids, names=self._mouth.connected)

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        if self._ear is None:
            self._ear = PersistentConnection("postgres", "ear", self._hear)
        return self._hub.listen(*topics, id=id)

    def state(self) -> BrokerState:
        broken = [link for link in (self._mouth, self._ear) if link and not link.connected]
        return BrokerState("postgres", not broken, broken[0].detail if broken else "")

    async def close(self) -> None:
        await self._outbox.drain(CLOSE_SEC if self._mouth.connected else 0)
        await asyncio.gather(*(link.close() for link in (self._mouth, self._ear) if link))
        await self._hub.close()

    async def _speak(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                wire = await stack.enter_async_context(self._connect())
            except BaseException:
                self._outbox.forget_names()
                raise
            self._mouth.up()
            while True:
                async with self._outbox.taken() as rings:
                    await wire.notify([ring.body.decode() for ring in rings])
                    for ring in rings:
                        count("sent", ring.topic)

    async def _hear(self) -> None:
        async with self._connect() as wire:
            await wire.listen()
            assert self._ear
            self._ear.up()
            self._hub.notify_all_topics()
            async with aclosing(wire.notifications()) as payloads:
                async for payload in payloads:
                    self._take(payload)

    def _take(self, payload: str) -> None:
        try:
            ring = decode(payload.encode())
        except MalformedNotification as error:
            count_malformed("postgres", error)
            return
        count_heard(ring.topic)
        for topics, watchdog in self._watchdogs.items():
            if ring.topic in topics:
                watchdog.heard()
        self._hub.notify(ring.topic, ring.ids)

    def _on_unannounced(self, topics: Sequence[str]) -> None:
        if self._ear and self._watchdogs[tuple(topics)].unannounced():
            self._ear.rebuild(f"work for {', '.join(topics)} was found and no ring was heard")
