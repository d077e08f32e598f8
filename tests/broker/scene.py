"""What the RabbitMQ tests share: a scene with brokers, their metrics, and a look at the server behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel

from automata import telemetry
from automata.broker.contract import TASKS_READY, Listener
from automata.broker.rabbitmq import RabbitBroker

LONG = 120.0
SHORT = 0.3


def metric(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(name, labels) or 0.0


def notifications(result: str, topic: str = TASKS_READY) -> float:
    return metric("automata_broker_rings_total", topic=topic, result=result)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def heard(listener: Listener, name: str) -> None:
    async with asyncio.timeout(LONG):
        while name not in listener.ids:
            await listener.wait(1)


@asynccontextmanager
async def brokers(*urls: str) -> AsyncIterator[list[RabbitBroker]]:
    made = [RabbitBroker(url) for url in urls]
    try:
        yield made
    finally:
        await asyncio.gather(*(broker.close() for broker in made))


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(url, timeout=10) as connection, connection.channel() as channel:
        yield channel


async def waiting(url: str, queue: str) -> int:
    async with raw(url) as channel:
        return (await channel.declare_queue(queue, passive=True)).declaration_result.message_count or 0
