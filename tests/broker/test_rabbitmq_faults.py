"""RabbitMQ that is absent, killed, deaf, or out of memory; processes that die or are full: real server, real kills."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from automata.broker import rabbitmq
from automata.broker.contract import RUNS_PENDING, TASKS_READY
from automata.broker.topology import DEAD_LETTERS, DELIVERY_LIMIT
from tests.broker.conftest import connected
from tests.broker.scene import LONG, SHORT, brokers, heard, metric, notifications, raw, until, waiting
from tests.promises.proxy import Proxy
from tests.rabbitmq import Node


@pytest.fixture
def proxied(amqp_url: str) -> Iterator[tuple[Proxy, str]]:
    parts = urlsplit(amqp_url)
    with Proxy((parts.hostname or "", parts.port or 5672)) as proxy:
        place = f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}"
        yield proxy, urlunsplit(parts._replace(netloc=place))


async def test_a_server_killed_and_started_again_is_found_and_has_kept_what_was_not_answered(rabbit_node: Node) -> None:
    url = rabbit_node.url()

    async with brokers(url, url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener:
            await connected(here, there)
            await listener.wait(0)
            here.notify(RUNS_PENDING, ["kept"])
            await heard(listener, "kept")
            await asyncio.to_thread(rabbit_node.kill)
            await until(lambda: not here.state().connected and not there.state().connected)
            dropped = notifications("dropped", RUNS_PENDING)
            here.notify(RUNS_PENDING, ["dropped", "too"])
            assert notifications("dropped", RUNS_PENDING) == dropped + 2
            listener.done()  # too late: that answer has no connection any more
            await asyncio.to_thread(rabbit_node.start)
            await connected(here, there)
            await heard(listener, "kept")
            listener.done()
            here.notify(RUNS_PENDING, ["after"])
            await heard(listener, "after")


async def test_a_server_short_of_memory_takes_no_rings_and_still_takes_answers(
    rabbit_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq, "SEND_SEC", 0.5)
    url = rabbit_node.url("v1")

    async with brokers(url, url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener:
            await connected(here, there)
            here.notify(RUNS_PENDING, ["before"])
            await heard(listener, "before")
            await asyncio.to_thread(rabbit_node.control, "set_vm_memory_high_watermark", "0.00001")
            async with asyncio.timeout(LONG):
                while here.state().connected:  # the server looks at its memory once a second
                    here.notify(RUNS_PENDING, ["during"])
                    await asyncio.sleep(0.05)
            listener.done()
            assert there._consumer
            await asyncio.wait_for(there._consumer.all_sent(), LONG)
            assert there._consumer_connection
            assert there._consumer_connection.connected
            await asyncio.to_thread(rabbit_node.control, "set_vm_memory_high_watermark", "0.4")
            assert await listener.wait(LONG)
            await connected(here)
            here.notify(RUNS_PENDING, ["after"])
            await heard(listener, "after")
            assert "before" not in listener.ids


async def test_a_worker_that_is_full_holds_one_ring_and_the_others_get_the_rest(amqp_url: str) -> None:
    async with brokers(amqp_url, amqp_url, amqp_url) as [here, full, idle]:
        with full.listen(TASKS_READY) as busy, idle.listen(TASKS_READY) as listener:
            await connected(here, full, idle)
            await listener.wait(0)
            listener.done()
            names = [str(uuid4()) for _ in range(6)]
            for name in names:
                here.notify(TASKS_READY, [name])
                await asyncio.wait_for(here._outbox._sent.wait(), LONG)
            seen: set[str] = set()
            while len(seen) < len(names) - 1:
                assert await listener.wait(LONG)
                seen |= set(listener.ids)
                listener.done()
            await busy.wait(LONG)
            assert len(set(busy.ids)) == 1
            assert seen | set(busy.ids) == set(names)


async def test_a_server_that_is_absent_at_the_start_costs_nothing_and_is_found_when_it_comes(
    proxied: tuple[Proxy, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    proxy, url = proxied
    proxy.refuse = True
    async with brokers(url, url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener, here.listen(RUNS_PENDING) as own:
            here.notify(RUNS_PENDING, ["a"])
            assert await own.wait(LONG), "in its own process a notification arrives all the same"
            await until(lambda: "not connected yet" not in here.state().detail)
            assert not here.state().connected
            assert not await listener.wait(SHORT)
            proxy.refuse = False
            assert await listener.wait(LONG), "who was away cannot know what it missed"
            await connected(here, there)
    lines = [record.getMessage() for record in caplog.records if "mouth" in record.getMessage()]
    assert sum("is away" in line for line in lines) == 2, "an outage is one line a connection, not one a try"
    assert sum("is back" in line for line in lines) == 2
    password = urlsplit(url).password
    assert password
    assert password not in caplog.text


async def test_a_ring_whose_confirm_was_lost_is_published_again(proxied: tuple[Proxy, str], amqp_url: str) -> None:
    proxy, url = proxied
    name = str(uuid4())

    async with brokers(url, amqp_url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener:
            await connected(here, there)
            proxy.lose_reply = lambda chunk: name.encode() in chunk and not proxy.lost
            sent = notifications("sent", RUNS_PENDING)
            here.notify(RUNS_PENDING, [name])
            await heard(listener, name)
            listener.done()
            await heard(listener, name)
            listener.done()
            await until(lambda: notifications("sent", RUNS_PENDING) > sent)
            assert proxy.lost == 1
            assert notifications("sent", RUNS_PENDING) == sent + 1, "only the confirmed one counts as sent"


async def test_what_a_killed_process_had_heard_comes_to_another(amqp_url: str) -> None:
    code = """
