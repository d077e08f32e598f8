"""What more workers bring, what many calls weigh, how late schedules fire: separate processes, real calls.

python -m benchmarks.scaleout [--scale 1.0] [-o json]. Ratios count: compare figures of one run with each other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.new_runs import NewRun, create_runs
from benchmarks.__main__ import _fresh_database

CALL_SEC = 0.2
SLOTS = 50  # of one worker: few enough that waiting, not this machine's processors, is what limits
MANY = 2_000


@contextmanager
def part(name: str, url: str, *options: str) -> Iterator[tuple[psutil.Process, str]]:
    env = {**os.environ, "AUTOMATA_DATABASE_URL": url, "AUTOMATA_ALLOW_LOOPBACK": "1", "AUTOMATA_LOG_LEVEL": "error"}
    process = subprocess.Popen(
        [sys.executable, "-m", "automata", name, "--port", "0", "-o", "json", *options],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = json.loads(process.stdout.readline())["url"]
        until = time.monotonic() + 30
        while httpx.get(f"{address}/readyz").status_code != 200:
            assert time.monotonic() < until, f"{name} is not ready"
            time.sleep(0.05)
        yield psutil.Process(process.pid), address
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


@contextmanager
def slow_service(seconds: float) -> Iterator[str]:
    """A service whose answers take so long, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.slow", str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def install(address: str, name: str, service: str, **more: Any) -> str:
    step = {"id": "call", "type": "http", "config": {"url": service}, "outputs": {"ok": True}}
    answer = httpx.put(f"{address}/api/v1/flows/{name}", json={"name": name, "steps": [step], **more}, timeout=30)
    answer.raise_for_status()
    return name


async def burst(url: str, address: str, flow: str, runs: int) -> float:
    """Seconds from the first insert to the last result."""
    async with await Database.open(url) as db:
        async with db.connection() as conn:
            cursor = await conn.execute("SELECT id, current_version_id FROM flows WHERE name = %s", [flow])
            row = await cursor.fetchone()
        assert row is not None
        began = time.perf_counter()
        async with db.transaction() as conn:
            await create_runs(conn, [NewRun(row[0], row[1], {}, "bench") for _ in range(runs - 1)])
        async with httpx.AsyncClient(timeout=30) as client:  # its bell wakes the orchestrator for all of them
            (await client.post(f"{address}/api/v1/flows/{flow}/runs", json={"inputs": {}})).raise_for_status()
        while await _count(db, row[0]) < runs:  # noqa: ASYNC110 - another process finishes them
            await asyncio.sleep(0.02)
        return time.perf_counter() - began


async def _count(db: Database, flow: Any) -> int:
    async with db.connection() as conn:
        cursor = await conn.execute("SELECT count(*) FROM run_results WHERE flow_id = %s", [flow])
        row = await cursor.fetchone()
    return int(row[0]) if row else 0


def workers(url: str, runs: int) -> dict[str, Any]:
    """The same calls with one worker and with two."""
    rates = {}
    with slow_service(CALL_SEC) as service, part("api", url) as (_, address), part("orchestrator", url):
        for count in (1, 2):
            flow = install(address, f"calls-{count}", service)
            options = ("--concurrency", str(SLOTS))
            with part("worker", url, *options):
                if count == 1:
                    rates[count] = runs / asyncio.run(burst(url, address, flow, runs))
                    continue
                with part("worker", url, *options):
                    rates[count] = runs / asyncio.run(burst(url, address, flow, runs))
    return {"calls": runs, "one_per_sec": rates[1], "two_per_sec": rates[2], "ratio": rates[2] / rates[1]}


