"""All workloads and peers in one go: writes build/bench/results.json and the table of docs/performance.md.

python -m benchmarks.everything [--quick] [--only one-step,peers,...]. The full run takes 15 to 20 minutes on two cores,
the quick one about three; only the full one on a machine with nothing else to do is worth keeping. A part that fails is
named in the results and holds up no other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from automata.store.embedded import start_embedded
from benchmarks import console, edges, past, peers, repository, scaleout
from benchmarks.__main__ import DATA, Bench, _fresh_database, _machine, _server, measure_alone
from benchmarks.probe import probe
from benchmarks.report import write

RESULTS = Path("build/bench/results.json")
PAGE = Path("docs/performance.md")
OURS = ("one-step", "chain", "pure", "fan-out", "wide", "idle", "idle-ten")


@dataclass
class Plan:
    quick: bool
    only: frozenset[str]
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def repeat(self) -> int:
        return 2 if self.quick else 5

    @property
    def scale(self) -> float:
        return 0.1 if self.quick else 1.0

    def part(self, name: str, play: Callable[[], Any]) -> None:
        if self.only and name not in self.only:
            return
        print(f"{name} ...", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            self.report[name] = play()
        except Exception as error:
            self.report[name] = {"failed": f"{type(error).__name__}: {error}"[:500]}
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        RESULTS.write_text(json.dumps(self.report, indent=1))

    def often(self, play: Callable[[], dict[str, float]]) -> dict[str, Any]:
        """Median, lowest and highest of each figure, over as many turns."""
        turns = [play() for _ in range(self.repeat)]
        return {name: spread([turn[name] for turn in turns]) for name in turns[0]}


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main(plan: Plan) -> dict[str, Any]:
    DATA.mkdir(parents=True, exist_ok=True)
    plan.report |= {"machine": _machine(), "quick": plan.quick, "repeat": plan.repeat}
    with start_embedded(DATA, settings={"shared_preload_libraries": "pg_stat_statements"}) as embedded:
        postmaster = psutil.Process(embedded.pid)
        url = _fresh_database(embedded.url)
        with _server(url) as (server, address):
            options = argparse.Namespace(repeat=plan.repeat, scale=plan.scale)
            bench = Bench(url, address, server, postmaster, options)
            for name in OURS:
                plan.part(name, lambda name=name: _with_probe(plan, embedded.url, lambda: measure_alone(bench, name)))
            calls = max(200, int(5000 * plan.scale))
            plan.part("calls", lambda: plan.often(lambda: edges.calls(url, address, calls)))
            plan.part("peers", lambda: _peers(plan, embedded.url, postmaster))
            crowd = int(100_000 * plan.scale)
            plan.part("fairness", lambda: edges.fairness(url, address, "noop", crowd, 20))
            plan.part("fairness-waiting", lambda: edges.fairness(url, address, "nap", crowd, 20))
        fresh = lambda: _fresh_database(embedded.url)  # noqa: E731 - read once, here
        singles, batches = max(500, int(5000 * plan.scale)), max(3, int(20 * plan.scale))
        plan.part("intake", lambda: plan.often(lambda: edges.intake(fresh(), singles, batches)))
        plan.part("schedule", lambda: scaleout.lateness(fresh(), 1))
        plan.part("schedules", lambda: scaleout.lateness(fresh(), max(100, int(1000 * plan.scale))))
        plan.part("start", lambda: plan.often(lambda: edges.cold_start(fresh())))
        runs = int(100_000 * plan.scale)
        plan.part("console", lambda: asyncio.run(console.measure(fresh(), runs)))
    plan.part("first-start", lambda: plan.often(lambda: edges.cold_start(None)))
    plan.part("past", lambda: past.main(int(1_000_000 * plan.scale), plan.repeat))
    plan.part("repository", lambda: repository.main(int(1000 * plan.scale), int(2000 * plan.scale), 5))
    return plan.report


def _with_probe(plan: Plan, url: str, play: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    before = probe(url, 1 if plan.quick else 3)
    done = play()
    return done | {"probe_per_sec": statistics.mean((before, probe(url, 1 if plan.quick else 3)))}


def _peers(plan: Plan, url: str, postmaster: psutil.Process) -> dict[str, Any]:
    python = peers.install()
    found: dict[str, Any] = {}
    for work in peers.WORKS:
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in peers.PEERS}
        tps = []
        for _ in range(plan.repeat):
            tps.append(probe(url, 1))
            for name in peers.PEERS:
                turns[name].append(peers.measure(python, url, postmaster, name, work, plan.scale))
        for name, made in turns.items():
            middle = sorted(made, key=lambda one: one["runs_per_sec"])[len(made) // 2]
            rates = spread([one["runs_per_sec"] for one in made])
            found[f"{name} {work}"] = middle | {"runs_per_sec": rates, "probe_per_sec": statistics.median(tps)}
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.everything", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, two turns: does it work at all")
    parser.add_argument("--only", default="", help="parts, with commas")
    parser.add_argument("--no-page", action="store_true", help="leave docs/performance.md alone")
    given = parser.parse_args()
    outcome = main(Plan(given.quick, frozenset(name for name in given.only.split(",") if name)))
    text = write(outcome, None if given.no_page or given.only else PAGE)
    print(text)
