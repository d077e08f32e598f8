"""kill -9 of `automata up` while runs run: none is lost, each step is called at least once, accepted once."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.figures import note
from tests.promises.ledger import Ledger
from tests.promises.processes import automata_up, environment, make_repo

RUNS = 500


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[tuple[Path, Ledger]]:
    with Ledger(delay_sec=0.3) as ledger:
        call = {"method": "POST", "url": f"{ledger.url}/effect", "body": {"n": "{{ inputs.n }}"}}
        step = {"type": "http", "config": call}
        steps = [{"id": "first", **step}, {"id": "second", "depends_on": ["first"], **step}]
        flow = {"name": "twice", "inputs": {"n": {"type": "integer", "required": True}}, "steps": steps}
        yield make_repo(tmp_path / "repo", flow), ledger


def test_kill_nine_in_the_middle_of_500_runs_loses_none(repo: tuple[Path, Ledger], database_url: str) -> None:
    path, ledger = repo
    env = environment(database_url)
    accepted = set()
    with automata_up(path, env) as (process, address), httpx.Client(base_url=address, timeout=120) as client:
        for n in range(RUNS):
            answer = client.post("/api/v1/flows/twice/runs", json={"inputs": {"n": n}})
            assert answer.status_code == 201, answer.text
            accepted.add(answer.json()["id"])
        _until(database_url, lambda done: done["first"] >= RUNS // 4)
        process.send_signal(signal.SIGKILL)
        process.wait(120)
    before = _settled(database_url)
    assert before["runs"] < RUNS, "the kill came too late to prove anything"

    with automata_up(path, env):
        _until(database_url, lambda done: done["runs"] >= RUNS)

    with psycopg.connect(database_url) as conn:
        results = dict(conn.execute("SELECT run_id::text, status FROM run_results").fetchall())
        left = conn.execute("SELECT count(*) FROM task_queue").fetchone()
    note({"runs accepted": len(accepted), "runs lost": len(accepted - set(results))})
    assert set(results) == accepted
    assert set(results.values()) == {"SUCCEEDED"}
    assert left == (0,)
    calls = ledger.by_key()
    assert {key.rpartition(":")[0] for key in calls} == accepted
    assert len(calls) == 2 * RUNS
    print(f"runs accepted {RUNS}, lost 0, calls made again {calls.total() - 2 * RUNS}")


def _settled(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        tasks = conn.execute("SELECT step, count(*) FROM tasks WHERE status = 'SUCCEEDED' GROUP BY step").fetchall()
        runs = conn.execute("SELECT count(*) FROM run_results").fetchone()
    assert runs is not None
    return {"first": 0, "second": 0} | dict(tasks) | {"runs": runs[0]}


def _until(url: str, enough: object, seconds: float = 300) -> None:
    assert callable(enough)
    deadline = time.monotonic() + seconds
    while not enough(_settled(url)):
        assert time.monotonic() < deadline, f"still only {_settled(url)} after {seconds} s"
        time.sleep(0.02)
