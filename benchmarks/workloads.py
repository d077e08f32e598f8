"""The workloads: what is started, and how its end is seen."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp
import httpx

from automata.flow.model import Flow
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.store.new_runs import NewRun, create_runs

BATCH = 500


def chain(name: str, steps: int, type: str = "noop") -> dict[str, Any]:
    return {
        "name": name,
        "steps": [
            {"id": f"s{n}", "type": type, "config": {"mappings": {"n": n}} if type == "transform" else {}}
            | ({"depends_on": [f"s{n - 1}"]} if n else {})
            for n in range(steps)
        ],
    }


def fan_out(name: str, width: int) -> dict[str, Any]:
    branches = [{"id": f"b{n}", "steps": [{"id": f"s{n}", "type": "noop"}]} for n in range(width)]
    join = {"id": "join", "type": "transform", "depends_on": ["fan"], "config": {"mappings": {"done": True}}}
    return {"name": name, "steps": [{"id": "fan", "type": "parallel", "branches": branches}, join]}


def wide(name: str, width: int) -> dict[str, Any]:
    each = {"id": "each", "type": "noop", "foreach": f"range({width})"}
    join = {"id": "join", "type": "transform", "depends_on": ["each"], "config": {"mappings": {"done": True}}}
    return {"name": name, "steps": [each, join]}


@dataclass(frozen=True, slots=True)
class Subject:
    """A flow in the database, ready to be started many times."""

    flow_id: UUID
    version_id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    runs: int
    steps: int
    samples_ms: tuple[float, ...] = ()


async def install(db: Database, spec: Mapping[str, Any]) -> Subject:
    async with db.transaction() as conn:
        put = await put_api_flow(conn, Flow.from_spec(spec), author="benchmark")
    return Subject(put.flow.id, put.version.id, spec["name"])


async def throughput(db: Database, address: str, subject: Subject, runs: int, steps_a_run: int) -> Measured:
    """Create `runs` runs in batches and wait for the last result; the clock starts before the first insert."""
    started = time.perf_counter()
    async with httpx.AsyncClient(base_url=address, timeout=30) as client:
        for first in range(0, runs, BATCH):
            size = min(BATCH, runs - first) - 1
            async with db.transaction() as conn:
                await create_runs(conn, _new(subject, size))
            # This process has no bell of the server's: the last run of a batch goes over REST, which rings it.
            (await client.post(f"/api/v1/flows/{subject.name}/runs", json={"inputs": {}})).raise_for_status()
    await _finished(db, subject, runs)
    return Measured(time.perf_counter() - started, runs, runs * steps_a_run)


def _new(subject: Subject, count: int) -> list[NewRun]:
    return [NewRun(subject.flow_id, subject.version_id, {}, "bench") for _ in range(count)]


async def _finished(db: Database, subject: Subject, runs: int) -> None:
    while True:
        async with db.connection() as conn:
            # By the index of the flow's runs: whoever measures beside a long past must not read it.
            cursor = await conn.execute(
                "SELECT count(*) FROM runs JOIN run_results ON run_id = id WHERE runs.flow_id = %s", [subject.flow_id]
            )
            row = await cursor.fetchone()
        if row and row[0] >= runs:
            return
        await asyncio.sleep(0.05)


async def latency(address: str, subject: Subject, samples: int) -> Measured:
    """Start a run over REST with the answer at its end, one at a time."""
    taken: list[float] = []
    # The client shares the processor with what it measures, so it is one that costs little.
    async with aiohttp.ClientSession(base_url=address, raise_for_status=True) as client:
        for _ in range(samples):
            started = time.perf_counter()
            address = f"/api/v1/flows/{subject.name}/runs"
            async with client.post(address, params={"wait_sec": "30"}, json={"inputs": {}}) as answer:
                seen = await answer.json()
            if seen["status"] != "SUCCEEDED":
                raise RuntimeError(f"run {seen['id']} is {seen['status']}")
            taken.append((time.perf_counter() - started) * 1000)
    return Measured(sum(taken) / 1000, samples, samples, tuple(taken))


def quantiles(samples: tuple[float, ...]) -> tuple[float, float, float]:
    """p50, p95 and p99."""
    cuts = statistics.quantiles(samples, n=100)
    return statistics.median(samples), cuts[94], cuts[98]