def many_calls(url: str, count: int) -> dict[str, Any]:
    """Memory of one worker with so many one-second calls under way."""
    with (
        slow_service(1.0) as service,
        part("api", url) as (_, address),
        part("orchestrator", url),
        part("worker", url, "--concurrency", str(count)) as (worker, _),
    ):
        idle = worker.memory_info().rss
        peak = idle
        flow = install(address, "many", service)

        async def watch(task: asyncio.Task[float]) -> float:
            nonlocal peak
            while not task.done():
                peak = max(peak, worker.memory_info().rss)
                await asyncio.sleep(0.05)
            return await task

        async def play() -> float:
            return await watch(asyncio.create_task(burst(url, address, flow, count)))

        seconds = asyncio.run(play())
    return {"calls": count, "seconds": seconds, "idle_mib": idle / 2**20, "peak_mib": peak / 2**20}


def lateness(url: str, count: int) -> dict[str, Any]:
    """How long after their common fire time `count` schedules had their runs written."""
    with part("api", url) as (_, address), part("scheduler", url):
        steps = [{"id": "s", "type": "transform", "config": {"mappings": {"n": 1}}}]
        httpx.put(f"{address}/api/v1/flows/timed", json={"name": "timed", "steps": steps}, timeout=30)
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(
                "INSERT INTO schedules (flow_id, name, origin, spec, enabled, next_fire_at)"
                " SELECT flows.id, 's' || n, 'api', jsonb_build_object('name', 's' || n, 'interval_sec', 10), true,"
                " to_timestamp(ceil((extract(epoch FROM now()) + 3) / 10) * 10)"
                " FROM flows, generate_series(1, %s) AS n WHERE flows.name = 'timed'",
                [count],
            )
            due = conn.execute("SELECT min(next_fire_at), min(next_fire_at) - now() FROM schedules").fetchone()
            assert due is not None
            time.sleep(due[1].total_seconds() + 5)
            rows = conn.execute("SELECT created_at FROM runs WHERE scheduled_for = %s", [due[0]]).fetchall()
    late = sorted((row[0] - due[0]).total_seconds() for row in rows)
    cuts = statistics.quantiles(late, n=20) if len(late) > 1 else [0.0] * 19
    return {"schedules": count, "fired": len(late), "p50_sec": statistics.median(late or [0]), "p95_sec": cuts[18]}


def main(scale: float) -> dict[str, Any]:
    with start_embedded(Path("build/bench")) as embedded:
        fresh = [_fresh_database(embedded.url) for _ in range(3)]
        print("workers: the same calls with one and with two ...", file=sys.stderr, flush=True)
        report: dict[str, Any] = {"workers": workers(fresh[0], int(2_000 * scale))}
        print(f"many: {int(MANY * scale):,} calls of a second on one worker ...", file=sys.stderr, flush=True)
        report["many"] = many_calls(fresh[1], int(MANY * scale))
        print("lateness: schedules due in one second ...", file=sys.stderr, flush=True)
        report["lateness"] = lateness(fresh[2], int(1_000 * scale))
    return report


def table(report: dict[str, Any]) -> Table:
    shown = Table("what", "figure", title="Scale-out")
    w, m, late = report["workers"], report["many"], report["lateness"]
    calls = f"{w['calls']:,} calls of {CALL_SEC} s, {SLOTS} at a time a worker"
    shown.add_row(f"{calls}: one worker", f"{w['one_per_sec']:.0f}/s")
    shown.add_row(f"{calls}: two workers", f"{w['two_per_sec']:.0f}/s ({w['ratio']:.2f} times)")
    shown.add_row(f"{m['calls']:,} calls of 1 s at once on one worker", f"{m['seconds']:.2f} s")
    shown.add_row("its memory, idle and at most", f"{m['idle_mib']:.0f} MiB, {m['peak_mib']:.0f} MiB")
    late_text = f"p50 {late['p50_sec']:.2f} s, p95 {late['p95_sec']:.2f} s ({late['fired']:,} fired)"
    shown.add_row(f"lateness of {late['schedules']:,} schedules due in one second", late_text)
    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaleout", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the workloads")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args()
    outcome = main(given.scale)
    if given.output == "json":
        print(json.dumps(outcome, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 140).print(table(outcome))
