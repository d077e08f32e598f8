"""What an `http` step costs when one, two and four processes work side by side, and what it costs to forget it."""

from __future__ import annotations

import asyncio
import statistics
import sys
from contextlib import ExitStack
from typing import Any

import psutil
import psycopg

from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.retention import BEFORE_ALL, prune_batch
from benchmarks import counters, workloads
from benchmarks.__main__ import DATA, _fresh_database, _machine, _server
from benchmarks.scaleout import slow_service

CREWS = (1, 2, 4)
RUNS, CHAIN, TURNS = 500, 10, 3
CALL_SEC = 0.05


def measure() -> dict[str, Any]:
    """`machine`, the `crews` by their number of processes, and the `costs` of benchmarks/scale.py."""
    with start_embedded(DATA, settings={"shared_preload_libraries": "pg_stat_statements"}) as embedded:
        postmaster = psutil.Process(embedded.pid)
        with slow_service(CALL_SEC) as service:
            crews = {count: _crew(_fresh_database(embedded.url), postmaster, service, count) for count in CREWS}
        url = _fresh_database(embedded.url)
        with slow_service(CALL_SEC) as service:
            _crew(url, postmaster, service, 1)
        disk, forget = _size(url), asyncio.run(_forget(url, postmaster))
    steps = (TURNS + 1) * RUNS * CHAIN
    alone = crews[1]
    costs = {name: alone[name] for name in ("services_us", "postgres_us", "row_writes", "wal_bytes")}
    growth = [(count - 1, crews[count]["postgres_us"] / alone["postgres_us"] - 1) for count in CREWS[1:]]
    beside = max(0.0, statistics.mean(grown / more for more, grown in growth))
    costs |= {"disk_bytes": disk / steps, "forget_us": 1e6 * forget / steps, "beside": beside}
    return {"machine": _machine(), "crews": crews, "costs": {name: round(value, 4) for name, value in costs.items()}}


def _crew(url: str, postmaster: psutil.Process, service: str, count: int) -> dict[str, float]:
    print(f"{count} process(es) ...", file=sys.stderr, flush=True)
    with ExitStack() as on:
        first, address = on.enter_context(_server(url, None, "first"))
        others = [on.enter_context(_server(url, None, "helper"))[0] for _ in range(count - 1)]
        turns = [asyncio.run(_turn(url, postmaster, address, service, first, others, n)) for n in range(TURNS + 1)]
    # The first turn is for plans, pools and caches.
    return {name: round(statistics.median(turn[name] for turn in turns[1:]), 2) for name in turns[0]}


async def _turn(
    url: str,
    postmaster: psutil.Process,
    address: str,
    service: str,
    first: psutil.Process,
    others: list[psutil.Process],
    number: int,
) -> dict[str, float]:
    async with await Database.open(url) as db:
        subject = await workloads.install(db, _flow(f"calls-{number}", service))
        beside = sum(map(_cpu, others))
        before = await counters.read(db, first, postmaster)
        done = await workloads.throughput(db, address, subject, RUNS, CHAIN)
        await asyncio.sleep(1.2)  # backends report their counters about once a second
        cost = await counters.read(db, first, postmaster) - before
        beside = sum(map(_cpu, others)) - beside
    return {
        "steps_per_sec": done.steps / done.seconds,
        "services_us": 1e6 * (cost.server_cpu_sec + beside) / done.steps,
        "postgres_us": 1e6 * cost.postgres_cpu_sec / done.steps,
        "row_writes": cost.row_writes / done.steps,
        "wal_bytes": cost.wal_bytes / done.steps,
    }


def _flow(name: str, service: str) -> dict[str, Any]:
    steps = [
        {"id": f"s{n}", "type": "http", "config": {"url": service}, "outputs": {"ok": True}}
        | ({"depends_on": [f"s{n - 1}"]} if n else {})
        for n in range(CHAIN)
    ]
    return {"name": name, "steps": steps}


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _size(url: str) -> int:
    """Bytes of what stays, with its indexes."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname <> 'task_queue'"
        ).fetchone()
    return int(row[0]) if row else 0


async def _forget(url: str, postmaster: psutil.Process) -> float:
    """Seconds of PostgreSQL's processors to delete all that ended, and to clean up behind it."""
    async with await Database.open(url) as db:
        before, after = counters._family_cpu(postmaster), BEFORE_ALL
        while True:
            async with db.transaction() as conn:
                swept = await prune_batch(conn, 0, after)
            if swept.after is None:
                break
            after = swept.after
        async with db.connection() as conn:
            await conn.execute("VACUUM")
        await asyncio.sleep(1.2)
    return counters._family_cpu(postmaster) - before
