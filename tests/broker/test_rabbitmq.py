"""What stands on a RabbitMQ server, old or new, and what strangers put there: a real server."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.exceptions import ChannelPreconditionFailed

from automata.broker import topology
from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, TASKS_READY, tasks_ready
from automata.broker.notification import MAX_IDS, encode
from automata.broker.rabbitmq import addresses
from automata.broker.topology import DEAD_LETTERS, RUNS, has_quorum_queues, work_arguments
from automata.errors import Usage
from tests.broker.conftest import connected
from tests.broker.scene import LONG, brokers, heard, metric, notifications, raw, until, waiting
from tests.broker.test_notification import HOSTILE

# -- the topology ----------------------------------------------------------------------------------------------------


async def test_work_queues_are_durable_quorum_queues_with_a_delivery_limit_and_a_dead_letter_exchange(
    amqp_url: str,
) -> None:
    async with brokers(amqp_url) as [broker]:
        await connected(broker)
    for topic in (RUNS_PENDING, TASKS_READY, TASKS_COMPLETED):
        expected = work_arguments(topic)
        assert expected["x-queue-type"] == "quorum"
        assert expected["x-delivery-limit"] == 5
        assert expected["x-dead-letter-exchange"] == "automata.dlq"
        async with raw(amqp_url) as channel:  # the server compares: the same is accepted, another value is not
            await channel.declare_queue(topic, durable=True, arguments=expected)
        with pytest.raises(ChannelPreconditionFailed):
            async with raw(amqp_url) as channel:
                await channel.declare_queue(topic, durable=True, arguments=expected | {"x-delivery-limit": 6})


async def test_a_ring_while_nobody_listens_waits_in_its_queue(amqp_url: str) -> None:
    async with brokers(amqp_url, amqp_url) as [here, late]:
        with here.listen(TASKS_READY):
            await connected(here)
        await connected(here)  # its consumer is gone again
        here.notify(TASKS_READY, ["early"])
        await until(lambda: notifications("sent") > 0)
        with late.listen(TASKS_READY) as listener:
            await heard(listener, "early")
            listener.done()


async def test_a_large_batch_becomes_messages_of_a_bounded_number_of_ids_each_for_one_process(amqp_url: str) -> None:
    async with brokers(amqp_url) as [broker]:
        await connected(broker)
        before = notifications("sent", RUNS_PENDING)
        broker.notify(RUNS_PENDING, [str(uuid4()) for _ in range(10 * MAX_IDS)])
        await until(lambda: notifications("sent", RUNS_PENDING) >= before + 10)
        assert await waiting(amqp_url, RUNS_PENDING) == 10


async def test_a_lane_gets_its_queue_when_a_worker_listens_and_rings_before_that_are_lost(amqp_url: str) -> None:
    async with brokers(amqp_url, amqp_url) as [here, worker]:
        await connected(here)
        here.notify(tasks_ready("gpu"), ["lost"])
        await asyncio.wait_for(here._outbox._sent.wait(), LONG)
        with worker.listen(tasks_ready("gpu")) as listener:
            await connected(worker)
            here.notify(tasks_ready("gpu"), ["found"])
            await heard(listener, "found")
            assert "lost" not in listener.ids


async def test_a_server_without_quorum_queues_gets_classic_ones_and_a_clear_word(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topology, "_server", lambda connection: {"product": "RabbitMQ", "version": "3.7.28"})
    caplog.set_level(logging.WARNING)
    async with brokers(amqp_url, amqp_url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener:
            await connected(here, there)
            here.notify(RUNS_PENDING, ["a"])
            await heard(listener, "a")
            listener.done()
    with pytest.raises(ChannelPreconditionFailed, match="x-queue-type"):
        async with raw(amqp_url) as channel:
            await channel.declare_queue(RUNS_PENDING, durable=True, arguments=work_arguments(RUNS_PENDING))
    assert f"no quorum queues: {RUNS_PENDING} is classic, without a delivery limit" in caplog.text


@pytest.mark.parametrize(
    ("product", "version", "has"),
    [
        ("RabbitMQ", "3.7.28", False),
        ("RabbitMQ", "3.8.0", True),
        ("RabbitMQ", b"3.13.7", True),
        ("RabbitMQ", "4.2.1", True),
        ("RabbitMQ", "unknown", False),
        ("LavinMQ", "4.0.0", False),
        (None, None, False),
    ],
)
def test_quorum_queues_are_expected_of_rabbitmq_from_3_8_on(product: Any, version: Any, has: bool) -> None:
    assert has_quorum_queues({"product": product, "version": version}) is has


async def test_a_queue_that_exists_with_other_limits_is_used_and_full_it_refuses_rings_that_are_then_counted(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    small = work_arguments(TASKS_READY) | {"x-max-length": 1}
    async with raw(amqp_url) as channel:
        await channel.declare_queue(TASKS_READY, durable=True, arguments=small)
    async with brokers(amqp_url) as [broker]:
        await connected(broker)
        sent, dropped = notifications("sent"), notifications("dropped")
        for _ in range(200):
            broker.notify(TASKS_READY)
            await asyncio.wait_for(broker._outbox._sent.wait(), LONG)
            if notifications("dropped") > dropped:
                break
        assert notifications("dropped") > dropped, "what the server does not confirm must not count as sent"
        assert notifications("sent") > sent
        assert broker.state().connected, "a full queue is no reason to reconnect"
    assert f"refused {TASKS_READY} as a quorum queue with our limits" in caplog.text


# -- strangers -------------------------------------------------------------------------------------------------------


async def test_every_hostile_payload_ends_in_the_dead_letter_queue_is_counted_and_stops_nobody(amqp_url: str) -> None:
    wrong_topic = next(encode(TASKS_READY, ["a"]))
    bodies = [*HOSTILE.values(), wrong_topic, b"x" * 1_000_000]

    before = metric("automata_broker_poison_total", broker="rabbitmq")
    async with brokers(amqp_url) as [broker]:
        with broker.listen(RUNS_PENDING) as listener:
            await connected(broker)
            await listener.wait(0)
            async with raw(amqp_url) as channel:
                exchange = await channel.get_exchange(RUNS)
                for body in bodies:
                    await exchange.publish(aio_pika.Message(body), RUNS_PENDING)
            await until(lambda: metric("automata_broker_poison_total", broker="rabbitmq") == before + len(bodies))
            assert not await listener.wait(0)
            broker.notify(RUNS_PENDING, ["good"])
            await heard(listener, "good")
            listener.done()
    async with asyncio.timeout(LONG):
        while await waiting(amqp_url, DEAD_LETTERS) < len(bodies):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    async with brokers(amqp_url) as [broker]:
        broker.listen(RUNS_PENDING)
        await until(lambda: metric("automata_broker_dead_letters") == len(bodies))


async def test_a_hostile_payload_among_finished_runs_is_counted_and_stops_nobody(amqp_url: str) -> None:
    before = metric("automata_broker_poison_total", broker="rabbitmq")
    async with brokers(amqp_url) as [broker]:
        with broker.listen(RUNS_FINISHED, id="a") as listener:
            await connected(broker)
            async with raw(amqp_url) as channel:
                exchange = await channel.get_exchange(RUNS)
                for body in HOSTILE.values():
                    await exchange.publish(aio_pika.Message(body), RUNS_FINISHED)
            await until(lambda: metric("automata_broker_poison_total", broker="rabbitmq") == before + len(HOSTILE))
            broker.notify(RUNS_FINISHED, ["a"])
            assert await listener.wait(LONG)


@pytest.mark.parametrize("change", ["duplicated", "reversed"])
async def test_duplicates_and_disorder_are_harmless(amqp_url: str, change: str) -> None:
    ids = [str(uuid4()) for _ in range(1000)]
    bodies = list(encode(RUNS_PENDING, ids))
    bodies = [*bodies, *bodies] if change == "duplicated" else bodies[::-1]

    async with brokers(amqp_url) as [broker]:
        with broker.listen(RUNS_PENDING) as listener:
            await connected(broker)
            async with raw(amqp_url) as channel:
                exchange = await channel.get_exchange(RUNS)
                for body in bodies:
                    await exchange.publish(aio_pika.Message(body), RUNS_PENDING)
            seen: set[str] = set()
            while seen != set(ids):
                assert await listener.wait(LONG)
                seen |= set(listener.ids)
                listener.done()
    assert await waiting(amqp_url, RUNS_PENDING) <= len(bodies)
    assert await waiting(amqp_url, DEAD_LETTERS) == 0


async def test_of_several_nodes_one_that_answers_is_enough(amqp_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    nobody = f"amqp://u:p@127.0.0.1:{port}/"
    for _ in range(4):  # in an order of chance
        async with brokers(",".join([nobody, amqp_url, nobody])) as [broker]:
            await connected(broker)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost",
        "http://u:secret@h/",
        "amqp://",
        "amqp://u:secret@/v",
        "amqp://u:secret@h:x/",
        "amqp://[u:secret",
        "amqp://u:secret@h/,",
        ",".join(["amqp://u:secret@h/"] * 17),
    ],
)
def test_what_is_no_address_is_refused_before_anything_runs_and_without_showing_the_password(url: str) -> None:
    with pytest.raises(Usage) as refusal:
        addresses(url)
    assert "secret" not in str(refusal.value)
    assert "AUTOMATA_AMQP_URL" in str(refusal.value)
