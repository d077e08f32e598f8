"""How the whole system stands, as /metrics and /processes tell it."""

from __future__ import annotations

import asyncio
import math
from typing import Any
from uuid import UUID

from prometheus_client.parser import text_string_to_metric_families

from automata.operations import system_metrics
from automata.services.process_heartbeat import Presence
from automata.settings import Settings
from tests.api.conftest import OpenSite

Series = dict[tuple[str, tuple[str, ...]], float]


async def scrape(site: Any) -> Series:
    if site.context.metrics:
        site.context.metrics._shown.clear()
    text = (await site.http.get("/metrics")).text
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_queues_are_counted_by_what_their_tasks_wait_for(site: Any) -> None:
    await site.flow()
    run = await site.run()
    await site.start(run, "fetch")
    async with site.db.connection() as conn:
        values = [UUID(run["id"])]
        await conn.execute(
            "UPDATE task_queue SET ready_at = now() - interval '2 h', queued_at = now() - interval '90 s'"
            " WHERE run_id = %s",
            values,
        )
        other = await site.run()
        await site.start(other, "fetch")
        await conn.execute(
            "UPDATE task_queue SET lane = 'slow', ready_at = now() + interval '1 h' WHERE run_id = %s",
            [UUID(other["id"])],
        )
    told = await scrape(site)
    assert told["automata_queue_tasks", ("default", "ready")] == 1
    assert told["automata_queue_tasks", ("slow", "delayed")] == 1
    assert 90 <= told["automata_queue_oldest_ready_seconds", ("default",)] < 150
    assert told["automata_queue_oldest_ready_seconds", ("slow",)] == 0
    assert told["automata_database_up", ()] == 1
    await site.finish(run)
    await site.finish(other)
    told = await scrape(site)
    assert told["automata_queue_tasks", ("default", "ready")] == 0, "an empty queue is told too"
    assert ("automata_queue_tasks", ("slow", "delayed")) not in told


async def test_what_waits_for_a_person_and_what_is_late_is_told(site: Any) -> None:
    await site.flow(schedules=[{"name": "nightly", "cron": "0 3 * * *"}])
    run = await site.run()
    async with site.db.connection() as conn:
        await conn.execute(
            "INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code)"
            " SELECT id, flow_id, version_id, 'fetch', 3, 'x' FROM runs"
        )
        await conn.execute(
            "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads)"
            " SELECT id, 'ask', '@advance', now() + interval '1 h', version_id, '{approval,Ship?}' FROM runs"
        )
        await conn.execute("UPDATE schedules SET next_fire_at = now() - interval '5 min'")
    told = await scrape(site)
    assert told["automata_dead_letters_open", ()] == 1
    assert told["automata_approvals_waiting", ()] == 1
    assert 300 <= told["automata_schedule_overdue_seconds", ()] < 360
    await site.finish(run)


async def test_the_database_is_asked_once_however_many_scrape(open_site: OpenSite, monkeypatch: Any) -> None:
    asked = []
    read = system_metrics.read_gauges

    async def counted(conn: Any) -> Any:
        asked.append(1)
        return await read(conn)

    monkeypatch.setattr(system_metrics, "read_gauges", counted)

    site = await open_site()
    await asyncio.gather(*(site.http.get("/metrics") for _ in range(10)))
    assert len(asked) == 1


async def test_a_database_that_cannot_be_read_leaves_no_old_numbers(site: Any) -> None:
    assert (await scrape(site))["automata_dead_letters_open", ()] == 0
    await site.db.close()
    told = await scrape(site)
    assert told["automata_database_up", ()] == 0
    assert math.isnan(told["automata_dead_letters_open", ()])
    assert not [name for name, _ in told if name == "automata_queue_tasks"]


async def test_the_pool_is_told_and_a_process_without_the_api_tells_nothing_of_the_system(site: Any) -> None:
    site.context.metrics = None
    told = await scrape(site)
    assert told["automata_database_pool_size", ()] == 4
    assert told["automata_database_pool_connections", ("idle",)] >= 1
    assert not [name for name, _ in told if name.startswith(("automata_queue_", "automata_database_up"))]


async def test_processes_are_listed_until_they_leave_and_counted_while_they_are_heard_of(site: Any) -> None:
    async def listed(site: Any) -> list[dict[str, Any]]:
        return (await site.http.get("/api/v1/processes")).json()["items"]

    stop = asyncio.Event()
    worker = Presence(site.db, {"worker"}, Settings(queues=("slow",), concurrency=7))
    silent = Presence(site.db, {"worker", "api"}, Settings())
    await silent.beat()
    async with site.db.connection() as conn:
        await conn.execute("UPDATE processes SET seen_at = now() - interval '31 s'")
    running = asyncio.create_task(worker.run(stop))
    while not any(one["alive"] for one in await listed(site)):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    one, other = await listed(site)
    assert (one["parts"], one["queues"], one["alive"]) == (["api", "worker"], ["default"], False)
    assert (other["parts"], other["queues"], other["concurrency"]) == (["worker"], ["slow"], 7)
    assert abs(other["clock_ms"]) < 1_000, "it runs on the database's own machine"
    told = await scrape(site)
    assert told["automata_processes_alive", ("worker",)] == 1
    assert told["automata_processes_alive", ("orchestrator",)] == 0
    stop.set()
    await running
    async with site.db.connection() as conn:
        await conn.execute("UPDATE processes SET seen_at = now() - interval '61 min'")
    await worker.beat()
    assert [one["queues"] for one in await listed(site)] == [["slow"]], "who was silent for an hour is forgotten"
