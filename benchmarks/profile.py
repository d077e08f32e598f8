"""Where the time of a step goes: `python -m benchmarks.profile idle --scale 0.5` prints Python by function and SQL by
statement, in microseconds a step.

Python's own profiler makes what calls much look dearer than it is (about twice), so shares count, not sums. SQL is what
PostgreSQL says that its statements took, without parsing, network and commits.
"""

from __future__ import annotations

import argparse
import asyncio
import pstats
import re
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil

from automata.store.database import Database
from automata.store.embedded import start_embedded
from benchmarks import workloads
from benchmarks.__main__ import DATA, _fresh_database, _server, cases

_LOADING = (
    "<built-in method builtins.exec",
    "<built-in method builtins.compile",
    "<built-in method marshal",
    "<built-in method builtins.__build",
    "<built-in method _imp",
    "<built-in method gc.",
)
_TOP = """
SELECT query, calls, total_exec_time AS ms, rows FROM pg_stat_statements
JOIN pg_database ON oid = dbid WHERE datname = current_database() ORDER BY total_exec_time DESC LIMIT %s
"""


def main(name: str, scale: float, top: int) -> str:
    _, spec, work = cases(scale)[name]
    with (
        start_embedded(DATA, settings={"shared_preload_libraries": "pg_stat_statements"}) as embedded,
        tempfile.TemporaryDirectory() as place,
    ):
        url, made = _fresh_database(embedded.url), Path(place) / "profile"

        async def play(address: str, process: psutil.Process) -> tuple[int, float, list[Any]]:
            async with await Database.open(url) as db:
                await work(db, address, await workloads.install(db, spec | {"name": f"{name}-before"}))
                async with db.connection() as conn:
                    await conn.execute("SELECT pg_stat_statements_reset()")
                done = await work(db, address, await workloads.install(db, spec))
                async with db.connection() as conn:
                    return done.steps, done.seconds, await (await conn.execute(_TOP, [top])).fetchall()

        with _server(url, profile=made) as (process, address):
            steps, seconds, statements = asyncio.run(play(address, process))
        stats = pstats.Stats(str(made))
    lines = [f"{name}: {steps} steps in {seconds:.2f} s", "", "| SQL | calls a step | us a step | rows a step |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [
        f"| {_short(q)} | {calls / steps:.3f} | {1000 * ms / steps:.0f} | {rows / steps:.2f} |"
        for q, calls, ms, rows in statements
    ]
    lines += ["", "| Python, by part | share of its time |", "| --- | --- |"]
    lines += [f"| {part} | {share:.0%} |" for part, share in _parts(stats)]
    # Both turns ran under the profiler.
    lines += ["", "| Python | calls a step | own us a step | with what it calls |", "| --- | --- | --- | --- |"]
    entries = sorted(stats.stats.items(), key=lambda one: -one[1][2])  # type: ignore[attr-defined]
    for (file, line, function), (_, calls, own, whole, _) in entries[:top]:
        where = f"{_place(file)}:{line} {function}"
        per = 1e6 / (2 * steps)
        lines.append(f"| {where} | {calls * per / 1e6:.2f} | {own * per:.0f} | {whole * per:.0f} |")
    return "\n".join(lines)


def _parts(stats: pstats.Stats) -> list[tuple[str, float]]:
    """Own time by package; what is built in counts for whoever called it, and imports and waiting for nobody."""
    own: dict[str, float] = defaultdict(float)
    for (file, _, name), (_, _, took, _, callers) in stats.stats.items():  # type: ignore[attr-defined]
        if file != "~":
            own[_part(file, name)] += took
        elif not name.startswith(_LOADING):
            for (caller, _, by), (_, _, part, _) in callers.items():
                own[_part(caller, by)] += part
    own.pop("", None)
    whole = sum(own.values())
    return [(part, took / whole) for part, took in sorted(own.items(), key=lambda one: -one[1])[:14]]


def _part(file: str, name: str) -> str:
    place = _place(file)
    # A loop that sleeps is charged with what it slept.
    if place.startswith(("asyncio/runners", "<frozen", "importlib", "<")) or name in ("_claim_loop", "run"):
        return ""
    words = place.removeprefix("site-packages/").removeprefix(f"{Path.cwd()}/").split("/")
    return "/".join(words[:2]) if words[0] == "automata" else words[0].removesuffix(".py")


def _short(query: str) -> str:
    return re.sub(r"\s+", " ", query)[:90].replace("|", "/")


def _place(file: str) -> str:
    return re.sub(r"^.*?/(site-packages|lib/python3\.\d+)/", "", file) if "/" in file else file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("workload", choices=sorted(cases(1)))
    parser.add_argument("--scale", type=float, default=0.5)
    parser.add_argument("--top", type=int, default=40)
    given = parser.parse_args()
    print(main(given.workload, given.scale, given.top))
