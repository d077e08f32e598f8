"""The edges of the product, each with processes of its own: calls, intake over REST, fairness, start-up and memory."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import psutil

from automata.store.database import Database
from benchmarks import workloads
from benchmarks.scaleout import burst, install, part, slow_service

CALL_SEC = 0.05
AT_ONCE = 32  # clients that start single runs
WINDOW_SEC = 120


def calls(url: str, address: str, count: int) -> dict[str, float]:
    """`http` steps whose service answers in 50 ms, on a process that has all parts."""
    with slow_service(CALL_SEC) as service:
        flow = install(address, f"calls-{time.monotonic_ns()}", service)
        seconds = asyncio.run(burst(url, address, flow, count))
    return {"runs_per_sec": count / seconds, "in_flight": CALL_SEC * count / seconds}


def intake(url: str, singles: int, batches: int) -> dict[str, float]:
    """One API process alone takes runs in: one a request, then 1,000 a request."""
    with part("api", url) as (_, address):
        steps = [{"id": "s", "type": "transform", "config": {"mappings": {"n": 1}}}]
        httpx.put(f"{address}/api/v1/flows/taken", json={"name": "taken", "steps": steps}, timeout=30)
        return asyncio.run(_take_in(address, singles, batches))


async def _take_in(address: str, singles: int, batches: int) -> dict[str, float]:
    taken: list[float] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=AT_ONCE)) as http:
        numbers = iter(range(singles))

        async def client() -> None:
            for _ in numbers:
                start = time.perf_counter()
                async with http.post(f"{address}/api/v1/flows/taken/runs", json={"inputs": {}}) as answer:
                    assert answer.status == 201, await answer.text()
                taken.append(1000 * (time.perf_counter() - start))

        began = time.perf_counter()
        await asyncio.gather(*[client() for _ in range(AT_ONCE)])
        single = singles / (time.perf_counter() - began)
        body = json.dumps({"runs": [{"flow": "taken"}] * 1000}).encode()
        headers = {"Content-Type": "application/json"}
        began = time.perf_counter()
        for _ in range(batches):
            async with http.post(f"{address}/api/v1/runs/batch", data=body, headers=headers) as answer:
                assert (await answer.json())["created"] == 1000
        batch = 1000 * batches / (time.perf_counter() - began)
    return {"single_per_sec": single, "single_p99_ms": statistics.quantiles(taken, n=100)[98], "batch_per_sec": batch}


def fairness(url: str, address: str, type: str, crowd: int, samples: int) -> dict[str, float]:
    """What a single run of another flow takes, idle and while `crowd` tasks of one flow wait before it."""
    return asyncio.run(_beside(url, address, type, crowd, samples))


async def _beside(url: str, address: str, type: str, crowd: int, samples: int) -> dict[str, float]:
    async with await Database.open(url) as db:
        alone = await workloads.install(db, workloads.chain(f"beside-{type}", 1))
        idle = await workloads.latency(address, alone, samples)
        await workloads.install(db, workloads.chain(f"crowd-{type}", 1, type))
        body = {"runs": [{"flow": f"crowd-{type}"}] * 1000}
        async with httpx.AsyncClient(base_url=address, timeout=60) as http:
            for _ in range(0, crowd, 1000):
                (await http.post("/api/v1/runs/batch", json=body)).raise_for_status()
        before = await _waiting(db)
        async with asyncio.timeout(WINDOW_SEC):
            busy = await workloads.latency(address, alone, samples)
        after = await _waiting(db)
    p50, crowded = statistics.median(idle.samples_ms), statistics.median(busy.samples_ms)
    return {"idle_p50_ms": p50, "busy_p50_ms": crowded, "ratio": crowded / p50, "before": before, "left": after}


async def _waiting(db: Database) -> float:
    async with db.connection() as conn:
        row = await (await conn.execute("SELECT count(*) FROM task_queue")).fetchone()
    return float(row[0]) if row else 0.0


def cold_start(url: str | None) -> dict[str, float]:
    """`automata up` from nothing to its first finished run; `url` None: with the embedded database's first start."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        repo = _repository(Path(place) / "repo")
        began = time.perf_counter()
        with _up(repo, url, Path(place) / "data") as (process, address):
            run = httpx.post(f"{address}/api/v1/flows/first/runs", json={"inputs": {}}, timeout=30).raise_for_status()
            seen = httpx.get(f"{address}/api/v1/runs/{run.json()['id']}", params={"wait_sec": 30}, timeout=60).json()
            assert seen["status"] == "SUCCEEDED", seen
            seconds = time.perf_counter() - began
            time.sleep(2)
            family = [process, *process.children(recursive=True)]
            own = [one for one in family if "postgres" not in one.name()]
            return {"seconds": seconds, "rss_mib": sum(one.memory_info().rss for one in own) / 2**20}


def _repository(place: Path) -> Path:
    (place / "flows").mkdir(parents=True)
    step = {"id": "s", "type": "transform", "config": {"mappings": {"n": 1}}}
    (place / "flows" / "first.json").write_text(json.dumps({"name": "first", "steps": [step]}))
    identity = ["-c", "user.name=b", "-c", "user.email=b@example.com"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "flows"]):
        subprocess.run(["git", *identity, *words], cwd=place, check=True)
    return place


@contextmanager
def _up(repo: Path, url: str | None, data: Path) -> Iterator[tuple[psutil.Process, str]]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    env |= {"AUTOMATA_DATABASE_URL": url} if url else {"AUTOMATA_DATA_DIR": str(data)}
    words = [sys.executable, "-m", "automata", "up", "--repo", str(repo), "--port", "0", "-o", "json"]
    process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if (event := json.loads(line)).get("event") == "ready":
                yield psutil.Process(process.pid), event["url"]
                return
        raise RuntimeError(f"automata up ended with {process.wait(10)} before it was ready")
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()
