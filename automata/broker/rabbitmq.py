"""Notifications of a fleet: RabbitMQ carries each to one process that serves the topic.

Failure argument. PostgreSQL knows all that a notification could say, so whatever happens here costs at most a poll:
- The server is away, slow or full: notifications are dropped, never waited for; both connections are made again with
  back-off.
- A notification is lost between publishing and confirm: it is published again; twice is harmless, a look that finds
  nothing.
- A process dies between receiving and committing: the unacknowledged message goes to another one, or comes back to it.
  What takes down its process more than five times goes to dlq.tasks.
- The consumer looks alive and receives nothing (a dead route, a consumer that the server forgot): polls find work that
  nothing announced, the services say so, and the watchdog throws the connection away.
Two connections, because a server that is short of memory stops reading from those that publish, and acknowledgements
must still get through.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, DeliveryError

from automata import telemetry
from automata.broker.backoff import Watchdog
from automata.broker.contract import FANOUT, BrokerState
from automata.broker.local import LocalBroker, LocalListener
from automata.broker.metrics import count
from automata.broker.outbox import EncodedNotification, Outbox
from automata.broker.persistent_connection import PersistentConnection
from automata.broker.rabbitmq_consumer import RabbitConsumer
from automata.broker.topology import Topology, exchange_of
from automata.errors import Usage

CONNECT_SEC = 5.0
SEND_SEC = 5.0
CLOSE_SEC = 1.0
HEARTBEAT_SEC = 10  # the library calls a connection dead after three
MAX_NODES = 16
IN_FLIGHT = 64  # messages that wait for their confirm
COUNT_DEAD_SEC = 30.0

# They log each failed try as an error with its trace; the links say the same in two lines an outage.
for _name in ("aiormq", "aio_pika"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class RabbitBroker:
    """One connection publishes, another consumes."""

    def __init__(self, url: str) -> None:
        """Connects in the background; needs a running loop. Raises Usage for what is no address.

        `url` may name several nodes of a cluster, with commas between them.
        """
        self._urls = addresses(url)
        self._hub = LocalBroker(self._on_unannounced, self._on_change)
        self._outbox = Outbox()
        self._watchdogs: defaultdict[tuple[str, ...], Watchdog] = defaultdict(Watchdog)
        self._publisher = PersistentConnection("rabbitmq", "mouth", self._run_publisher)
        self._consumer_connection: PersistentConnection | None = None  # a process that only notifies needs none
        self._consumer: RabbitConsumer | None = None
        self._fanout: set[str] = set()  # consumed for good once somebody listened: watchers come and go by the second

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        """See Broker.notify."""
        if not (self._publisher.connected and self._consumer_connection and self._consumer_connection.connected):
            self._hub.notify(topic, ids)  # what may not come back over RabbitMQ reaches at least this process
        self._outbox.put(topic, ids, with_ids=self._publisher.connected)

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        """See Broker.listen."""
        listener = self._hub.listen(*topics, id=id)
        if not self._fanout.issuperset(fanout := FANOUT.intersection(topics)):
            self._fanout |= fanout
            self._on_change()
        if self._consumer_connection is None:
            self._consumer_connection = PersistentConnection("rabbitmq", "ear", self._run_consumer)
        return listener

    def _connections(self) -> list[PersistentConnection]:
        return [each for each in (self._publisher, self._consumer_connection) if each]

    def state(self) -> BrokerState:
        """See Broker.state."""
        if broken := [each for each in self._connections() if not each.connected]:
            return BrokerState("rabbitmq", False, broken[0].detail)
        if self._consumer and not self._consumer.consumes_all():
            return BrokerState("rabbitmq", False, "subscribing")
        return BrokerState("rabbitmq", True)

    async def close(self) -> None:
        """See Broker.close."""
        await self._outbox.drain(CLOSE_SEC if self._publisher.connected else 0)
        if self._consumer:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._consumer.all_sent(), CLOSE_SEC)
        await asyncio.gather(*(each.close() for each in self._connections()))
        await self._hub.close()

    # -- publishing -------------------------------------------------------------------------------------------------

    async def _run_publisher(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                connection, broken = await stack.enter_async_context(_connection(self._urls, "mouth"))
            except BaseException:
                self._outbox.forget_ids()
                raise
            async with asyncio.timeout(CONNECT_SEC):
                await Topology(connection).declare()
                channel = await connection.channel(publisher_confirms=True)
            channel.close_callbacks.add(_breaker(broken))
            self._publisher.up()
            await _until_broken(broken, self._send_all(channel))

    async def _send_all(self, channel: AbstractChannel) -> None:
        while True:
            async with self._outbox.taken() as messages:
                for start in range(0, len(messages), IN_FLIGHT):
                    async with asyncio.timeout(SEND_SEC):
                        await asyncio.gather(
                            *(_publish(channel, message) for message in messages[start : start + IN_FLIGHT])
                        )

    # -- consuming -------------------------------------------------------------------------------------------------

    async def _run_consumer(self) -> None:
        async with _connection(self._urls, "ear") as (connection, broken):
            async with asyncio.timeout(CONNECT_SEC):
                topology = Topology(connection)
                await topology.declare()
                channel = await connection.channel(publisher_confirms=False)
            channel.close_callbacks.add(_breaker(broken))
            self._consumer = RabbitConsumer(self._hub, topology, channel, self._topics, self._on_notification)
            try:
                await _until_broken(broken, self._consumer.run(self._on_consuming_all), _count_dead(topology))
            finally:
                self._consumer = None

    def _topics(self) -> set[str]:
        return (self._hub.topics() - FANOUT) | self._fanout

    def _on_consuming_all(self) -> None:
        assert self._consumer_connection
        self._consumer_connection.up()
        self._hub.notify_all_topics()  # nobody knows what was missed meanwhile

    def _on_change(self) -> None:
        if self._consumer:
            self._consumer.wake()

    def _on_notification(self, topic: str) -> None:
        for topics, watchdog in self._watchdogs.items():
            if topic in topics:
                watchdog.notified()

    def _on_unannounced(self, topics: Sequence[str]) -> None:
        if self._consumer_connection and self._watchdogs[tuple(topics)].unannounced():
            self._consumer_connection.rebuild(f"work for {', '.join(topics)} was found and no notification came")


def addresses(urls: str) -> list[str]:
    """One for each node. Raises Usage for what is no AMQP address; the message shows neither user nor password."""
    addresses = [url.strip() for url in urls.split(",")]
    if not all(_is_address(url) for url in addresses) or len(addresses) > MAX_NODES:
        raise Usage(
            "AUTOMATA_AMQP_URL is no address of a RabbitMQ server.",
            code="bad_address",
            hint="It is written amqp://user:password@host:5672/vhost, or amqps:// for TLS; a cluster's with commas.",
        )
    return addresses


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def _publish(channel: AbstractChannel, notification: EncodedNotification) -> None:
    exchange = await channel.get_exchange(exchange_of(notification.topic), ensure=False)
    message = aio_pika.Message(
        notification.body, content_type="application/json", delivery_mode=aio_pika.DeliveryMode.PERSISTENT
    )
    try:
        # Not mandatory: a lane that no worker ever served has no queue, and nobody to wake.
        await exchange.publish(message, notification.topic, mandatory=False)
    except DeliveryError:  # the queue is full: what wakes its readers is there already
        count("dropped", notification.topic)
    else:
        count("sent", notification.topic)


async def _count_dead(topology: Topology) -> None:
    while True:
        async with asyncio.timeout(CONNECT_SEC):
            telemetry.BROKER_DEAD_LETTERS.set(await topology.count_dead())
        await asyncio.sleep(COUNT_DEAD_SEC)


# -- one connection ----------------------------------------------------------------------------------------------

Broken = asyncio.Future[None]


@asynccontextmanager
async def _connection(urls: Sequence[str], role: str) -> AsyncIterator[tuple[AbstractConnection, Broken]]:
    """A connection to a node that answers, and a future that fails when it breaks."""
    connection = await _connected(urls, f"automata {role} {socket.gethostname()}:{os.getpid()}")
    broken: Broken = asyncio.get_running_loop().create_future()
    connection.close_callbacks.add(_breaker(broken))
    try:
        yield connection, broken
    finally:
        broken.cancel()
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_SEC):
                await connection.close()


async def _connected(urls: Sequence[str], name: str) -> AbstractConnection:
    """In an order of chance, so that a fleet spreads over the nodes; raises what the last one said."""
    for left, url in enumerate(random.sample(urls, len(urls)), 1 - len(urls)):
        if "heartbeat=" not in urlsplit(url).query:
            url += f"{'&' if '?' in url else '?'}heartbeat={HEARTBEAT_SEC}"
        try:
            return await aio_pika.connect(url, timeout=CONNECT_SEC, client_properties={"connection_name": name})
        except (OSError, TimeoutError, AMQPError):
            if left == 0:
                raise
    raise AssertionError("there is at least one address")


def _breaker(broken: Broken) -> Callable[..., None]:
    def on_close(sender: object, error: BaseException | None, *rest: Any) -> None:
        if not broken.done():
            broken.set_exception(error if isinstance(error, Exception) else ConnectionError("closed by the server"))

    return on_close


async def _until_broken(broken: Broken, *loops: Coroutine[Any, Any, None]) -> None:
    """Run until the connection breaks or one of the endless loops ends; raises what was the reason."""
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        done, _ = await asyncio.wait([broken, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for ended in done:
            ended.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
