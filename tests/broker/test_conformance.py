"""What every broker does, on the real servers. A service must not be able to tell one from another."""

from __future__ import annotations

import asyncio
import time
from uuid import uuid4

import pytest

from automata.broker.contract import (
    RUNS_FINISHED,
    RUNS_PENDING,
    TASKS_COMPLETED,
    TASKS_READY,
    Broker,
    Listener,
    tasks_ready,
)
from tests.broker.conftest import World, connected

LONG = 120.0  # how long a wait may take that must end with a notification
SHORT = 0.3  # how long silence is listened to


async def ready(*brokers: Broker, bells: tuple[Listener, ...] = ()) -> None:
    """Connected, and the notification that says so is over."""
    await connected(*brokers)
    for listener in bells:
        await listener.wait(0)
        listener.done(False)


@pytest.mark.parametrize("topic", [RUNS_PENDING, TASKS_READY, TASKS_COMPLETED, RUNS_FINISHED, tasks_ready("gpu.v2")])
async def test_a_ring_in_one_process_is_heard_in_another_with_its_ids(world: World, topic: str) -> None:
    here, there = world.process(), world.process()
    with there.listen(topic) as listener:
        await ready(here, there, bells=(listener,))
        here.notify(topic, ["first", "second"])
        assert await listener.wait(LONG)
        assert list(listener.ids) == ["first", "second"]
        listener.done()
        assert list(listener.ids) == []


async def test_a_ring_without_ids_is_heard(world: World) -> None:
    here, there = world.process(), world.process()
    with there.listen(TASKS_READY) as listener:
        await ready(here, there, bells=(listener,))
        here.notify(TASKS_READY)
        assert await listener.wait(LONG)
        assert list(listener.ids) == []


async def test_finished_runs_are_heard_by_every_process_and_by_each_waiter_for_its_own(world: World) -> None:
    ringer, one, two = world.process(), world.process(), world.process()
    with (
        one.listen(RUNS_FINISHED, id="a") as a_in_one,
        two.listen(RUNS_FINISHED, id="a") as a_in_two,
        two.listen(RUNS_FINISHED, id="b") as b_in_two,
    ):
        await ready(ringer, one, two)
        ringer.notify(RUNS_FINISHED, ["a", "c"])
        assert await a_in_one.wait(LONG)
        assert await a_in_two.wait(LONG)
        assert not await b_in_two.wait(SHORT)


async def test_a_ring_wakes_at_least_one_of_several_processes(world: World) -> None:
    ringer, *others = (world.process() for _ in range(4))
    bells = tuple(other.listen(RUNS_PENDING) for other in others)
    await ready(ringer, *others, bells=bells)
    for _ in range(10):
        ringer.notify(RUNS_PENDING, ["a"])
        waits = [asyncio.create_task(listener.wait(LONG)) for listener in bells]
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        assert any(task.result() for task in done)
        for task in rest:
            task.cancel()
        for listener in bells:
            listener.done()


async def test_a_worker_of_one_lane_hears_nothing_of_another(world: World) -> None:
    here, there = world.process(), world.process()
    with there.listen(tasks_ready("gpu")) as gpu, there.listen(TASKS_READY) as default:
        await ready(here, there, bells=(gpu, default))
        here.notify(tasks_ready("gpu"), ["a"])
        assert await gpu.wait(LONG)
        assert not await default.wait(SHORT)


async def test_one_listener_hears_all_topics_that_it_named(world: World) -> None:
    here, there = world.process(), world.process()
    with there.listen(RUNS_PENDING, TASKS_COMPLETED) as listener:
        await ready(here, there, bells=(listener,))
        for topic in (TASKS_COMPLETED, RUNS_PENDING):
            here.notify(topic, [topic])
            assert await listener.wait(LONG)
            assert list(listener.ids) == [topic]
            listener.done()


