"""One leads, another follows when it cannot: ended, cut off, or asleep."""

from __future__ import annotations

import asyncio
import signal
import time
from itertools import pairwise
from pathlib import Path

import httpx
import psycopg

from automata.services.leader_election import Leader
from automata.store.leadership import LeaderLock
from tests.figures import note
from tests.promises.fleet import Member, fleet
from tests.promises.processes import environment, until

FAIL_OVER_SEC = 120.0  # 20 on a machine that is not busy; without a fail-over, never


async def _hold(epoch: int, stop: asyncio.Event) -> None:
    await stop.wait()


async def test_one_of_many_leads_and_the_next_has_a_higher_term(fresh_database_url: str) -> None:
    stops = [asyncio.Event() for _ in range(3)]
    leaders = [Leader(fresh_database_url, "test", _hold) for _ in stops]
    tasks = [asyncio.create_task(one.run(stop)) for one, stop in zip(leaders, stops, strict=True)]
    terms = []
    for _ in range(3):
        leading = await _wait_for_one(leaders)
        terms.append(leading.epoch)
        stops[leaders.index(leading)].set()
        await tasks[leaders.index(leading)]
    assert terms == [1, 2, 3]


async def _wait_for_one(leaders: list[Leader]) -> Leader:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        leading = [one for one in leaders if one.epoch is not None]
        assert len(leading) <= 1
        if leading:
            return leading[0]
        await asyncio.sleep(0.02)
    raise AssertionError("nobody leads")


async def test_a_session_that_is_cut_ends_the_term(fresh_database_url: str) -> None:
    stop, ended = asyncio.Event(), asyncio.Event()

    async def on_elected(epoch: int, stop: asyncio.Event) -> None:
        try:
            await stop.wait()
        finally:
            ended.set()

    leader = Leader(fresh_database_url, "test", on_elected)
    task = asyncio.create_task(leader.run(stop))
    await _wait_for_one([leader])
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'automata test seat'"
            " AND datname = current_database()"
        )
    async with asyncio.timeout(120):
        await ended.wait()
    await _wait_for_one([leader])
    stop.set()
    await task


async def test_a_silent_session_loses_the_seat(fresh_database_url: str) -> None:
    sleeping = await LeaderLock.open(fresh_database_url, "test")
    assert await sleeping.take("sleeping") == 1
    awake = await LeaderLock.open(fresh_database_url, "test")
    began = time.monotonic()
    while (term := await awake.take("awake")) is None:
        assert time.monotonic() - began < FAIL_OVER_SEC
        await asyncio.sleep(0.5)
    assert term == 2
    await awake.close()
    await sleeping.close()


def test_a_paused_scheduler_is_replaced_and_fires_nothing_twice(fresh_database_url: str, tmp_path: Path) -> None:
    env = environment(fresh_database_url)
    with fleet(Member("api", env), Member("scheduler", env), Member("scheduler", env)) as (api, one, other):
        spec = {"name": "often", "steps": [{"id": "s", "type": "transform", "config": {"mappings": {"n": 1}}}]}
        schedules = [{"name": "each", "interval_sec": 1, "catchup": "all"}]
        with httpx.Client(base_url=api.address, timeout=120) as client:
            client.put("/api/v1/flows/often", json={**spec, "schedules": schedules}).raise_for_status()
        until(lambda: _count(fresh_database_url) >= 2, "the schedule fires")
        paused = one if _leads(fresh_database_url, one) else other
        paused.signal(signal.SIGSTOP)
        before = _count(fresh_database_url)
        began = time.monotonic()
        until(lambda: _count(fresh_database_url) >= before + 3, "another scheduler has taken over", FAIL_OVER_SEC)
        print(f"fail-over {time.monotonic() - began:.1f} s")
        paused.signal(signal.SIGCONT)
        seen = _count(fresh_database_url)
        until(lambda: _count(fresh_database_url) >= seen + 3, "it goes on")
    with psycopg.connect(fresh_database_url) as conn:
        fires = [row[0] for row in conn.execute("SELECT scheduled_for FROM runs ORDER BY scheduled_for")]
    note({"schedule fires": len(fires), "duplicate fires": len(fires) - len(set(fires))})
    assert len(fires) == len(set(fires))
    gaps = {(later - earlier).total_seconds() for earlier, later in pairwise(fires)}
    assert gaps == {1.0}, "a fire was lost"


def _count(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM runs").fetchone()
    assert row is not None
    return int(row[0])


def _leads(url: str, member: Member) -> bool:
    assert member.process is not None
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT holder FROM leaders WHERE role = 'scheduler'").fetchone()
    assert row is not None
    return str(row[0]).endswith(f":{member.process.pid}")
