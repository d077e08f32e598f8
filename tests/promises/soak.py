"""What only shows after a while, as scenes: python -m tests.promises.soak [SCENE ...] [--minutes N].

postgres  the database is killed every 5 to 20 seconds, for --minutes
flood     ten times more is asked for than the worker can do; then it gets help
rolling   every process is replaced, one after another, twice, while clients ask for more
million   a million steps, and what a claim costs after each 100,000
door      silent, slow, endless and guessing clients, from forty addresses

Each prints its figures and fails when a promise is broken. The first three check all that chaos checks.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import httpx
import psutil

from automata.store.database import Database
from automata.store.embedded import start_embedded
from benchmarks import workloads
from benchmarks.__main__ import _fresh_database, _server
from benchmarks.past import Side
from tests.promises.chaos import Chaos, deploy, finished
from tests.promises.clients import start
from tests.promises.door import besiege
from tests.promises.fleet import Member
from tests.promises.history import Figures, chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.processes import until
from tests.rabbitmq import Node

THREADS = 16
PART = 100_000  # steps of the million between two looks


def tell(text: str) -> None:
    print(text, flush=True)


class Load:
    """Clients that start runs, `rate` a second together, until the block ends. `waited`: seconds to each acceptance."""

    def __init__(self, chaos: Chaos, rate: float) -> None:
        self.accepted: set[str] = set()
        self.waited: list[float] = []
        self._chaos = chaos
        self._pause = THREADS / rate
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._broken: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded) for _ in range(THREADS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._broken and value is None:
            raise self._broken[0]

    def p95_ms(self) -> float:
        return 1000 * statistics.quantiles(self.waited, n=20)[18]

    def _guarded(self) -> None:
        try:
            self._client()
        except BaseException as error:
            self._broken.append(error)

    def _client(self) -> None:
        due = time.monotonic()
        with httpx.Client(timeout=30) as http:
            while not self._stop.is_set():
                began = time.monotonic()
                run = self._start(http, next(self._numbers))
                with self._lock:
                    self.accepted.add(run)
                    self.waited.append(time.monotonic() - began)
                due = max(due + self._pause, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _start(self, http: httpx.Client, n: int) -> str:
        deadline = time.monotonic() + 60
        while True:
            http.base_url = httpx.URL(self._chaos.address)
            try:
                return start(http, "chain", n, 0)
            except AssertionError:
                assert time.monotonic() < deadline, f"run {n} was not accepted within a minute"
                time.sleep(0.05)


@contextmanager
def world(parts: tuple[str, ...], *, delay_sec: float, slots: int | None = None) -> Iterator[tuple[Chaos, Ledger]]:
    place = Path(tempfile.mkdtemp(prefix="automata-soak-", dir="/tmp"))
    place.chmod(0o755)
    try:
        with Node(place / "rabbit") as node, Ledger(delay_sec) as ledger:
            chaos = Chaos(place, 0, node, parts)
            if slots:
                _of(chaos, "worker").options = ("--concurrency", str(slots))
            try:
                chaos.start()
                deploy(chaos, chain(ledger.url))
                yield chaos, ledger
            finally:
                chaos.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def settled(chaos: Chaos, ledger: Ledger, load: Load, seconds: float) -> Figures:
    """The figures, once all that was accepted is finished."""
    url, count = chaos.database.url, len(load.accepted)
    until(lambda: finished(url) >= count, f"all {count:,} runs finished", seconds)
    until(lambda: check_chain(url, ledger, load.accepted).left == 0, "nothing left that moves", 60)
    return check_chain(url, ledger, load.accepted)


def postgres(minutes: float) -> None:
    chance = random.Random(1)
    with world(("api", "orchestrator", "worker", "scheduler"), delay_sec=0.01) as (chaos, ledger):
        ends, kills = time.monotonic() + 60 * minutes, 0
        with Load(chaos, rate=50) as load:
            while time.monotonic() < ends:
                time.sleep(chance.uniform(5, 20))
                chaos.database.kill()
                chaos.database.start()
                kills += 1
        figures = settled(chaos, ledger, load, 300)
        tell(f"postgres: killed {kills} times in {minutes:g} minutes, {len(load.accepted):,} runs")
        figures.check()


def flood(minutes: float) -> None:
    """The worker makes 5 calls of 0.1 s at a time, so 25 runs a second; 250 are asked for."""
    with world(("api", "orchestrator", "worker"), delay_sec=0.1, slots=5) as (chaos, ledger):
        served = [_of(chaos, part) for part in ("api", "orchestrator")]
        before = [_rss_mib(member) for member in served]
        with Load(chaos, rate=250) as load:
            time.sleep(60 * min(minutes, 1))
        behind = len(load.accepted) - finished(chaos.database.url)
        after = [_rss_mib(member) for member in served]
        worker = _of(chaos, "worker")
        worker.signal(signal.SIGTERM)
        worker.ended()
        worker.options = ("--concurrency", "200")
        worker.start()
        figures = settled(chaos, ledger, load, 600)
        tell(f"flood: {len(load.accepted):,} runs accepted, p95 {load.p95_ms():.0f} ms, {behind:,} behind at its end")
        for member, was, now in zip(served, before, after, strict=True):
            tell(f"flood: memory of the {member.part} {was:.0f} MiB before, {now:.0f} MiB at the height")
            assert now < was + 200, f"the {member.part} keeps what waits in memory"
        assert behind > len(load.accepted) / 2, "this was no flood"
        figures.check()
        assert figures.called_again == 0, "nobody was killed"


def rolling(minutes: float) -> None:
    """One after another: the rest takes over, what drains finishes what it began, and nothing is called again."""
    parts = ("api", "api", "orchestrator", "orchestrator", "worker", "worker", "scheduler", "scheduler")
    drained: dict[str, float] = {}
    with world(parts, delay_sec=0.2) as (chaos, ledger):
        with Load(chaos, rate=40) as load:
            for member in chaos.members * 2:
                drained[member.part] = max(drained.get(member.part, 0.0), _replace(member))
                time.sleep(min(2.0, 2 * minutes))
        figures = settled(chaos, ledger, load, 120)
        tell(f"rolling: {2 * len(parts)} replaced under {len(load.accepted):,} runs, p95 {load.p95_ms():.0f} ms")
        tell("rolling: drained within " + ", ".join(f"{part} {took:.1f} s" for part, took in drained.items()))
        figures.check()
        assert figures.called_again == 0, "who drains finishes what it began"


def _replace(member: Member) -> float:
    """Seconds that it took to leave."""
    began = time.monotonic()
    member.signal(signal.SIGTERM)
    code = member.ended(30)
    took = time.monotonic() - began
    assert code == 0, f"{member.part} ended with {code}"
    member.start()
    until(lambda: member.ready()[0] == 200, f"{member.part} is ready", 60)
    return took


def million(minutes: float) -> None:
    """Chains of ten, in parts; a claim must not cost more when there is more to remember."""
    parts = 10 if minutes >= 1 else 2
    settings = {"shared_preload_libraries": "pg_stat_statements"}
    costs: list[float] = []
    with start_embedded(Path("build/soak"), settings=settings) as embedded:
        url = _fresh_database(embedded.url)
        with _server(url) as (_, address):
            side = Side(0, url, address)
            for number in range(parts):
                side.forget()
                rate = asyncio.run(_part(url, address, number))
                claim = side.statements()["claim_tasks"]
                costs.append(claim["ms"] / claim["rows"])
                tell(
                    f"million: {(number + 1) * PART:>9,} steps, {rate:,.0f} a second,"
                    f" a step claimed takes {1000 * costs[-1]:.1f} us and {claim['pages'] / claim['rows']:.1f} pages"
                )
    early, late = statistics.median(costs[1:4]), statistics.median(costs[-3:])
    tell(f"million: a claimed step at the end costs {late / early:.2f} times what it did at the beginning")
    assert late < 1.5 * early, "claims grow with what is finished"


async def _part(url: str, address: str, number: int) -> float:
    async with await Database.open(url) as db:
        subject = await workloads.install(db, workloads.chain(f"part-{number}", 10))
        done = await workloads.throughput(db, address, subject, PART // 10, 10)
    return done.steps / done.seconds


def door(minutes: float) -> None:
    """What probes and clients with a good token see while the door is stormed."""
    place = Path(tempfile.mkdtemp(prefix="automata-soak-", dir="/tmp"))
    try:
        with start_embedded(Path("build/soak")) as embedded:
            siege = besiege(_fresh_database(embedded.url), place, 60 * min(minutes, 2))
    finally:
        shutil.rmtree(place, ignore_errors=True)
    tell(f"door: probes {siege.probe.told()}; a good token {siege.client.told()}")
    tell(f"door: {siege.fires} fires of a schedule that is due each second, {siege.memory_mib:.0f} MiB more")
    tell(f"door: {siege.attacks}")
    siege.check()


def _of(chaos: Chaos, part: str) -> Member:
    return next(member for member in chaos.members if member.part == part)


def _rss_mib(member: Member) -> float:
    assert member.process is not None
    return float(psutil.Process(member.process.pid).memory_info().rss) / 2**20


SCENES: dict[str, Callable[[float], None]] = {
    "postgres": postgres,
    "flood": flood,
    "rolling": rolling,
    "million": million,
    "door": door,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m tests.promises.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; all unless named")
    parser.add_argument("--minutes", type=float, default=10, help="how long postgres goes on (default 10)")
    given = parser.parse_args()
    if unknown := set(given.scenes) - set(SCENES):
        parser.error(f"there is no scene {', '.join(sorted(unknown))}")
    for name in given.scenes or SCENES:
        tell(f"{name} ...")
        SCENES[name](given.minutes)
    sys.exit(0)
