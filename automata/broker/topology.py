"""What is declared on a RabbitMQ server: three durable exchanges, a queue a topic, and one for dead letters.

automata.runs   topic   runs.pending -> queue runs.pending;  runs.finished -> one exclusive queue a listening process
automata.tasks  topic   tasks.ready[.LANE] -> queue of that name;  tasks.completed -> queue tasks.completed
automata.dlq    topic   # -> queue dlq.tasks
"""

from __future__ import annotations

import logging
import re
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelClosed

from automata.broker.contract import RUNS_PENDING, TASKS_COMPLETED, TASKS_READY

log = logging.getLogger(__name__)

RUNS, TASKS, DLQ = "automata.runs", "automata.tasks", "automata.dlq"
DEAD_LETTERS = "dlq.tasks"
DURABLE_TOPICS = (RUNS_PENDING, TASKS_READY, TASKS_COMPLETED)

DELIVERY_LIMIT = 5
# Bounded everywhere: what does not fit is refused to the publisher (work) or pushes out the oldest (the others).
MAX_QUEUED = 10_000
MAX_DEAD = 10_000
MAX_UNREAD = 1_000
LANE_EXPIRES_MS = 24 * 3600 * 1000  # a lane that no worker serves any more leaves no queue for ever

FIRST_WITH_QUORUM = (3, 8)


def exchange_of(topic: str) -> str:
    """The exchange to which a topic's notifications are published."""
    return RUNS if topic.startswith("runs.") else TASKS


def work_arguments(topic: str) -> dict[str, Any]:
    """The arguments of a queue whose messages each wake one process."""
    arguments: dict[str, Any] = {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DLQ,
        "x-max-length": MAX_QUEUED,
        "x-overflow": "reject-publish",
    }
    return arguments if topic in DURABLE_TOPICS else arguments | {"x-expires": LANE_EXPIRES_MS}


_DEAD_ARGUMENTS = {"x-queue-type": "quorum", "x-max-length": MAX_DEAD}
_QUORUM_ONLY = frozenset({"x-queue-type", "x-delivery-limit"})


class Topology:
    """Declares what is missing. Needs a connection; each queue is tried on a channel of its own, since a refusal
    closes the channel."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._quorum = has_quorum_queues(_server(connection))

    async def declare(self) -> None:
        """Declare all that every process needs."""
        async with self._connection.channel() as channel:
            for name in (RUNS, TASKS, DLQ):
                await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
        await self._queue(DEAD_LETTERS, DLQ, "#", _DEAD_ARGUMENTS)
        for topic in DURABLE_TOPICS:
            await self.declare_work(topic)

    async def declare_work(self, topic: str) -> None:
        """Declare the queue of a topic of which each message wakes one process."""
        await self._queue(topic, exchange_of(topic), topic, work_arguments(topic))

    async def declare_own(self, channel: AbstractChannel, topic: str) -> AbstractQueue:
        """This connection's own queue for what reaches every process; it goes with the connection."""
        queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments={"x-max-length": MAX_UNREAD})
        await queue.bind(exchange_of(topic), topic)
        return queue

    async def count_dead(self) -> int:
        """Messages in the queue of dead letters."""
        async with self._connection.channel() as channel:
            queue = await channel.declare_queue(DEAD_LETTERS, passive=True)
            return queue.declaration_result.message_count or 0

    async def _queue(self, name: str, exchange: str, key: str, arguments: dict[str, Any]) -> None:
        if not self._quorum or not await self._declared(name, arguments):
            if self._quorum:
                log.warning(
                    "broker: the server refused %s as a quorum queue with our limits; it is used as it is", name
                )
            else:
                log.warning("broker: the server has no quorum queues: %s is classic, without a delivery limit", name)
            if not await self._declared(name, None):
                await self._declared(name, {key: value for key, value in arguments.items() if key not in _QUORUM_ONLY})
        async with self._connection.channel() as channel:
            queue = await channel.get_queue(name)
            await queue.bind(exchange, key)

    async def _declared(self, name: str, arguments: dict[str, Any] | None) -> bool:
        """None for the arguments asks only whether there is such a queue."""
        channel = self._connection.channel()
        await channel.initialize()
        try:
            await channel.declare_queue(name, durable=True, passive=arguments is None, arguments=arguments)
        except ChannelClosed as error:
            log.debug("broker: queue %s refused: %s", name, error)
            return False
        await channel.close()
        return True


def has_quorum_queues(properties: dict[str, Any]) -> bool:
    """Judged by what the server says of itself; another product that speaks AMQP 0-9-1 is not assumed to have them."""
    if _text(properties.get("product")) != "RabbitMQ":
        return False
    match = re.match(r"(\d+)\.(\d+)", _text(properties.get("version")))
    return match is not None and (int(match[1]), int(match[2])) >= FIRST_WITH_QUORUM


def _server(connection: AbstractConnection) -> dict[str, Any]:
    assert connection.transport
    return dict(connection.transport.connection.server_properties)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
