"""The whole product behind a real PgBouncer that works per transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.pgbouncer import PASSWORD, Pooler, find_program, pooler, recipe
from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until

PARTS = ("api", "orchestrator", "worker", "scheduler")
RUNS = 40


@pytest.fixture
def between(server_url: str) -> Iterator[Pooler]:
    """As docs/operations.md has it, with three servers for all processes: each gets what another has just left."""
    with pooler(find_program(), server_url, **recipe() | {"default_pool_size": "3"}) as made:
        yield made


def call(url: str) -> dict[str, Any]:
    return {"id": "call", "type": "http", "config": {"method": "POST", "url": f"{url}/effect", "body": {"n": 1}}}


def run_all(api: Member, flow: str) -> list[str]:
    """The statuses of RUNS runs, each waited for."""
    with httpx.Client(base_url=api.address, timeout=300) as client:
        items = [{"flow": flow, "inputs": {}} for _ in range(RUNS)]
        started = client.post("/api/v1/runs/batch", json={"runs": items}).raise_for_status().json()
        ids = [item["id"] for item in started["items"]]
        ends = [client.get(f"/api/v1/runs/{run}", params={"wait_sec": 30}).raise_for_status().json() for run in ids]
    return [end["status"] for end in ends]


def test_processes_behind_a_pooler_wake_each_other_and_say_when_it_is_gone(
    between: Pooler, fresh_database_url: str
) -> None:
    """Polls are too late for anybody: what wakes the next process goes past the pooler."""
    env = environment(
        between.url(fresh_database_url, PASSWORD),
        AUTOMATA_DATABASE_DIRECT_URL=fresh_database_url,
        AUTOMATA_POLL_SEC="600",
    )
    with Ledger() as ledger, fleet(*(Member(part, env) for part in PARTS)) as members:
        api = members[0]
        made = httpx.put(
            f"{api.address}/api/v1/flows/one", json={"name": "one", "steps": [call(ledger.url)]}, timeout=60
        )
        assert made.status_code == 201, made.text
        assert run_all(api, "one") == ["SUCCEEDED"] * RUNS
        assert len(ledger.calls) == RUNS
        with psycopg.connect(fresh_database_url) as conn:
            assert conn.execute("SELECT role FROM leaders").fetchall() == [("scheduler",)]
        between.stop()
        for member in members:
            until(lambda member=member: member.ready()[0] == 503, f"{member.part} knows")  # type: ignore[misc]
        between.start()
        for member in members:
            until(lambda member=member: member.ready()[0] == 200, f"{member.part} goes on")  # type: ignore[misc]
        assert run_all(api, "one") == ["SUCCEEDED"] * RUNS
        assert len(ledger.calls) == 2 * RUNS
