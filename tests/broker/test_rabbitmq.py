"""RabbitMQ that is absent, killed, deaf, full, old or spoken to by strangers: a real server, and a proxy before it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelPreconditionFailed

from automata import telemetry
from automata.broker import rabbitmq, topology
from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, TASKS_READY, Listener, tasks_ready
from automata.broker.message import MAX_IDS, pack
from automata.broker.rabbitmq import RabbitBroker, check_address
from automata.broker.topology import DEAD_LETTERS, DELIVERY_LIMIT, RUNS, has_quorum_queues, work_arguments
from automata.errors import Usage
from tests.broker.conftest import connected
from tests.broker.test_message import HOSTILE
from tests.promises.proxy import Proxy
from tests.rabbitmq import Node

LONG = 30.0
SHORT = 0.3


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 100))


def metric(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(name, labels) or 0.0


def rings(result: str, topic: str = TASKS_READY) -> float:
    return metric("automata_broker_rings_total", topic=topic, result=result)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def heard(bell: Listener, name: str) -> None:
    async with asyncio.timeout(LONG):
        while name not in bell.ids:
            await bell.wait(1)


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


@pytest.fixture
def proxied(amqp_url: str) -> Iterator[tuple[Proxy, str]]:
    parts = urlsplit(amqp_url)
    with Proxy((parts.hostname or "", parts.port or 5672)) as proxy:
        place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
        yield proxy, urlunsplit(parts._replace(netloc=place))


# -- the topology ----------------------------------------------------------------------------------------------------


def test_work_queues_are_durable_quorum_queues_with_a_delivery_limit_and_a_dead_letter_exchange(amqp_url: str) -> None:
    async def scene() -> None:
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

    run(scene)


def test_a_ring_while_nobody_listens_waits_in_its_queue(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url, amqp_url) as [here, late]:
            with here.listen(TASKS_READY):
                await connected(here)
            await connected(here)  # its consumer is gone again
            here.ring(TASKS_READY, ["early"])
            await until(lambda: rings("sent") > 0)
            with late.listen(TASKS_READY) as bell:
                await heard(bell, "early")
                bell.done()

    run(scene)


def test_a_large_batch_becomes_messages_of_a_bounded_number_of_ids_each_for_one_process(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url) as [broker]:
            await connected(broker)
            before = rings("sent", RUNS_PENDING)
            broker.ring(RUNS_PENDING, [str(uuid4()) for _ in range(10 * MAX_IDS)])
            await until(lambda: rings("sent", RUNS_PENDING) >= before + 10)
            assert await waiting(amqp_url, RUNS_PENDING) == 10

    run(scene)


def test_a_lane_gets_its_queue_when_a_worker_listens_and_rings_before_that_are_lost(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url, amqp_url) as [here, worker]:
            await connected(here)
            here.ring(tasks_ready("gpu"), ["lost"])
            await asyncio.wait_for(here._outbox._sent.wait(), LONG)
            with worker.listen(tasks_ready("gpu")) as bell:
                await connected(worker)
                here.ring(tasks_ready("gpu"), ["found"])
                await heard(bell, "found")
                assert "lost" not in bell.ids

    run(scene)


def test_a_server_without_quorum_queues_gets_classic_ones_and_a_clear_word(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topology, "_server", lambda connection: {"product": "RabbitMQ", "version": "3.7.28"})

    async def scene() -> None:
        async with brokers(amqp_url, amqp_url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell:
                await connected(here, there)
                here.ring(RUNS_PENDING, ["a"])
                await heard(bell, "a")
                bell.done()
        with pytest.raises(ChannelPreconditionFailed, match="x-queue-type"):
            async with raw(amqp_url) as channel:
                await channel.declare_queue(RUNS_PENDING, durable=True, arguments=work_arguments(RUNS_PENDING))

    with caplog.at_level(logging.WARNING):
        run(scene)
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


def test_a_queue_that_exists_with_other_limits_is_used_and_full_it_refuses_rings_that_are_then_counted(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene() -> None:
        small = work_arguments(TASKS_READY) | {"x-max-length": 1}
        async with raw(amqp_url) as channel:
            await channel.declare_queue(TASKS_READY, durable=True, arguments=small)
        async with brokers(amqp_url) as [broker]:
            await connected(broker)
            sent, dropped = rings("sent"), rings("dropped")
            for _ in range(200):
                broker.ring(TASKS_READY)
                await asyncio.wait_for(broker._outbox._sent.wait(), LONG)
                if rings("dropped") > dropped:
                    break
            assert rings("dropped") > dropped, "what the server does not confirm must not count as sent"
            assert rings("sent") > sent
            assert broker.state().connected, "a full queue is no reason to reconnect"

    with caplog.at_level(logging.WARNING):
        run(scene)
    assert f"refused {TASKS_READY} as a quorum queue with our limits" in caplog.text


# -- away, dead, deaf ------------------------------------------------------------------------------------------------


def test_a_server_killed_and_started_again_is_found_and_has_kept_what_was_not_answered(rabbit_node: Node) -> None:
    url = rabbit_node.url()

    async def scene() -> None:
        async with brokers(url, url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell:
                await connected(here, there)
                await bell.wait(0)
                here.ring(RUNS_PENDING, ["kept"])
                await heard(bell, "kept")
                await asyncio.to_thread(rabbit_node.kill)
                await until(lambda: not here.state().connected and not there.state().connected)
                dropped = rings("dropped", RUNS_PENDING)
                here.ring(RUNS_PENDING, ["dropped", "too"])
                assert rings("dropped", RUNS_PENDING) == dropped + 2
                bell.done()  # too late: that answer has no connection any more
                await asyncio.to_thread(rabbit_node.start)
                await connected(here, there)
                await heard(bell, "kept")
                bell.done()
                here.ring(RUNS_PENDING, ["after"])
                await heard(bell, "after")

    run(scene)


def test_a_server_short_of_memory_takes_no_rings_and_still_takes_answers(
    rabbit_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "SEND_SEC", 0.5)
    url = rabbit_node.url("v1")

    async def scene() -> None:
        async with brokers(url, url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell:
                await connected(here, there)
                here.ring(RUNS_PENDING, ["before"])
                await heard(bell, "before")
                await asyncio.to_thread(rabbit_node.control, "set_vm_memory_high_watermark", "0.00001")
                here.ring(RUNS_PENDING, ["during"])
                await until(lambda: not here.state().connected)
                bell.done()
                assert there._hearing
                await asyncio.wait_for(there._hearing.all_sent(), LONG)
                assert there._ear
                assert there._ear.connected
                await asyncio.to_thread(rabbit_node.control, "set_vm_memory_high_watermark", "0.4")
                assert await bell.wait(LONG)
                await connected(here)
                here.ring(RUNS_PENDING, ["after"])
                await heard(bell, "after")
                assert "before" not in bell.ids

    run(scene)


def test_a_worker_that_is_full_holds_one_ring_and_the_others_get_the_rest(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url, amqp_url, amqp_url) as [here, full, idle]:
            with full.listen(TASKS_READY) as busy, idle.listen(TASKS_READY) as bell:
                await connected(here, full, idle)
                await bell.wait(0)
                bell.done()
                names = [str(uuid4()) for _ in range(6)]
                for name in names:
                    here.ring(TASKS_READY, [name])
                    await asyncio.wait_for(here._outbox._sent.wait(), LONG)
                seen: set[str] = set()
                while len(seen) < len(names) - 1:
                    assert await bell.wait(LONG)
                    seen |= set(bell.ids)
                    bell.done()
                await busy.wait(LONG)
                assert len(set(busy.ids)) == 1
                assert seen | set(busy.ids) == set(names)

    run(scene)


def test_a_server_that_is_absent_at_the_start_costs_nothing_and_is_found_when_it_comes(
    proxied: tuple[Proxy, str], caplog: pytest.LogCaptureFixture
) -> None:
    proxy, url = proxied
    proxy.refuse = True

    async def scene() -> None:
        async with brokers(url, url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell, here.listen(RUNS_PENDING) as own:
                here.ring(RUNS_PENDING, ["a"])
                assert await own.wait(LONG), "in its own process a ring is heard all the same"
                await until(lambda: "not connected yet" not in here.state().detail)
                assert not here.state().connected
                assert not await bell.wait(SHORT)
                proxy.refuse = False
                assert await bell.wait(LONG), "who was away cannot know what it missed"
                await connected(here, there)

    with caplog.at_level(logging.INFO):
        run(scene)
    lines = [record.getMessage() for record in caplog.records if "mouth" in record.getMessage()]
    assert sum("is away" in line for line in lines) == 2, "an outage is one line a connection, not one a try"
    assert sum("is back" in line for line in lines) == 2
    password = urlsplit(url).password
    assert password
    assert password not in caplog.text


def test_a_ring_whose_confirm_was_lost_is_published_again(proxied: tuple[Proxy, str], amqp_url: str) -> None:
    proxy, url = proxied
    name = str(uuid4())

    async def scene() -> None:
        async with brokers(url, amqp_url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell:
                await connected(here, there)
                proxy.lose_reply = lambda chunk: name.encode() in chunk and not proxy.lost
                sent = rings("sent", RUNS_PENDING)
                here.ring(RUNS_PENDING, [name])
                await heard(bell, name)
                bell.done()
                await heard(bell, name)
                bell.done()
                await until(lambda: rings("sent", RUNS_PENDING) > sent)
                assert proxy.lost == 1
                assert rings("sent", RUNS_PENDING) == sent + 1, "only the confirmed one counts as sent"

    run(scene)


def test_what_a_killed_process_had_heard_comes_to_another(amqp_url: str) -> None:
    code = """
