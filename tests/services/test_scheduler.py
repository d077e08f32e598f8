"""Fires against a real database: one run each, whoever leads, however often it is decided."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from automata.broker.local import LocalBroker
from automata.flow.model import Flow
from automata.services.fire_decisions import jitter
from automata.services.leader_election import LostTerm
from automata.services.plan_cache import PlanCache
from automata.services.scheduler import Scheduler
from automata.settings import Settings
from automata.store.database import Database
from automata.store.flows import archive_api_flow, put_api_flow
from automata.store.leadership import LeaderLock
from automata.store.orchestrator_queue import FinishRow, RunWrites, apply_writes
from automata.store.schedules import create_schedule, enable_schedule, list_schedules
from tests.emptying import empty
from tests.figures import note

FLOW = {
    "name": "timed",
    "inputs": {"n": {"type": "integer", "default": 1}},
    "steps": [{"id": "s", "type": "delay", "config": {"duration_sec": 1}}],
}


class Place:
    """A database with a flow, and a scheduler that leads."""

    def __init__(self, db: Database, flow: UUID, epoch: int) -> None:
        self.db = db
        self.flow = flow
        self.epoch = epoch
        self.scheduler = self.another()

    def another(self) -> Scheduler:
        return Scheduler(self.db, LocalBroker(), PlanCache(self.db), Settings())

    async def schedule(self, ago_sec: float = 0.0, **spec: Any) -> UUID:
        """A schedule whose first undecided fire time was `ago_sec` before now."""
        spec = {"name": f"s{uuid4().hex[:8]}", "interval_sec": 60, "timezone": "UTC", "inputs": {}, **spec}
        if "cron" in spec:
            del spec["interval_sec"]
        async with self.db.transaction() as conn:
            made = await create_schedule(conn, self.flow, spec)
            if "interval_sec" in spec and "aligned" not in spec:
                moment = "to_timestamp(floor(extract(epoch FROM now()) / %(every)s) * %(every)s - %(ago)s)"
            else:
                moment = "date_trunc('minute', now()) - make_interval(secs => %(ago)s)"
            await conn.execute(
                f"UPDATE schedules SET next_fire_at = {moment} WHERE id = %(id)s".encode(),
                {"every": spec.get("interval_sec"), "ago": ago_sec, "id": made.id},
            )
        return made.id

    async def runs(self, schedule: UUID) -> list[datetime]:
        async with self.db.connection() as conn:
            cursor = await conn.execute(
                "SELECT scheduled_for FROM runs WHERE schedule_id = %s ORDER BY scheduled_for", [schedule]
            )
            return [row[0] for row in await cursor.fetchall()]

    async def finish_all(self) -> None:
        async with self.db.transaction() as conn:
            cursor = await conn.execute(
                "SELECT id, flow_id FROM runs WHERE NOT EXISTS (SELECT FROM run_results WHERE run_id = id)"
            )
            rows = await cursor.fetchall()
            await apply_writes(conn, RunWrites(finish=[FinishRow(*row, "SUCCEEDED", None, None, None) for row in rows]))


@pytest.fixture
async def place(database_url: str) -> AsyncIterator[Place]:
    async with await Database.open(database_url, max_size=6) as db:
        async with db.transaction() as conn:
            await empty(conn, "runs, run_results, tasks, task_queue, schedules, leaders")
            put = await put_api_flow(conn, Flow.from_spec(FLOW), author="test")
        seat = await LeaderLock.open(database_url, "scheduler")
        epoch = await seat.take("test")
        assert epoch is not None
        try:
            yield Place(db, put.flow.id, epoch)
        finally:
            await seat.close()


async def test_a_due_schedule_starts_one_run_for_its_fire_time_and_moves_on(place: Place) -> None:
    schedule = await place.schedule()
    assert await place.scheduler.run_once(place.epoch)
    assert not await place.scheduler.run_once(place.epoch)
    (fire,) = await place.runs(schedule)
    assert fire.timestamp() % 60 == 0
    async with place.db.connection() as conn:
        (row,) = (await list_schedules(conn)).items
    assert (row.last_fire_at, row.next_fire_at) == (fire, fire + timedelta(minutes=1))


async def test_two_schedulers_that_both_believe_they_lead_start_each_fire_once(place: Place) -> None:
    schedules = [await place.schedule() for _ in range(50)]
    crowd = [place.another() for _ in range(4)]
    await asyncio.gather(*(one.run_once(place.epoch) for one in crowd for _ in range(3)))
    fires = [len(await place.runs(one)) for one in schedules]
    note({"schedule fires": 50, "duplicate fires": sum(fires) - 50})
    assert fires == [1] * 50


async def test_a_leader_of_an_older_term_starts_nothing(place: Place) -> None:
    schedule = await place.schedule()
    with pytest.raises(LostTerm):
        await place.scheduler.run_once(place.epoch - 1)
    assert await place.runs(schedule) == []


async def test_a_fire_that_is_decided_twice_is_one_run(place: Place) -> None:
    schedule = await place.schedule()
    await place.scheduler.run_once(place.epoch)
    async with place.db.transaction() as conn:
        await conn.execute("UPDATE schedules SET next_fire_at = last_fire_at")
    await place.scheduler.run_once(place.epoch)
    assert len(await place.runs(schedule)) == 1


@pytest.mark.parametrize(("catchup", "ago", "count"), [("none", 600, 1), ("latest", 600, 1), ("all", 600, 11)])
async def test_what_was_missed_is_made_up_for_as_the_schedule_says(
    catchup: str, ago: int, count: int, place: Place
) -> None:
    schedule = await place.schedule(ago, catchup=catchup)
    await place.scheduler.run_once(place.epoch)
    runs = await place.runs(schedule)
    assert len(runs) == count
    now = datetime.now(UTC)
    assert all(now - timedelta(seconds=ago + 61) <= run <= now for run in runs)


async def test_catching_up_makes_at_most_a_hundred_runs(place: Place) -> None:
    schedule = await place.schedule(86_400, catchup="all")
    await place.scheduler.run_once(place.epoch)
    assert len(await place.runs(schedule)) == 100


async def test_a_fire_older_than_the_starting_deadline_is_not_started(place: Place) -> None:
    schedule = await place.schedule(7200, interval_sec=7200, catchup="latest", starting_deadline_sec=0.001)
    await place.scheduler.run_once(place.epoch)
    assert await place.runs(schedule) == []


async def test_skip_starts_nothing_while_the_run_before_is_under_way(place: Place) -> None:
    schedule = await place.schedule(0, interval_sec=1, overlap="skip")
    await place.scheduler.run_once(place.epoch)
    await _due_again(place, schedule)
    await place.scheduler.run_once(place.epoch)
    assert len(await place.runs(schedule)) == 1
    await place.finish_all()
    await _due_again(place, schedule)
    await place.scheduler.run_once(place.epoch)
    assert len(await place.runs(schedule)) == 2


async def test_queue_holds_a_fire_until_the_run_before_has_ended(place: Place) -> None:
    schedule = await place.schedule(120, overlap="queue", catchup="all")
    await place.scheduler.run_once(place.epoch)
    first = await place.runs(schedule)
    assert len(first) == 1
    await place.another().run_once(place.epoch)  # another process: it remembers nothing
    assert await place.runs(schedule) == first
    for count in (2, 3):
        await place.finish_all()
        await place.another().run_once(place.epoch)
        runs = await place.runs(schedule)
        assert len(runs) == count
        assert runs[-1] - runs[-2] == timedelta(minutes=1)


async def test_a_paused_schedule_and_one_of_an_archived_flow_do_not_fire(place: Place) -> None:
    paused = await place.schedule()
    async with place.db.transaction() as conn:
        await enable_schedule(conn, paused, False)
    assert not await place.scheduler.run_once(place.epoch)
    archived = await place.schedule()
    async with place.db.transaction() as conn:
        await archive_api_flow(conn, "timed")
    assert not await place.scheduler.run_once(place.epoch)
    assert await place.runs(paused) == await place.runs(archived) == []


async def test_inputs_that_no_longer_fit_are_told_and_hold_up_nobody(place: Place) -> None:
    broken = await place.schedule(inputs={"n": "many"})
    sound = await place.schedule()
    await place.scheduler.run_once(place.epoch)
    assert (await place.runs(broken), len(await place.runs(sound))) == ([], 1)
    async with place.db.connection() as conn:
        rows = {row.id: row for row in (await list_schedules(conn)).items}
    assert "`n`" in str(rows[broken].last_error)
    assert rows[broken].next_fire_at > rows[broken].now  # type: ignore[operator]
    assert rows[sound].last_error is None


async def test_jitter_delays_the_start_and_not_the_fire_time(place: Place) -> None:
    schedule = await place.schedule(0, interval_sec=86_400, jitter_sec=86_400.0, catchup="latest")
    await place.scheduler.run_once(place.epoch)
    (fire,) = await place.runs(schedule)
    async with place.db.connection() as conn:
        row = await (await conn.execute("SELECT ready_at FROM task_queue")).fetchone()
    assert row is not None
    assert row[0] == fire + jitter(schedule, fire, 86_400.0)
    assert timedelta(0) < row[0] - fire < timedelta(days=1)


async def test_a_batch_costs_the_same_statements_however_many_fires(place: Place) -> None:
    for _ in range(200):
        await place.schedule()
    executed = 0
    original = psycopg.AsyncConnection.execute

    async def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        nonlocal executed
        executed += 1
        return await original(self, *arguments, **named)

    psycopg.AsyncConnection.execute = counting  # type: ignore[method-assign]
    try:
        assert await place.scheduler.run_once(place.epoch)
    finally:
        psycopg.AsyncConnection.execute = original  # type: ignore[method-assign]
    assert executed <= 6, executed


async def _due_again(place: Place, schedule: UUID) -> None:
    async with place.db.transaction() as conn:
        await conn.execute(
            "UPDATE schedules SET next_fire_at = least(next_fire_at, now() + interval '1 second') WHERE id = %s",
            [schedule],
        )
    await asyncio.sleep(1.1)
