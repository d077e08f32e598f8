"""What a long past costs: the same work beside 10,000 finished runs and beside 1,000,000, and the disk of a step.

python -m benchmarks.past [--runs 1000000] [-o json]. The two are measured in turns, and ratios count. `pages` of the
database that one call of a statement touches say without noise whether it reads more when there is more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psycopg
from rich.console import Console
from rich.table import Table

from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.sql import statement
from benchmarks import workloads
from benchmarks.__main__ import DATA, _fresh_database, _server
from benchmarks.history import fill, name_flows

SMALL = 10_000  # finished runs
OF_RUN = 2  # steps
RUNS = 300  # that are measured beside them
CHAIN = 10
LISTS = {"newest runs": {}, "of one flow": {"flow": "past-7"}, "failed ones": {"status": "FAILED"}}
LOOKS = 20
STATEMENTS = (
    "claim_tasks",
    "enqueue_claimed",
    "complete_tasks_under_lock",
    "take_wakeups",
    "load_snapshots",
    "finish_runs",
    "seconds_to_next_due",
)
# What pg_stat_statements may have replaced: a statement that it saw being parsed has no constants any more.
VARIABLE = re.compile(r"%\(\w+\)s|E?'[^']*'|\b(?:\d+|NULL|true|false|epoch)\b")


@dataclass
class Side:
    """One database with its past, and a server on it."""

    past: int
    url: str
    address: str
    rates: list[float] = field(default_factory=list)
    lists: dict[str, list[float]] = field(default_factory=dict)

    async def turn(self, number: int) -> None:
        async with await Database.open(self.url) as db:
            subject = await workloads.install(db, workloads.chain(f"chain-{number}", CHAIN))
            done = await workloads.throughput(db, self.address, subject, RUNS, CHAIN)
        self.rates.append(done.steps / done.seconds)
        async with aiohttp.ClientSession(base_url=self.address, raise_for_status=True) as http:
            for name, query in LISTS.items():
                self.lists.setdefault(name, []).extend([await _look(http, query) for _ in range(LOOKS)])

    def size(self) -> int:
        """Bytes of all our tables with their indexes."""
        with psycopg.connect(self.url, autocommit=True) as conn:
            row = conn.execute(
                "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname <> 'task_queue'"
            ).fetchone()
        return int(row[0]) if row else 0

    def forget(self) -> None:
        """What comes now counts."""
        self.rates.clear()
        self.lists.clear()
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_stat_statements_reset(dbid => oid) FROM pg_database WHERE datname = current_database()"
            )

    def statements(self) -> dict[str, dict[str, float]]:
        with psycopg.connect(self.url) as conn:
            return {name: _cost(conn, name) for name in STATEMENTS}


async def _look(http: aiohttp.ClientSession, query: dict[str, str]) -> float:
    """Milliseconds of one page of a list over REST."""
    began = time.perf_counter()
    async with http.get("/api/v1/runs", params={"limit": "50", **query}) as answer:
        await answer.read()
    return 1000 * (time.perf_counter() - began)


def _cost(conn: psycopg.Connection[Any], name: str) -> dict[str, float]:
    """Of a call: milliseconds in the server, pages touched, rows returned."""
    body = "\n".join(line for line in statement(name).splitlines() if not line.startswith("--"))
    kept = (part.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%") for part in VARIABLE.split(body))
    row = conn.execute(
        "SELECT sum(calls), sum(total_exec_time), sum(shared_blks_hit + shared_blks_read), sum(rows)"
        " FROM pg_stat_statements"
        " WHERE query LIKE %s AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        ["%".join(kept)],
    ).fetchone()
    if row is None or not row[0]:
        raise RuntimeError(f"{name} was never called, or its text is not found again")
    calls, took, pages, rows = (float(value) for value in row)
    return {"ms": took / calls, "pages": pages / calls, "rows": rows / calls}


def main(runs: int, repeat: int) -> dict[str, Any]:
    with (
        start_embedded(DATA, settings={"shared_preload_libraries": "pg_stat_statements"}) as embedded,
        ExitStack() as on,
    ):
        sides = []
        for past in (SMALL, runs):
            url = _fresh_database(embedded.url)
            print(f"writing {past:,} finished runs ...", file=sys.stderr, flush=True)
            with psycopg.connect(url, autocommit=True) as conn:
                fill(conn, OF_RUN * past, queued=0, of_run=OF_RUN)
                name_flows(conn)
                conn.execute("VACUUM")
            sides.append(Side(past, url, on.enter_context(_server(url))[1]))
        for number in range(repeat + 1):
            for side in sides:
                asyncio.run(side.turn(number))
            if number == 0:  # warm; what counts begins here
                for side in sides:
                    side.forget()
                before = sides[0].size()
            print(f"turn {number} of {repeat}", file=sys.stderr, flush=True)
        small, large = (
            {
                "past": side.past,
                "steps_per_sec": statistics.median(side.rates),
                "list_ms": {name: statistics.median(taken) for name, taken in side.lists.items()},
            }
            for side in sides
        )
        grown = (sides[0].size() - before) / (repeat * RUNS * CHAIN)
        costs = [side.statements() for side in sides]
    ratio = large["steps_per_sec"] / small["steps_per_sec"]
    return {
        "small": small,
        "large": large,
        "ratio": ratio,
        "disk_bytes_a_step": grown,
        "statements": dict(zip(("small", "large"), costs, strict=True)),
    }


def tables(report: dict[str, Any]) -> list[Table]:
    speed = Table(title=f"{RUNS} runs of {CHAIN} chained steps, in turns")
    for column in ("finished runs", "steps/s", *(f"{name}, ms" for name in LISTS)):
        speed.add_column(column, justify="right")
    for side in ("small", "large"):
        one = report[side]
        lists = (f"{one['list_ms'][name]:.1f}" for name in LISTS)
        speed.add_row(f"{one['past']:,}", f"{one['steps_per_sec']:,.0f}", *lists)
    speed.add_row("ratio", f"{report['ratio']:.2f}")
    speed.caption = f"{report['disk_bytes_a_step']:,.0f} bytes on the disk a step, with its share of the run"
    calls = Table(title="one call of a statement")
    for column in ("statement", "ms", "ms", "ratio", "pages", "pages", "ratio"):
        calls.add_column(column, justify="left" if column == "statement" else "right")
    for name in STATEMENTS:
        a, b = (report["statements"][side][name] for side in ("small", "large"))
        cells = [(f"{a[unit]:.2f}", f"{b[unit]:.2f}", f"{b[unit] / a[unit]:.2f}") for unit in ("ms", "pages")]
        calls.add_row(name, *cells[0], *cells[1])
    return [speed, calls]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.past", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="finished runs of the long past")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side (default 5)")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args()
    outcome = main(given.runs, given.repeat)
    if given.output == "json":
        print(json.dumps(outcome, indent=2))
    else:
        for shown in tables(outcome):
            Console(width=None if sys.stdout.isatty() else 200).print(shown)
