"""What a PostgreSQL of some size carries and what gives way first as the load grows: docs/scaling.md.

python -m benchmarks.scale [--outputs BYTES] [--steps-a-day N] [--write] calculates from benchmarks/costs.json.
python -m benchmarks.scale --measure measures these costs first (two minutes): chains of `http` steps by one, two and
four processes, and the end of their history. Change the numbers below to your case: this file is all there is to it.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.crews import measure

COSTS = Path(__file__).with_name("costs.json")
PAGE = Path("docs/scaling.md")
BEGIN, END = "<!-- figures: made by python -m benchmarks.scale --write -->", "<!-- end of figures -->"

BUSY = 0.7  # of a processor, above which what arrives unevenly waits
DAY = 86_400
PEAK = 4  # times the day's mean, in its busiest minutes
KEPT_DAYS = 30
CONNECTIONS = 10  # of a process: AUTOMATA_POOL_SIZE and two
MAX_CONNECTIONS = 500  # of one PostgreSQL: each is a process of the server
MAX_LOG = 150  # MB/s that its disk, its archive and a standby keep up with
CORES = (2, 4, 8, 16, 32, 64)
TIMES = (1, 10, 100, 1_000, 10_000)
ONE_MACHINE = 8  # processors for PostgreSQL and services together
ONE_DISK = 4e12  # bytes of history that one still wants to restore from a backup


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one `http` step with its share of the run: processor microseconds, rows, bytes.

    `forget_us`: to delete it when its time is over. `beside`: by what part each further process makes a step dearer
    for PostgreSQL.
    """

    services_us: float
    postgres_us: float
    forget_us: float
    row_writes: float
    wal_bytes: float
    disk_bytes: float
    beside: float

    def postgres(self, processes: int) -> float:
        return self.postgres_us * (1 + self.beside * (processes - 1)) + self.forget_us

    def processes(self, steps_per_sec: float) -> int:
        """How many the services need, of a processor each."""
        return max(1, math.ceil(steps_per_sec * self.services_us / (BUSY * 1e6)))

    def cores(self, steps_per_sec: float) -> float:
        """Processors that PostgreSQL needs for it."""
        return steps_per_sec * self.postgres(self.processes(steps_per_sec)) / (BUSY * 1e6)


def ceilings(costs: Costs, cores: int) -> dict[str, float]:
    """Steps a second that one PostgreSQL bears, by what it runs out of."""
    most = MAX_CONNECTIONS // CONNECTIONS
    low, high = 0.0, BUSY * cores * 1e6 / costs.postgres(1)
    for _ in range(60):  # more steps need more processes, and these may make a step dearer
        middle = (low + high) / 2
        low, high = (middle, high) if costs.cores(middle) <= cores else (low, middle)
    return {
        "processors": low,
        "connections": most * BUSY * 1e6 / costs.services_us,
        "log": MAX_LOG * 1e6 / costs.wal_bytes,
    }


def size(costs: Costs, cores: int) -> dict[str, Any]:
    limits = ceilings(costs, cores)
    bound = min(limits, key=limits.__getitem__)
    rate = limits[bound]
    processes = costs.processes(rate)
    return {
        "cores": cores,
        "bound": bound,
        "steps_per_sec": rate,
        "processes": processes,
        "wal_mb_per_sec": rate * costs.wal_bytes / 1e6,
        "connections": CONNECTIONS * processes,
    }


def load(costs: Costs, steps_a_day: float) -> dict[str, Any]:
    peak = PEAK * steps_a_day / DAY
    kept = KEPT_DAYS * steps_a_day * costs.disk_bytes
    return {
        "steps_a_day": steps_a_day,
        "peak_per_sec": peak,
        "processes": costs.processes(peak),
        "cores": costs.cores(peak),
        "wal_mb_per_sec": peak * costs.wal_bytes / 1e6,
        "kept_gb": kept / 1e9,
        "gives_way": gives_way(costs, peak, kept),
    }


