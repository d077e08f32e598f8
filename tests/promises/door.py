"""A server under attack from the network, and those that it serves meanwhile.

Run as a program it is the attack: python -m tests.promises.door URL SECONDS. `besiege` starts that beside a real
`automata up` and measures from outside what a probe and a client with a good token see of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import psycopg

from tests.promises.processes import automata_up, environment, make_repo

Json = dict[str, Any]
PIECE = b"a" * 65_536
HEAD = b"POST /api/v1/flows/tick/runs HTTP/1.1\r\nHost: a\r\n"
FLOW: Json = {
    "name": "tick",
    "steps": [{"id": "s", "type": "transform", "config": {"mappings": {"v": 1}}}],
    "schedules": [{"name": "often", "interval_sec": 1}],
}


# --- the attack -----------------------------------------------------------------------------------------------------


class Attack:
    """Clients of one kind each, from many addresses of this machine, until the time is over."""

    def __init__(self, url: str, seconds: float) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.until = time.monotonic() + seconds
        self.numbers = itertools.count()
        self.done: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def connection(self, last: int | None = None) -> AsyncIterator[tuple[Any, Any]]:
        """`last`: the last number of the address that it comes from; another one each time where it is None."""
        number = 2 + next(self.numbers) % 40 if last is None else last
        reader, writer = await asyncio.open_connection(self.host, self.port, local_addr=(f"127.0.0.{number}", 0))
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def silent(self) -> None:
        async with self.connection() as (reader, _):
            await reader.read()

    async def half_head(self) -> None:
        async with self.connection() as (reader, writer):
            writer.write(HEAD)
            for _ in range(100):
                writer.write(b"x: y\r\n")
                await writer.drain()
                await asyncio.sleep(1)
            await reader.read()

    async def half_body(self) -> None:
        async with self.connection(1) as (reader, writer):
            writer.write(HEAD + b"Content-Length: 10\r\n\r\n{}")
            await reader.read()

    async def endless_header(self) -> None:
        async with self.connection() as (_, writer):
            writer.write(HEAD + b"X: ")
            for _ in range(2500):  # 160 MiB
                writer.write(PIECE)
                await writer.drain()

    async def unread_answer(self) -> None:
        async with self.connection() as (_, writer):
            writer.write(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 200)
            await asyncio.sleep(120)

    async def guess(self) -> None:
        async with self.connection(1) as (reader, writer):
            writer.write(b"GET /api/v1/flows HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer atm_x\r\n\r\n")
            await reader.read(1000)

    async def repeat(self, attack: Callable[[], Awaitable[None]], pause_sec: float) -> None:
        while (left := self.until - time.monotonic()) > 0:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(left):
                    await attack()
            self.done[attack.__name__] += 1
            await asyncio.sleep(pause_sec)

    async def run(self) -> None:
        kinds = (
            (self.silent, 300, 0.1),
            (self.half_head, 100, 0.1),
            (self.half_body, 300, 0.1),
            (self.endless_header, 4, 0.1),
            (self.unread_answer, 20, 0.1),
            (self.guess, 2, 0.05),
        )
        await asyncio.gather(*(self.repeat(attack, pause) for attack, clients, pause in kinds for _ in range(clients)))


# --- what is seen of the server meanwhile ---------------------------------------------------------------------------


@dataclass
class Seen:
    """Seconds of every answer, and the statuses, of one kind of client."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    def share_of_ok(self) -> float:
        return self.statuses["200"] / max(1, sum(self.statuses.values()))

    def told(self) -> str:
        ordered = sorted(self.seconds) or [0.0]
        p95, longest = ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
        statuses = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return f"p95 {1000 * p95:.0f} ms, longest {1000 * longest:.0f} ms, {statuses}"


@dataclass
class Siege:
    """What came of it; `fires` of the schedule that is due each second, `memory_mib` that the server grew by."""

    probe: Seen
    client: Seen
    fires: int
    memory_mib: float
    attacks: Json

    def check(self) -> None:
        """Raises AssertionError where somebody was kept out, or where the server kept what it should not."""
        assert len(self.probe.seconds) > 5
        assert self.probe.share_of_ok() == 1, self.probe.told()
        assert self.client.share_of_ok() == 1, self.client.told()
        assert self.memory_mib < 250, f"{self.memory_mib:.0f} MiB more: each endless header has 160"
        assert self.attacks["half_body"] > 0, self.attacks


class _Watcher(threading.Thread):
    def __init__(self, url: str, path: str, address: str, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self.seen = Seen()
        self.stop = threading.Event()
        self._request = f"{url}{path}", headers
        self._address = address

    def run(self) -> None:
        url, headers = self._request
        while not self.stop.wait(0.02):
            begun = time.monotonic()
            try:  # a connection each, as probes have
                transport = httpx.HTTPTransport(local_address=self._address)
                with httpx.Client(transport=transport, timeout=120) as http:
                    status = str(http.get(url, headers=headers).status_code)
            except httpx.HTTPError as error:
                status = type(error).__name__
            self.seen.seconds.append(time.monotonic() - begun)
            self.seen.statuses[status] += 1


def besiege(database_url: str, place: Path, seconds: float) -> Siege:
    """Attack an `automata up` for so long."""
    env = environment(database_url, AUTOMATA_AUTH="on")
    with automata_up(make_repo(place, FLOW), env) as (process, url):
        token = _token(env)
        before = psutil.Process(process.pid).memory_info().rss
        began = _now(database_url)
        watchers = [
            _Watcher(url, "/healthz", "127.0.0.1", {}),
            _Watcher(url, "/api/v1/flows", "127.0.0.99", {"Authorization": f"Bearer {token}"}),
        ]
        attack = subprocess.Popen(
            [sys.executable, "-m", "tests.promises.door", url, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        for watcher in watchers:
            watcher.start()
        try:
            told = attack.communicate(timeout=seconds + 300)[0]
        finally:
            attack.kill()
            attack.wait()
        for watcher in watchers:
            watcher.stop.set()
            watcher.join()
        grown = (psutil.Process(process.pid).memory_info().rss - before) / 2**20
        probe, client = (watcher.seen for watcher in watchers)
        return Siege(probe, client, _fires(database_url, began), grown, json.loads(told))


def _token(env: dict[str, str]) -> str:
    command = [sys.executable, "-P", "-m", "automata", "token", "create", "door", "--role", "viewer", "-o", "json"]
    made = subprocess.run(command, env={**os.environ, **env}, check=True, capture_output=True, text=True)
    return str(json.loads(made.stdout)["token"])


def _now(database_url: str) -> Any:
    with psycopg.connect(database_url) as conn:
        row = conn.execute("SELECT now()").fetchone()
    assert row is not None
    return row[0]


def _fires(database_url: str, since: Any) -> int:
    with psycopg.connect(database_url) as conn:
        query = "SELECT count(*) FROM runs WHERE trigger = 'schedule' AND created_at > %s"
        row = conn.execute(query, [since]).fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    siege = Attack(sys.argv[1], float(sys.argv[2]))
    asyncio.run(siege.run())
    print(json.dumps(siege.done))
