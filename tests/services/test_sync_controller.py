"""The sync controller: a real repository, a real database, a process that is killed."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from automata.errors import Usage
from automata.project.source import Source
from automata.services.sync_controller import MAX_PAUSE_SEC, Controller, Pace
from automata.settings import load
from automata.store.database import Database
from tests.promises.fleet import Member, fleet
from tests.promises.processes import environment, make_repo, until

INTERVAL = 60.0


def flow(name: str, value: Any = 1) -> dict[str, Any]:
    return {"name": name, "steps": [{"id": "t", "type": "transform", "config": {"mappings": {"n": value}}}]}


def commit(repo: Path, name: str, text: str) -> str:
    (repo / "flows" / f"{name}.json").write_text(text)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["add", "-A"], ["commit", "-q", "-m", name]):
        subprocess.run(["git", *identity, *words], cwd=repo, check=True)
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repo, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
async def controller(fresh_database_url: str, repo: Path) -> AsyncIterator[Controller]:
    async with await Database.open(fresh_database_url) as db:
        yield Controller(db, Source(str(repo), branch="main"), Pace(INTERVAL))


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url) as conn:
        return conn.execute(query.encode()).fetchall()


def current_number(url: str) -> int:
    query = "SELECT number FROM flows JOIN flow_versions AS version ON version.id = current_version_id"
    found = rows(url, query)
    return int(found[0][0]) if found else 0


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repo(tmp_path / "repo", flow("one"))


async def test_each_commit_becomes_current_by_the_next_look(
    fresh_database_url: str, repo: Path, controller: Controller
) -> None:
    assert await controller.run_once() == INTERVAL
    commit(repo, "two", json.dumps(flow("two")))
    assert await controller.run_once() == INTERVAL
    assert sorted(rows(fresh_database_url, "SELECT name FROM flows")) == [("one",), ("two",)]


async def test_a_commit_that_is_wrong_is_tried_once_and_the_next_one_goes_through(
    fresh_database_url: str, repo: Path, controller: Controller
) -> None:
    def attempts() -> list[Any]:
        return rows(fresh_database_url, "SELECT status FROM sync_attempts ORDER BY id")

    await controller.run_once()
    bad = commit(repo, "one", '{"name": "one"}')
    for _ in range(3):
        assert await controller.run_once() == INTERVAL
    assert controller.stuck == bad
    assert [status for (status,) in attempts()].count("failed") == 1, "told once"
    commit(repo, "one", json.dumps(flow("one", 2)))
    await controller.run_once()
    assert controller.stuck is None
    assert current_number(fresh_database_url) == 2


async def test_a_source_that_is_away_is_tried_again_with_longer_and_longer_pauses(
    controller: Controller, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from automata.errors import Unavailable

    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable("the remote does not answer")

    with monkeypatch.context() as patched:
        patched.setattr("automata.services.sync_controller.sync_once", away)
        pauses = [await controller.run_once() for _ in range(12)]
    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-1] == MAX_PAUSE_SEC
    assert await controller.run_once() == INTERVAL
    assert controller.failures == 0


async def test_two_controllers_of_one_source_make_each_version_once(fresh_database_url: str, repo: Path) -> None:
    async with await Database.open(fresh_database_url) as db:
        crowd = [Controller(db, Source(str(repo), branch="main"), Pace(INTERVAL)) for _ in range(4)]
        for value in range(2, 6):
            commit(repo, "one", json.dumps(flow("one", value)))
            await asyncio.gather(*(one.run_once() for one in crowd))
    assert rows(fresh_database_url, "SELECT count(*), max(number) FROM flow_versions") == [(4, 4)]


def test_a_controller_that_is_killed_goes_on_where_it_was(fresh_database_url: str, repo: Path) -> None:
    env = environment(fresh_database_url, AUTOMATA_SYNC_INTERVAL_SEC="1")
    member = Member("controller", env, "--repo", str(repo), "--branch", "main")

    def current() -> int:
        return current_number(fresh_database_url)

    with fleet(member):
        until(lambda: current() == 1, "the first commit is synced")
        assert member.ready()[0] == 200
        member.kill()
        commit(repo, "one", json.dumps(flow("one", 2)))
        member.start()
        until(lambda: current() == 2, "what came meanwhile is synced")
        metrics = httpx.get(f"{member.address}/metrics").text
        labels = f'environment="prod",result="synced",source="{repo}"'
        assert f"automata_sync_attempts_total{{{labels}}} 1.0" in metrics
        member.signal(signal.SIGTERM)
        assert member.ended() == 0


@pytest.mark.parametrize("bad", ["0", "0.5", "86401", "nan", "inf", "-1", "soon"])
def test_the_interval_is_bounded(bad: str) -> None:
    with pytest.raises(Usage, match="AUTOMATA_SYNC_INTERVAL_SEC"):
        load({"AUTOMATA_SYNC_INTERVAL_SEC": bad})
