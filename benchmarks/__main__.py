"""Run the workloads and print a table (or JSON with -o json). The database is the embedded one, in a folder of its own.

Every workload runs `--repeat` times; the median is shown with the lowest and the highest. Figures depend on the
machine: compare figures of one run with each other, not with those of another day.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
from rich.console import Console
from rich.table import Table

from automata.store import migrate
from automata.store.database import Database
from automata.store.embedded import start_embedded
from benchmarks import counters, workloads
from benchmarks.workloads import Measured, Subject

DATA = Path("build/bench")
Work = Callable[[Database, str, Subject], Awaitable[Measured]]


def cases(scale: float) -> dict[str, tuple[str, dict[str, Any], Work]]:
    """Name -> (what it is, the flow, how it is driven)."""
    runs = max(100, int(10_000 * scale))
    chains = max(20, int(1_000 * scale))
    samples = max(20, int(200 * scale))

    def load(count: int, steps: int) -> Work:
        return lambda db, address, subject: workloads.throughput(db, address, subject, count, steps)

    def idle(db: Database, address: str, subject: Subject) -> Awaitable[Measured]:
        return workloads.latency(address, subject, samples)

    wide = max(500, int(10_000 * scale))

    return {
        "one-step": (f"{runs} runs of one step", workloads.chain("one-step", 1), load(runs, 1)),
        "chain": (f"{chains} runs of 10 chained steps", workloads.chain("chain", 10), load(chains, 10)),
        "pure": (f"{chains} runs of 10 transforms", workloads.chain("pure", 10, "transform"), load(chains, 10)),
        "fan-out": ("1 run of 1,000 parallel steps and a join", workloads.fan_out("fan-out", 1000), load(1, 1000)),
        "wide": (f"1 run of {wide:,} items and a step behind them", workloads.wide("wide", wide), load(1, wide)),
        "idle-ten": (f"{samples} single runs of ten steps", workloads.chain("idle-ten", 10), idle),
        "idle": (f"{samples} single runs over REST, one at a time", workloads.chain("idle", 1), idle),
    }


def main(options: argparse.Namespace) -> dict[str, Any]:
    settings = {"shared_preload_libraries": "pg_stat_statements"}
    with start_embedded(DATA, settings=settings) as embedded:
        url = _fresh_database(embedded.url)
        postmaster = psutil.Process(embedded.pid)
        report: dict[str, Any] = {"machine": _machine(), "workloads": {}}
        with _server(url) as (server, address):
            time.sleep(2)  # what runs once after a start is over by then
            report["idle_rss_mib"] = round(server.memory_info().rss / 2**20, 1)
            asyncio.run(_measure_all(Bench(url, address, server, postmaster, options), report["workloads"]))
            report["busy_rss_mib"] = round(server.memory_info().rss / 2**20, 1)
    return report


@dataclass(frozen=True, slots=True)
class Bench:
    url: str
    address: str
    server: psutil.Process
    postmaster: psutil.Process
    options: argparse.Namespace


async def _measure_all(bench: Bench, results: dict[str, Any]) -> None:
    only = [name for name in bench.options.only.split(",") if name]
    async with await Database.open(bench.url) as db:
        for name, (title, spec, work) in cases(bench.options.scale).items():
            if not only or name in only:
                print(f"{name}: {title} ...", file=sys.stderr, flush=True)
                results[name] = {"title": title} | await _measure(bench, db, spec, work)


def measure_alone(bench: Bench, name: str) -> dict[str, Any]:
    """One workload by its name."""
    title, spec, work = cases(bench.options.scale)[name]

    async def play() -> dict[str, Any]:
        async with await Database.open(bench.url) as db:
            return {"title": title} | await _measure(bench, db, spec, work)

    return asyncio.run(play())


async def _measure(bench: Bench, db: Database, spec: dict[str, Any], work: Work) -> dict[str, Any]:
    rates: list[float] = []
    seconds: list[float] = []
    for turn in range(bench.options.repeat):
        subject = await workloads.install(db, spec | {"name": f"{spec['name']}-{turn}"})
        before = await counters.read(db, bench.server, bench.postmaster)
        done = await work(db, bench.address, subject)
        await asyncio.sleep(1.2)  # backends report their counters about once a second
        cost = await counters.read(db, bench.server, bench.postmaster) - before
        rates.append(done.steps / done.seconds)
        seconds.append(done.seconds)
    result: dict[str, Any] = {
        "runs": done.runs,
        "steps": done.steps,
        "seconds": _spread(seconds),
        "runs_per_sec": _spread([rate * done.runs / done.steps for rate in rates]),
        "steps_per_sec": _spread(rates),
        "per_step": {name: round(getattr(cost, name) / done.steps, 6) for name in cost.__slots__},
    }
    if done.samples_ms:
        names = ("p50_ms", "p95_ms", "p99_ms")
        result |= dict(zip(names, (round(one, 2) for one in workloads.quantiles(done.samples_ms)), strict=True))
    return result


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def _fresh_database(url: str) -> str:
    name = f"bench_{uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    fresh = url.replace("/automata?", f"/{name}?")
    assert fresh != url, url
    migrate.upgrade(fresh)
    with psycopg.connect(fresh, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION pg_stat_statements")
    return fresh


@contextlib.contextmanager
def _server(url: str, profile: Path | None = None, *role: str) -> Iterator[tuple[psutil.Process, str]]:
    watched = ["-m", "cProfile", "-o", str(profile)] if profile else []
    words = [sys.executable, *watched, "-m", "benchmarks.server", url, *role]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        if not address:
            raise RuntimeError("the server did not start")
        yield psutil.Process(process.pid), address
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def _machine() -> dict[str, Any]:
    return {"cores": psutil.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30)}


def table(report: dict[str, Any]) -> Table:
    shown = Table(title=f"{report['machine']['cores']} cores, {report['machine']['memory_gib']} GiB")
    for column in ("workload", "runs/s", "steps/s", "seconds (min-max)", "p50 / p95 ms"):
        shown.add_column(column, justify="left" if column == "workload" else "right")
    for column in ("statements", "row writes", "commits", "WAL bytes", "CPU ms"):
        shown.add_column(f"{column} a step", justify="right")
    for one in report["workloads"].values():
        cost = one["per_step"]
        seconds = one["seconds"]
        shown.add_row(
            one["title"],
            f"{one['runs_per_sec']['median']:,.0f}",
            f"{one['steps_per_sec']['median']:,.0f}",
            f"{seconds['median']:.2f} ({seconds['min']:.2f}-{seconds['max']:.2f})",
            f"{one['p50_ms']} / {one['p95_ms']}" if "p50_ms" in one else "",
            *(f"{cost[name]:.2f}" for name in ("statements", "row_writes", "commits")),
            f"{cost['wal_bytes']:,.0f}",
            f"{1000 * (cost['server_cpu_sec'] + cost['postgres_cpu_sec']):.2f}",
        )
    return shown


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="size of the workloads; 0.1 is a quick look")
    parser.add_argument("--repeat", type=int, default=3, help="times that each workload runs (default 3)")
    parser.add_argument("--only", default="", help="names, with commas: one-step,chain,pure,fan-out,wide,idle,idle-ten")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args()
    outcome = main(given)
    if given.output == "json":
        print(json.dumps(outcome, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 200).print(table(outcome))
        print(f"memory of the server: {outcome['idle_rss_mib']} MiB idle, {outcome['busy_rss_mib']} MiB after the work")
