"""Runs by the thousand while processes, the broker and the database are killed: python -m tests.promises.chaos --help.

What it starts: two APIs, orchestrators, workers and schedulers each (with --joined two processes with all parts in
them, and some apart), an embedded PostgreSQL of its own with fsync on, and a RabbitMQ node. A seed fixes who is killed,
how, and in what order; when is up to the machine. At the end the history checker joins what clients were told, what the
database holds and what the ledger saw.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg

from automata.errors import AutomataError
from automata.store import migrate
from automata.store.embedded import EmbeddedServer, start_embedded
from tests.promises.clients import start
from tests.promises.fleet import Member
from tests.promises.history import Figures, chain, check_chain
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, make_repo, until
from tests.rabbitmq import Node

PARTS = ("api", "api", "orchestrator", "orchestrator", "worker", "worker", "scheduler", "scheduler")
JOINED = ("api", "up", "up", "orchestrator", "worker")  # in `up` an orchestrator hands work to the worker beside it
CLIENTS = 32


class Database:
    """An embedded server that can be killed and started again in its place."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.server: EmbeddedServer = start_embedded(place)
        self.url = self.server.url
        migrate.upgrade(self.url)

    def kill(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)

    def start(self) -> None:
        self.server = start_embedded(self.place)

    def stop(self) -> None:
        self.server.stop()


class Chaos:
    def __init__(self, place: Path, seed: int, node: Node | None, parts: tuple[str, ...] = PARTS) -> None:
        self.chance = random.Random(seed)
        self.node = node
        self.database = Database(place / "data")
        more = {"AUTOMATA_AMQP_URL": node.url()} if node else {}
        env = environment(self.database.url, **more)
        repo = make_repo(place / "repo", {"name": "other", "steps": [{"id": "a", "type": "transform"}]})
        options = {"up": ("--repo", str(repo))}
        self.members = [
            Member(part, env, *options.get(part, ()), log=place / f"{part}{n}.log") for n, part in enumerate(parts)
        ]
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        for member in self.members:
            member.start()
        for member in self.members:
            until(lambda member=member: member.ready()[0] == 200, f"{member.part} is ready", 60)  # type: ignore[misc]

    def strike(self) -> None:
        """One kill: of a process most of the time, of the database or the broker sometimes, or a pause."""
        dice = self.chance.random()
        if dice < 0.08:
            self._database()
        elif dice < 0.14 and self.node:
            self._broker(self.node)
        elif dice < 0.24:
            self._pause(self.chance.choice(self.members))
        else:
            self._kill(self.chance.choice(self.members))

    def _kill(self, member: Member) -> None:
        self.done[f"kill {member.part}"] += 1
        member.kill()
        time.sleep(self.chance.uniform(0, 0.5))
        member.start()

    def _pause(self, member: Member) -> None:
        self.done[f"pause {member.part}"] += 1
        member.signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(1, 8))  # a lease is 6 s
        member.signal(signal.SIGCONT)

    def _database(self) -> None:
        self.done["kill database"] += 1
        self.database.kill()
        time.sleep(self.chance.uniform(0, 1))
        self.database.start()

    def _broker(self, node: Node) -> None:
        self.done["kill broker"] += 1
        node.kill()
        time.sleep(self.chance.uniform(0, 2))
        node.start(wait=False)

    def stop(self) -> None:
        for member in self.members:
            if member.process and member.process.poll() is None:
                member.signal(signal.SIGCONT)
                member.kill()
        self.database.stop()

    @property
    def address(self) -> str:
        return self.chance_api().address

    def chance_api(self) -> Member:
        return random.choice([member for member in self.members if member.part == "api"])


def load(chaos: Chaos, runs: int, told: Callable[[int], None]) -> set[str]:
    """All of `runs` accepted, by clients that ask again whatever happens; `told` hears how many are."""
    numbers = itertools.count()
    accepted: set[str] = set()
    lock = threading.Lock()

    def client() -> None:
        with httpx.Client(timeout=30) as http:
            while (n := next(numbers)) < runs:
                run = _start_somewhere(chaos, http, n)
                with lock:
                    accepted.add(run)
                told(len(accepted))

    with ThreadPoolExecutor(CLIENTS) as pool:
        for future in [pool.submit(client) for _ in range(CLIENTS)]:
            future.result()
    return accepted


