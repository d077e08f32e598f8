"""API, orchestrator and workers as separate processes, on a real database, ended with real signals."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from automata.store import migrate
from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until
from tests.promises.proxy import Proxy, postgres_target

Row = tuple[Any, ...]


def flow(url: str, **step: Any) -> dict[str, Any]:
    call = {"method": "POST", "url": f"{url}/effect", "body": {"n": 1}}
    return {"name": "one", "steps": [{"id": "call", "type": "http", "config": call, **step}]}


def start(api: Member, spec: dict[str, Any]) -> str:
    with httpx.Client(base_url=api.address, timeout=120) as client:
        made = client.put(f"/api/v1/flows/{spec['name']}", json=spec)
        assert made.status_code in (200, 201), made.text
        run = client.post(f"/api/v1/flows/{spec['name']}/runs", json={"inputs": {}})
        assert run.status_code == 201, run.text
        return str(run.json()["id"])


def run_of(api: Member, run: str, wait: int = 30) -> dict[str, Any]:
    answer = httpx.get(f"{api.address}/api/v1/runs/{run}", params={"wait_sec": wait}, timeout=120)
    return dict(answer.raise_for_status().json())


def row(url: str, query: str) -> Row:
    with psycopg.connect(url) as conn:
        found = conn.execute(query).fetchone()  # type: ignore[arg-type]
    assert found is not None
    return found


def test_three_processes_run_a_flow_together(fresh_database_url: str) -> None:
    # Polls are too late for anybody: what wakes the next process is the bell.
    env = environment(fresh_database_url, AUTOMATA_POLL_SEC="600")
    with Ledger() as ledger, fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, *_):
        run = run_of(api, start(api, flow(ledger.url)))
        assert (run["status"], len(ledger.calls)) == ("SUCCEEDED", 1)


def test_a_drained_worker_finishes_what_it_has_and_takes_nothing_more(fresh_database_url: str) -> None:
    env = environment(fresh_database_url)
    with (
        Ledger(1.0) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, worker),
    ):
        first = start(api, flow(ledger.url))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        worker.signal(signal.SIGTERM)
        second = start(api, flow(ledger.url))
        assert worker.ended() == 0
        assert run_of(api, first)["status"] == "SUCCEEDED"
        assert run_of(api, second, 0)["status"] == "RUNNING"
        assert len(ledger.calls) == 1


def test_what_does_not_finish_in_time_is_given_back_at_once(fresh_database_url: str) -> None:
    env = environment(fresh_database_url, AUTOMATA_DRAIN_SEC="0.5", AUTOMATA_LEASE_SEC="60")
    with (
        Ledger(3.0) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, worker),
    ):
        run = start(api, flow(ledger.url))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        worker.signal(signal.SIGTERM)
        assert worker.ended() == 0
        assert row(fresh_database_url, "SELECT fence, ready_at <= now() FROM task_queue") == (None, True)
        with fleet(Member("worker", env)):
            assert run_of(api, run)["status"] == "SUCCEEDED"
        assert ledger.by_key() == {f"{run}:call": 2}


def test_a_second_signal_ends_a_draining_worker(fresh_database_url: str) -> None:
    env = environment(fresh_database_url)
    with (
        Ledger(300.0) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, worker),
    ):
        start(api, flow(ledger.url))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        worker.signal(signal.SIGTERM)
        until(lambda: worker.ready()[0] in (200, 503), "it still answers while it drains")
        worker.signal(signal.SIGTERM)
        assert worker.ended(120) == 128 + signal.SIGTERM


def test_a_killed_worker_s_step_is_run_by_another_when_its_lease_ends(fresh_database_url: str) -> None:
    env = environment(fresh_database_url)
    with (
        Ledger(0.5) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, worker),
    ):
        run = start(api, flow(ledger.url))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        worker.kill()
        with fleet(Member("worker", env)):
            assert run_of(api, run)["status"] == "SUCCEEDED"
        assert ledger.by_key() == {f"{run}:call": 2}


def test_a_worker_that_slept_past_its_lease_is_refused(fresh_database_url: str) -> None:
    env = environment(fresh_database_url)
    with (
        Ledger(0.8) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, sleeper),
    ):
        run = start(api, flow(ledger.url, outputs={"serial": "{{ response.body.serial }}"}))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        sleeper.signal(signal.SIGSTOP)
        with fleet(Member("worker", env)):
            assert run_of(api, run)["status"] == "SUCCEEDED"
            sleeper.signal(signal.SIGCONT)
            until(lambda: sleeper.ready()[0] == 200, "the sleeper is awake")
            time.sleep(1.5)  # its late answer is handed in, and refused, within this time
        assert len(ledger.calls) == 2
        stored = row(fresh_database_url, "SELECT (outputs->>'serial')::int, attempt FROM tasks WHERE step = 'call'")
        assert stored == (2, 1)


def test_a_cancel_reaches_a_running_call_without_a_heartbeat(fresh_database_url: str) -> None:
    env = environment(fresh_database_url, AUTOMATA_LEASE_SEC="1800", AUTOMATA_HEARTBEAT_SEC="600")
    with (
        Ledger(300.0) as ledger,
        fleet(*(Member(part, env) for part in ("api", "orchestrator", "worker"))) as (api, _, worker),
    ):
        run = start(api, flow(ledger.url))
        until(lambda: len(ledger.calls) == 1, "the call is under way")
        httpx.post(f"{api.address}/api/v1/runs/{run}/cancel", timeout=120).raise_for_status()
        until(lambda: ledger.hung_up == 1, "the worker hung up", 120)
        assert run_of(api, run)["status"] == "CANCELLED"
        worker.signal(signal.SIGTERM)
        assert worker.ended(120) == 0  # nothing is left that it would wait for


def test_a_queue_s_steps_go_to_its_workers_only(fresh_database_url: str) -> None:
    env = environment(fresh_database_url)
    usual = [Member(part, env) for part in ("api", "orchestrator", "worker")]
    with Ledger() as ledger, fleet(*usual) as (api, *_):
        run = start(api, flow(ledger.url, queue="slow"))
        assert run_of(api, run, 2)["status"] == "RUNNING"
        assert ledger.calls == []
        with fleet(Member("worker", env, "--queues", "slow,other")):
            assert run_of(api, run)["status"] == "SUCCEEDED"


def test_processes_start_before_their_database_and_find_it(fresh_database_url: str) -> None:
    with Ledger() as ledger, Proxy(postgres_target(fresh_database_url)) as proxy:
        proxy.refuse = True
        env = environment(proxy.url(fresh_database_url))
        members = [Member(part, env) for part in ("api", "orchestrator", "worker")]
        try:
            for member in members:
                member.start()
            for member in members:
                status, text = member.ready()
                assert (status, "database" in text) == (503, True)
                assert httpx.get(f"{member.address}/healthz", timeout=120).status_code == 200
            proxy.refuse = False
            for member in members:
                until(lambda member=member: member.ready()[0] == 200, f"{member.part} is ready")  # type: ignore[misc]
            assert run_of(members[0], start(members[0], flow(ledger.url)))["status"] == "SUCCEEDED"
        finally:
            for member in members:
                if member.process:
                    member.kill()


def test_a_database_without_tables_is_waited_for(make_empty_database: Callable[[], str], tmp_path: Path) -> None:
    url = make_empty_database()
    worker = Member("worker", environment(url))
    worker.start()
    try:
        until(lambda: "migrat" in worker.ready()[1], "it says what is missing")
        migrate.upgrade(url)
        until(lambda: worker.ready()[0] == 200, "the worker is ready")
    finally:
        worker.kill()


@pytest.mark.parametrize("part", ["api", "orchestrator", "worker"])
def test_a_part_that_is_told_to_end_ends_well(part: str, fresh_database_url: str) -> None:
    with fleet(Member(part, environment(fresh_database_url))) as (member,):
        metrics = httpx.get(f"{member.address}/metrics", timeout=120)
        assert metrics.status_code == 200
        member.signal(signal.SIGTERM)
        assert member.ended(120) == 0