def gives_way(costs: Costs, peak: float, kept: float) -> str:
    """What has to be divided for it, the cheapest first; each includes those before it."""
    processes, cores = costs.processes(peak), costs.cores(peak)
    if peak > min(ceilings(costs, CORES[-1]).values()):
        return "one PostgreSQL"
    if kept > ONE_DISK:
        return "the history on one disk"
    if processes + cores > ONE_MACHINE:
        return "one machine"
    return "one process" if processes > 1 else "nothing"


def calculate(costs: Costs, base: float) -> dict[str, Any]:
    return {
        "costs": asdict(costs),
        "sizes": [size(costs, cores) for cores in CORES],
        "loads": [load(costs, base * times) for times in TIMES],
    }


def tables(measured: dict[str, Any], found: dict[str, Any]) -> str:
    crews = [
        f"| {name} | {one['steps_per_sec']:,.0f} | {one['services_us']:.0f} | {one['postgres_us']:.0f} |"
        f" {one['row_writes']:.1f} | {one['wal_bytes']:,.0f} |"
        for name, one in measured["crews"].items()
    ]
    costs = found["costs"]
    sizes = [
        f"| {one['cores']} | {one['steps_per_sec']:,.0f} | {DAY * one['steps_per_sec'] / PEAK / 1e6:,.0f} million |"
        f" {one['processes']} | {one['wal_mb_per_sec']:,.0f} MB/s | {one['connections']} | {one['bound']} |"
        for one in found["sizes"]
    ]
    loads = [
        f"| {one['steps_a_day'] / 1e6:,.0f} million | {one['peak_per_sec']:,.0f} | {one['processes']} |"
        f" {one['cores']:.2f} | {one['wal_mb_per_sec']:,.2f} MB/s | {one['kept_gb']:,.0f} GB | {one['gives_way']} |"
        for one in found["loads"]
    ]
    return "\n".join(
        [
            f"{measured['machine']['cores']} cores, {measured['machine']['memory_gib']} GiB.",
            "",
            "| processes | steps/s | services, µs a step | PostgreSQL, µs a step | rows written | log, bytes |",
            "|---|---|---|---|---|---|",
            *crews,
            "",
            f"To delete a step costs PostgreSQL {costs['forget_us']:.0f} µs. With its outputs it takes"
            f" {costs['disk_bytes']:,.0f} bytes on the disk. Each further process makes a step"
            f" {100 * costs['beside']:.1f} % dearer for PostgreSQL.",
            "",
            "| PostgreSQL's cores | steps/s | steps a day | service processes | log | connections | bound by |",
            "|---|---|---|---|---|---|---|",
            *sizes,
            "",
            "| steps a day | at the peak, /s | service processes | PostgreSQL's cores | log | 30 days | gives way |",
            "|---|---|---|---|---|---|---|",
            *loads,
        ]
    )


def read(outputs: float) -> tuple[dict[str, Any], Costs]:
    """What was measured, and the costs of a step whose outputs take so many bytes."""
    measured = json.loads(COSTS.read_text())
    costs = Costs(**measured["costs"])
    grown = {"wal_bytes": costs.wal_bytes + outputs, "disk_bytes": costs.disk_bytes + outputs}
    return measured, Costs(**asdict(costs) | grown)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the costs anew and keep them")
    parser.add_argument("--outputs", type=float, default=500, help="bytes of a step's outputs (default 500)")
    parser.add_argument("--steps-a-day", type=float, default=1e6, help="what the loads are multiples of (default 1e6)")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    given = parser.parse_args()
    if given.measure:
        COSTS.write_text(json.dumps(measure(), indent=1) + "\n")
    seen, of_step = read(given.outputs)
    result = calculate(of_step, given.steps_a_day)
    text = tables(seen, result)
    if given.write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")
    print(json.dumps(result, indent=2) if given.output == "json" else text)