import asyncio, sys
from automata.broker.rabbitmq import RabbitBroker
async def main():
    with RabbitBroker(sys.argv[1]).listen("runs.pending") as listener:
        while "mine" not in listener.ids:
            await listener.wait(60)
        print("heard", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""

    async with brokers(amqp_url, amqp_url) as [here, other]:
        await connected(here)
        arguments = (sys.executable, "-c", code, amqp_url)
        process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
        try:
            assert process.stdout
            here.notify(RUNS_PENDING, ["mine"])
            assert await process.stdout.readline() == b"heard\n"
            with other.listen(RUNS_PENDING) as listener:
                await connected(other)
                await listener.wait(0)
                assert not await listener.wait(SHORT), "it is the other's as long as that one lives"
                process.kill()
                await heard(listener, "mine")
                listener.done()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert await waiting(amqp_url, RUNS_PENDING) == 0


async def test_what_comes_back_more_often_than_the_delivery_limit_ends_in_the_dead_letter_queue(amqp_url: str) -> None:
    async with brokers(amqp_url) as [broker]:
        await connected(broker)
        broker.notify(RUNS_PENDING, ["poisonous"])
        for _ in range(DELIVERY_LIMIT + 1):
            with broker.listen(RUNS_PENDING) as listener:
                await heard(listener, "poisonous")
        async with raw(amqp_url) as channel:
            queue = await channel.get_queue(DEAD_LETTERS)
            message = await queue.get(timeout=LONG, fail=False)
            async with asyncio.timeout(LONG):
                while message is None:
                    message = await queue.get(fail=False)
            assert b"poisonous" in message.body
            assert message.routing_key == RUNS_PENDING
        with broker.listen(RUNS_PENDING) as listener:
            await connected(broker)
            assert not await listener.wait(SHORT)


async def test_an_ear_whose_queue_was_deleted_is_built_anew(amqp_url: str) -> None:
    async with brokers(amqp_url, amqp_url) as [here, there]:
        with there.listen(RUNS_PENDING) as listener:
            await connected(here, there)
            await listener.wait(0)
            async with raw(amqp_url) as channel:
                await channel.queue_delete(RUNS_PENDING)
            assert await listener.wait(LONG), "the ear that came back wakes its listeners"
            await connected(there)
            here.notify(RUNS_PENDING, ["after"])
            await heard(listener, "after")


async def test_an_ear_on_a_dead_route_is_thrown_away_when_polls_find_what_it_should_have_heard(
    proxied: tuple[Proxy, str], amqp_url: str
) -> None:
    proxy, url = proxied

    async with brokers(amqp_url, url) as [here, deaf]:
        hours = [0.0]
        deaf._watchdogs[RUNS_PENDING,]._clock = lambda: hours[0]
        with deaf.listen(RUNS_PENDING) as listener:
            await connected(here, deaf)
            await listener.wait(0)
            listener.done(found=False)
            proxy.swallow = True
            here.notify(RUNS_PENDING, ["unheard"])
            assert not await listener.wait(SHORT)
            rebuilds = metric("automata_broker_rebuilds_total", broker="rabbitmq", role="ear")
            while metric("automata_broker_rebuilds_total", broker="rabbitmq", role="ear") == rebuilds:
                assert not await listener.wait(0.01)
                listener.done(found=True)  # a poll found the work
                hours[0] += 2.0
                assert hours[0] <= 30.0, "promised: within 30 s"
            proxy.swallow = False
            await heard(listener, "unheard")
