"""The brokers as the conformance suite sees them: `process()` gives the broker of one more process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest

from automata.broker.contract import Broker
from automata.broker.local import LocalBroker
from automata.broker.postgres import PostgresBroker
from automata.broker.rabbitmq import RabbitBroker
from automata.store.listen_notify import open_notify_connection


@dataclass
class World:
    """`new` makes a broker as another process would have it; the local one has no other process."""

    kind: str
    new: Callable[[], Broker]
    _open: list[Broker] = field(default_factory=list)

    def process(self) -> Broker:
        if self.kind == "local" and self._open:
            return self._open[0]
        self._open.append(self.new())
        return self._open[-1]

    async def close(self) -> None:
        await asyncio.gather(*(broker.close() for broker in self._open))


async def connected(*brokers: Broker) -> None:
    async with asyncio.timeout(120):
        while not all(broker.state().connected for broker in brokers):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@pytest.fixture
def local() -> World:
    return World("local", LocalBroker)


@pytest.fixture
def postgres(database_url: str) -> World:
    return World("postgres", lambda: PostgresBroker(lambda: open_notify_connection(database_url)))


@pytest.fixture
def rabbitmq(amqp_url: str) -> World:
    return World("rabbitmq", lambda: RabbitBroker(amqp_url))


@pytest.fixture(params=["local", "postgres", "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> World:
    kind: World = request.getfixturevalue(request.param)
    return kind


@pytest.fixture
async def world(kind: World) -> AsyncIterator[World]:
    yield kind
    await kind.close()
