"""One connection's ear on RabbitMQ: a consumer for each topic that somebody here listens to, and the answers to it.

Failure argument. An answer is tied to the delivery of its connection, so the ear, its channel and its list of answers
live and die together; nothing of it is carried over. One loop changes consumers and sends answers, in that order: a
message is only given back when the consumer that would get it again is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from automata.broker.contract import FANOUT, TASKS_READY
from automata.broker.local import LocalBroker
from automata.broker.metrics import count_heard, count_malformed
from automata.broker.notification import MalformedNotification, Notification, decode
from automata.broker.topology import Topology

PREFETCH = 32  # messages of a topic that one process holds without having answered
# A worker whose slots are all taken does not look, and must not sit on rings that an idle one would follow.
PREFETCH_TASKS = 1
STEP_SEC = 5.0


class _Ack(Enum):
    COMMITTED = 1
    GIVEN_BACK = 2
    POISON = 3


class RabbitConsumer:
    def __init__(
        self,
        hub: LocalBroker,
        topology: Topology,
        channel: AbstractChannel,
        wanted: Callable[[], set[str]],
        on_ring: Callable[[str], None],
    ) -> None:
        """`wanted` says which topics to hear now; call `stir` when that may have changed."""
        self._hub = hub
        self._topology = topology
        self._channel = channel
        self._wanted = wanted
        self._on_ring = on_ring
        self._consumers: dict[str, tuple[AbstractQueue, str]] = {}
        self._answers: list[tuple[AbstractIncomingMessage, _Ack]] = []
        self._stirred = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._cancelled = False

    def wake(self) -> None:
        self._stirred.set()

    def hears_all(self) -> bool:
        return self._consumers.keys() == self._wanted()

    async def all_sent(self) -> None:
        """Returns when every answer is on its way."""
        await self._all_sent.wait()

    async def run(self, up: Callable[[], None]) -> None:
        """`up` is called when all topics are heard for the first time. Ends by raising."""
        async with asyncio.timeout(STEP_SEC):
            underlay = await self._channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
            await self._follow()
        up()
        while True:
            await self._stirred.wait()
            self._stirred.clear()
            if self._cancelled:
                raise ConnectionError("the server cancelled a consumer")
            async with asyncio.timeout(STEP_SEC):
                await self._follow()
                await self._answer()

    def _on_cancel(self, frame: Any) -> None:
        """The queue was deleted, or its last replica is gone."""
        self._cancelled = True
        self._stirred.set()

    # -- hearing -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        wanted = self._wanted()
        for topic in [topic for topic in self._consumers if topic not in wanted]:
            queue, tag = self._consumers.pop(topic)
            await queue.cancel(tag)
        for topic in wanted - self._consumers.keys():
            self._consumers[topic] = await self._consume(topic)

    async def _consume(self, topic: str) -> tuple[AbstractQueue, str]:
        if topic in FANOUT:
            queue = await self._topology.declare_own(self._channel, topic)
            return queue, await queue.consume(partial(self._on_fanout, topic), no_ack=True, exclusive=True)
        await self._topology.declare_work(topic)
        queue = await self._channel.get_queue(topic, ensure=False)
        prefetch = PREFETCH_TASKS if topic.startswith(TASKS_READY) else PREFETCH
        await self._channel.set_qos(prefetch_count=prefetch)  # holds for consumers that begin after it
        return queue, await queue.consume(partial(self._on_work, topic))

    async def _on_fanout(self, topic: str, message: AbstractIncomingMessage) -> None:
        if ring := self._read(topic, message):
            self._hub.notify(topic, ring.ids)

    async def _on_work(self, topic: str, message: AbstractIncomingMessage) -> None:
        if ring := self._read(topic, message):
            self._hub.deliver(topic, ring.ids, partial(self._answered, message))
        else:
            self._settle(message, _Ack.POISON)

    def _read(self, topic: str, message: AbstractIncomingMessage) -> Notification | None:
        try:
            ring = decode(message.body)
            if ring.topic != topic:
                raise MalformedNotification("a ring for another topic")
        except MalformedNotification as error:
            count_malformed("rabbitmq", error)
            return None
        count_heard(topic)
        self._on_ring(topic)
        return ring

    # -- answering -----------------------------------------------------------------------------------------------

    def _answered(self, message: AbstractIncomingMessage, committed: bool) -> None:
        self._settle(message, _Ack.COMMITTED if committed else _Ack.GIVEN_BACK)

    def _settle(self, message: AbstractIncomingMessage, answer: _Ack) -> None:
        self._answers.append((message, answer))
        self._all_sent.clear()
        self._stirred.set()

    async def _answer(self) -> None:
        answers, self._answers = self._answers, []
        for message, answer in answers:
            match answer:
                case _Ack.COMMITTED:
                    await message.ack()
                case _Ack.GIVEN_BACK:
                    await message.nack(requeue=True)
                case _Ack.POISON:
                    await message.reject(requeue=False)  # the queue's dead-letter exchange takes it
        if not self._answers:
            self._all_sent.set()