import asyncio, sys
from automata.broker.rabbitmq import RabbitBroker
async def main():
    with RabbitBroker(sys.argv[1]).listen("runs.pending") as bell:
        while "mine" not in bell.ids:
            await bell.wait(60)
        print("heard", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""

    async def scene() -> None:
        async with brokers(amqp_url, amqp_url) as [here, other]:
            await connected(here)
            arguments = (sys.executable, "-c", code, amqp_url)
            process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
            try:
                assert process.stdout
                here.ring(RUNS_PENDING, ["mine"])
                assert await process.stdout.readline() == b"heard\n"
                with other.listen(RUNS_PENDING) as bell:
                    await connected(other)
                    await bell.wait(0)
                    assert not await bell.wait(SHORT), "it is the other's as long as that one lives"
                    process.kill()
                    await heard(bell, "mine")
                    bell.done()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        assert await waiting(amqp_url, RUNS_PENDING) == 0

    run(scene)


def test_what_comes_back_more_often_than_the_delivery_limit_ends_in_the_dead_letter_queue(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url) as [broker]:
            await connected(broker)
            broker.ring(RUNS_PENDING, ["poisonous"])
            for _ in range(DELIVERY_LIMIT + 1):
                with broker.listen(RUNS_PENDING) as bell:
                    await heard(bell, "poisonous")
            async with raw(amqp_url) as channel:
                queue = await channel.get_queue(DEAD_LETTERS)
                message = await queue.get(timeout=LONG, fail=False)
                async with asyncio.timeout(LONG):
                    while message is None:
                        message = await queue.get(fail=False)
                assert b"poisonous" in message.body
                assert message.routing_key == RUNS_PENDING
            with broker.listen(RUNS_PENDING) as bell:
                await connected(broker)
                assert not await bell.wait(SHORT)

    run(scene)


def test_an_ear_whose_queue_was_deleted_is_built_anew(amqp_url: str) -> None:
    async def scene() -> None:
        async with brokers(amqp_url, amqp_url) as [here, there]:
            with there.listen(RUNS_PENDING) as bell:
                await connected(here, there)
                await bell.wait(0)
                async with raw(amqp_url) as channel:
                    await channel.queue_delete(RUNS_PENDING)
                assert await bell.wait(LONG), "the ear that came back wakes its listeners"
                await connected(there)
                here.ring(RUNS_PENDING, ["after"])
                await heard(bell, "after")

    run(scene)


def test_an_ear_on_a_dead_route_is_thrown_away_when_polls_find_what_it_should_have_heard(
    proxied: tuple[Proxy, str], amqp_url: str
) -> None:
    proxy, url = proxied

    async def scene() -> None:
        async with brokers(amqp_url, url) as [here, deaf]:
            hours = [0.0]
            deaf._watchdogs[RUNS_PENDING,]._clock = lambda: hours[0]
            with deaf.listen(RUNS_PENDING) as bell:
                await connected(here, deaf)
                await bell.wait(0)
                bell.done(found=False)
                proxy.swallow = True
                here.ring(RUNS_PENDING, ["unheard"])
                assert not await bell.wait(SHORT)
                rebuilds = metric("automata_broker_rebuilds_total", broker="rabbitmq", role="ear")
                while metric("automata_broker_rebuilds_total", broker="rabbitmq", role="ear") == rebuilds:
                    assert not await bell.wait(0.01)
                    bell.done(found=True)  # a poll found the work
                    hours[0] += 2.0
                    assert hours[0] <= 30.0, "promised: within 30 s"
                proxy.swallow = False
                await heard(bell, "unheard")

    run(scene)


# -- strangers -------------------------------------------------------------------------------------------------------


def test_every_hostile_payload_ends_in_the_dead_letter_queue_is_counted_and_stops_nobody(amqp_url: str) -> None:
    wrong_topic = next(pack(TASKS_READY, ["a"]))
    bodies = [*HOSTILE.values(), wrong_topic, b"x" * 1_000_000]

    async def scene() -> None:
        before = metric("automata_broker_poison_total", broker="rabbitmq")
        async with brokers(amqp_url) as [broker]:
            with broker.listen(RUNS_PENDING) as bell:
                await connected(broker)
                await bell.wait(0)
                async with raw(amqp_url) as channel:
                    exchange = await channel.get_exchange(RUNS)
                    for body in bodies:
                        await exchange.publish(aio_pika.Message(body), RUNS_PENDING)
                await until(lambda: metric("automata_broker_poison_total", broker="rabbitmq") == before + len(bodies))
                assert not await bell.wait(0)
                broker.ring(RUNS_PENDING, ["good"])
                await heard(bell, "good")
                bell.done()
        async with asyncio.timeout(LONG):
            while await waiting(amqp_url, DEAD_LETTERS) < len(bodies):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
        async with brokers(amqp_url) as [broker]:
            broker.listen(RUNS_PENDING)
            await until(lambda: metric("automata_broker_dead_letters") == len(bodies))

    run(scene)


def test_a_hostile_payload_among_finished_runs_is_counted_and_stops_nobody(amqp_url: str) -> None:
    async def scene() -> None:
        before = metric("automata_broker_poison_total", broker="rabbitmq")
        async with brokers(amqp_url) as [broker]:
            with broker.listen(RUNS_FINISHED, id="a") as bell:
                await connected(broker)
                async with raw(amqp_url) as channel:
                    exchange = await channel.get_exchange(RUNS)
                    for body in HOSTILE.values():
                        await exchange.publish(aio_pika.Message(body), RUNS_FINISHED)
                await until(lambda: metric("automata_broker_poison_total", broker="rabbitmq") == before + len(HOSTILE))
                broker.ring(RUNS_FINISHED, ["a"])
                assert await bell.wait(LONG)

    run(scene)


@pytest.mark.parametrize("change", ["duplicated", "reversed"])
def test_duplicates_and_disorder_are_harmless(amqp_url: str, change: str) -> None:
    ids = [str(uuid4()) for _ in range(1000)]
    bodies = list(pack(RUNS_PENDING, ids))
    bodies = [*bodies, *bodies] if change == "duplicated" else bodies[::-1]

    async def scene() -> None:
        async with brokers(amqp_url) as [broker]:
            with broker.listen(RUNS_PENDING) as bell:
                await connected(broker)
                async with raw(amqp_url) as channel:
                    exchange = await channel.get_exchange(RUNS)
                    for body in bodies:
                        await exchange.publish(aio_pika.Message(body), RUNS_PENDING)
                seen: set[str] = set()
                while seen != set(ids):
                    assert await bell.wait(LONG)
                    seen |= set(bell.ids)
                    bell.done()
        assert await waiting(amqp_url, RUNS_PENDING) <= len(bodies)
        assert await waiting(amqp_url, DEAD_LETTERS) == 0

    run(scene)


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
    ],
)
def test_what_is_no_address_is_refused_before_anything_runs_and_without_showing_the_password(url: str) -> None:
    with pytest.raises(Usage) as refusal:
        check_address(url)
    assert "secret" not in str(refusal.value)
    assert "AUTOMATA_AMQP_URL" in str(refusal.value)