def _start_somewhere(chaos: Chaos, http: httpx.Client, n: int) -> str:
    deadline = time.monotonic() + 180
    while True:
        http.base_url = httpx.URL(chaos.address)
        try:
            return start(http, "chain", n, 0)
        except AssertionError:
            assert time.monotonic() < deadline, f"run {n} was not accepted"
            time.sleep(0.1)


def deploy(chaos: Chaos, flow: dict[str, object]) -> None:
    with httpx.Client(base_url=chaos.address, timeout=30) as client:
        client.put("/api/v1/flows/chain", json=flow).raise_for_status()


def play(
    runs: int,
    kills: int,
    seed: int,
    broker: bool = True,
    parts: tuple[str, ...] = PARTS,
    say: Callable[[str], None] = print,
) -> Figures:
    place = Path(tempfile.mkdtemp(prefix="automata-chaos-", dir="/tmp"))
    place.chmod(0o755)
    node = Node(place / "rabbit") if broker else None
    began = time.monotonic()
    try:
        if node:
            node.start()
        chaos = Chaos(place, seed, node, parts)
        with Ledger(0.01) as ledger:
            try:
                chaos.start()
                deploy(chaos, chain(ledger.url))
                accepted = _storm(chaos, runs, kills, say)
                say(f"all {runs:,} accepted after {time.monotonic() - began:.0f} s; waiting for the last to finish")
                url = chaos.database.url
                until(lambda: finished(url) >= runs, "all runs finished", 300)
                until(lambda: check_chain(url, ledger, accepted).left == 0, "nothing left that moves", 60)
                figures = check_chain(url, ledger, accepted)
            finally:
                chaos.stop()
        say(f"seed {seed}: {sum(chaos.done.values())} strikes in {time.monotonic() - began:.0f} s: {dict(chaos.done)}")
        return figures
    finally:
        if node:
            node.__exit__(None, None, None)
        shutil.rmtree(place, ignore_errors=True)


def _storm(chaos: Chaos, runs: int, kills: int, say: Callable[[str], None]) -> set[str]:
    """Strikes are spread over the runs: each share of them is accepted around its own strike, no client runs ahead."""
    count, struck = 0, 0
    turn = threading.Condition()

    def told(accepted: int) -> None:
        nonlocal count
        with turn:
            count = max(count, accepted)
            turn.notify_all()
            turn.wait_for(lambda: struck >= kills or count <= runs * (struck + 1) // kills)

    accepted: set[str] = set()
    loading = threading.Thread(target=lambda: accepted.update(load(chaos, runs, told)))
    loading.start()
    try:
        while struck < kills and loading.is_alive():
            half = runs * (struck + 0.5) // kills
            if count < half:
                time.sleep(0.02)
                continue
            chaos.strike()
            with turn:
                struck += 1
                turn.notify_all()
            if struck % max(1, kills // 20) == 0:
                say(f"{struck} strikes, {count:,} runs accepted")
    finally:
        with turn:
            struck = kills  # whatever happened here, nobody waits for another strike
            turn.notify_all()
    loading.join()
    assert len(accepted) == runs, "a client gave up"
    return accepted


def finished(url: str) -> int:
    try:
        with psycopg.connect(url) as conn:
            row = conn.execute("SELECT count(*) FROM run_results").fetchone()
        return int(row[0]) if row else 0
    except (psycopg.OperationalError, AutomataError):
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.promises.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("AUTOMATA_SEED") or random.randrange(2**32)))
    parser.add_argument("--without-broker", action="store_true")
    parser.add_argument("--joined", action="store_true")
    given = parser.parse_args()
    print(f"AUTOMATA_SEED={given.seed}", flush=True)
    parts = JOINED if given.joined else PARTS
    say = functools.partial(print, flush=True)
    play(given.runs, given.kills, given.seed, not given.without_broker, parts, say).check()
    sys.exit(0)
