"""What one connection consumes from RabbitMQ: each topic that somebody here listens to, and its acknowledgements.

Failure argument. An acknowledgement belongs to a delivery of its connection, so the consumer, its channel and its list
of acknowledgements live and die together; nothing is carried over. One loop changes consumers and sends
acknowledgements, in that order: a message is only given back when the consumer that would get it again is gone.
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

PREFETCH = 32  # messages of a topic that one process holds without having acknowledged them
# A worker whose slots are all taken does not look, and must not keep notifications that an idle one would follow.
PREFETCH_TASKS = 1
STEP_SEC = 5.0


class _Ack(Enum):
    COMMITTED = 1
    GIVEN_BACK = 2
    POISON = 3


class RabbitConsumer:
    """`hub` gets what is consumed, for the listeners of this process."""

    def __init__(
        self,
        hub: LocalBroker,
        topology: Topology,
        channel: AbstractChannel,
        topics: Callable[[], set[str]],
        on_notification: Callable[[str], None],
    ) -> None:
        """`topics` are those to consume now; call `wake` when they may have changed."""
        self._hub = hub
        self._topology = topology
        self._channel = channel
        self._topics = topics
        self._on_notification = on_notification
        self._consumers: dict[str, tuple[AbstractQueue, str]] = {}
        self._acks: list[tuple[AbstractIncomingMessage, _Ack]] = []
        self._woken = asyncio.Event()
        self._all_sent = asyncio.Event()
        self._all_sent.set()
        self._cancelled = False

    def wake(self) -> None:
        """Look which topics to consume, and send what is acknowledged."""
        self._woken.set()

    def consumes_all(self) -> bool:
        """Whether every topic has its consumer."""
        return self._consumers.keys() == self._topics()

    async def all_sent(self) -> None:
        """Return when every acknowledgement is on its way."""
        await self._all_sent.wait()

    async def run(self, up: Callable[[], None]) -> None:
        """`up` is called when all topics are consumed for the first time. Ends by raising."""
        async with asyncio.timeout(STEP_SEC):
            underlay = await self._channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(self._on_cancel)
            await self._follow()
        up()
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._cancelled:
                raise ConnectionError("the server cancelled a consumer")
            async with asyncio.timeout(STEP_SEC):
                await self._follow()
                await self._send_acks()

    def _on_cancel(self, frame: Any) -> None:
        """The queue was deleted, or its last replica is gone."""
        self._cancelled = True
        self._woken.set()

    # -- consuming -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        topics = self._topics()
        for topic in [topic for topic in self._consumers if topic not in topics]:
            queue, tag = self._consumers.pop(topic)
            await queue.cancel(tag)
        for topic in topics - self._consumers.keys():
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
        if notification := self._read(topic, message):
            self._hub.notify(topic, notification.ids)

    async def _on_work(self, topic: str, message: AbstractIncomingMessage) -> None:
        if notification := self._read(topic, message):
            self._hub.deliver(topic, notification.ids, partial(self._acknowledge, message))
        else:
            self._settle(message, _Ack.POISON)

    def _read(self, topic: str, message: AbstractIncomingMessage) -> Notification | None:
        try:
            notification = decode(message.body)
            if notification.topic != topic:
                raise MalformedNotification("a notification for another topic")
        except MalformedNotification as error:
            count_malformed("rabbitmq", error)
            return None
        count_heard(topic)
        self._on_notification(topic)
        return notification

    # -- acknowledging -----------------------------------------------------------------------------------------------

    def _acknowledge(self, message: AbstractIncomingMessage, committed: bool) -> None:
        self._settle(message, _Ack.COMMITTED if committed else _Ack.GIVEN_BACK)

    def _settle(self, message: AbstractIncomingMessage, ack: _Ack) -> None:
        self._acks.append((message, ack))
        self._all_sent.clear()
        self._woken.set()

    async def _send_acks(self) -> None:
        acks, self._acks = self._acks, []
        for message, ack in acks:
            match ack:
                case _Ack.COMMITTED:
                    await message.ack()
                case _Ack.GIVEN_BACK:
                    await message.nack(requeue=True)
                case _Ack.POISON:
                    await message.reject(requeue=False)  # the queue's dead-letter exchange takes it
        if not self._acks:
            self._all_sent.set()
