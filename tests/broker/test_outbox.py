"""Rings wait in bounded room, merged by topic; what is dropped is counted."""

from __future__ import annotations

import asyncio

import pytest

from automata import telemetry
from automata.broker.contract import RUNS_PENDING, TASKS_READY
from automata.broker.notification import decode
from automata.broker.outbox import MAX_IDS_OF_TOPIC, MAX_IDS_WAITING, MAX_TOPICS, Outbox


def dropped(topic: str = RUNS_PENDING) -> float:
    return (
        telemetry.REGISTRY.get_sample_value("automata_broker_rings_total", {"topic": topic, "result": "dropped"}) or 0.0
    )


async def taken(outbox: Outbox) -> dict[str, list[str]]:
    notifications: dict[str, list[str]] = {}
    async with asyncio.timeout(120), outbox.taken() as packed:
        for _, body in packed:
            topic, ids = decode(body)
            notifications.setdefault(topic, []).extend(ids)
    return notifications


async def test_rings_are_merged_by_topic_until_they_are_taken() -> None:
    outbox = Outbox()
    for ids in (["a", "b"], ["b", "c"], []):
        outbox.put(RUNS_PENDING, ids)
    outbox.put(TASKS_READY, [])
    assert await taken(outbox) == {RUNS_PENDING: ["a", "b", "c"], TASKS_READY: []}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await taken(outbox)


async def test_ids_beyond_the_limit_are_dropped_and_counted_and_their_topic_is_still_notified() -> None:
    outbox = Outbox()
    before = dropped()
    outbox.put(RUNS_PENDING, [str(n) for n in range(MAX_IDS_OF_TOPIC + 7)])
    assert dropped() - before == 7
    outbox.put(TASKS_READY, [str(n) for n in range(MAX_IDS_OF_TOPIC)])
    before = dropped("other")
    outbox.put("more", ["a"])
    assert dropped("other") - before == 1
    notifications = await taken(outbox)
    assert sum(map(len, notifications.values())) == MAX_IDS_WAITING
    assert notifications["more"] == []


def test_topics_are_bounded_and_lanes_count_as_one_label() -> None:
    outbox = Outbox()
    before = dropped(TASKS_READY)
    for n in range(MAX_TOPICS + 3):
        outbox.put(f"{TASKS_READY}.lane{n}", [])
    assert dropped(TASKS_READY) - before == 3


async def test_what_a_wire_failed_to_send_waits_for_one_more_try_and_keeps_its_names_until_that_fails_too() -> None:
    outbox = Outbox()
    outbox.put(RUNS_PENDING, ["a", "b"])
    before = dropped()
    for _ in range(2):
        with pytest.raises(OSError, match="cut"):
            async with outbox.taken():
                raise OSError("cut")
    assert await taken(outbox) == {RUNS_PENDING: ["a", "b"]}
    outbox.put(RUNS_PENDING, ["a", "b"])
    outbox.forget_ids()
    assert dropped() - before == 2
    assert await taken(outbox) == {RUNS_PENDING: []}


async def test_rings_while_the_wire_is_down_keep_their_topic_only() -> None:
    outbox = Outbox()
    before = dropped()
    for _ in range(100):
        outbox.put(RUNS_PENDING, [str(n) for n in range(500)], with_ids=False)
    assert dropped() - before == 50_000
    assert await taken(outbox) == {RUNS_PENDING: []}