async def test_a_large_batch_arrives_whole_in_as_many_messages_as_it_takes(world: World) -> None:
    here, there = world.process(), world.process()
    ids = [str(uuid4()) for _ in range(5_000)]
    heard: set[str] = set()
    with there.listen(RUNS_PENDING) as listener:
        await ready(here, there, bells=(listener,))
        for start in range(0, len(ids), 500):
            here.notify(RUNS_PENDING, ids[start : start + 500])
            while not heard.issuperset(ids[start : start + 500]):
                assert await listener.wait(LONG)
                heard.update(listener.ids)
                listener.done()
    assert heard == set(ids)


async def test_what_one_process_heard_and_did_not_answer_is_heard_by_another(world: World) -> None:
    ringer, dies, lives = world.process(), world.process(), world.process()
    with dies.listen(RUNS_PENDING) as dying:
        await ready(ringer, dies, bells=(dying,))
        ringer.notify(RUNS_PENDING, ["a"])
        assert await dying.wait(LONG)
        with lives.listen(RUNS_PENDING) as living:
            await connected(lives)
            dying.close()
            assert await living.wait(LONG)
            living.done()


async def test_an_answered_ring_does_not_come_again(world: World) -> None:
    ringer, first, second = world.process(), world.process(), world.process()
    with first.listen(RUNS_PENDING) as listener:
        await ready(ringer, first, bells=(listener,))
        ringer.notify(RUNS_PENDING, ["a"])
        assert await listener.wait(LONG)
        listener.done()
    if world.kind != "local":
        await first.close()
    with second.listen(RUNS_PENDING) as listener:
        await ready(second, bells=(listener,))
        assert not await listener.wait(SHORT)


async def test_the_same_ids_rung_again_are_merged(world: World) -> None:
    here, there = world.process(), world.process()
    with there.listen(RUNS_PENDING) as listener:
        await ready(here, there, bells=(listener,))
        for _ in range(50):
            here.notify(RUNS_PENDING, ["a", "b", "a"])
        assert await listener.wait(LONG)
        seen = list(listener.ids)
        while await listener.wait(SHORT):
            seen = list(listener.ids)
        assert seen == ["a", "b"]


@pytest.mark.parametrize(
    ("topic", "ids"),
    [
        ("", ["a"]),
        ("no such topic; DROP TABLE runs", ["a"]),
        ("x" * 10_000, ["a"]),
        (RUNS_PENDING, ["", "a b", "\x00", "\ud800", "x" * 100_000, "'; DROP TABLE runs; --"]),
        (RUNS_PENDING, [str(n) for n in range(50_000)]),
    ],
    ids=["empty topic", "sql", "long topic", "hostile ids", "too many"],
)
async def test_a_ring_with_anything_in_it_neither_raises_nor_harms_the_next(
    world: World, topic: str, ids: list[str]
) -> None:
    here, there = world.process(), world.process()
    with there.listen(TASKS_COMPLETED) as listener:
        await ready(here, there, bells=(listener,))
        here.notify(topic, ids)
        here.notify(TASKS_COMPLETED, ["good"])
        assert await listener.wait(LONG)
        assert "good" in listener.ids


async def test_ringing_never_blocks(world: World) -> None:
    broker = world.process()
    ids = [str(uuid4()) for _ in range(500)]
    started = time.monotonic()
    for _ in range(200):  # 100,000 ids, before anything is connected
        broker.notify(RUNS_PENDING, ids)
    assert time.monotonic() - started < 30


async def test_a_broker_is_closed_at_once_and_rings_after_that_are_harmless(world: World) -> None:
    broker = world.process()
    listener = broker.listen(RUNS_PENDING)
    await connected(broker)
    started = time.monotonic()
    await broker.close()
    assert time.monotonic() - started < 30
    broker.notify(RUNS_PENDING, ["a"])
    listener.done()
    listener.close()
    await broker.close()


async def test_what_was_rung_just_before_the_end_is_still_sent(world: World) -> None:
    here, there = world.process(), world.process()
    with there.listen(RUNS_PENDING) as listener:
        await ready(here, there, bells=(listener,))
        here.notify(RUNS_PENDING, ["last"])
        if world.kind != "local":
            await here.close()
        assert await listener.wait(LONG)
        assert list(listener.ids) == ["last"]
