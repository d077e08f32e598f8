"""`automata doctor` finds what is wrong, says what to do, and its exit code says whom it concerns.

The tests' own server runs with fsync and full_page_writes off, which it must notice: on it a healthy doctor ends with
these two findings.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automata import build
from automata.cli.app import main
from automata.cli.doctor import _server
from automata.services.process_heartbeat import Presence
from automata.settings import Settings
from automata.store.database import Database
from automata.store.diagnostics import ServerStatus
from tests.cli.test_app import closed_port

Checks = dict[str, dict[str, Any]]
Run = Callable[..., tuple[int, Checks]]
HEALTHY = {
    "version": "18.1",
    "standby": False,
    "encoding": "UTF8",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "autovacuum": "on",
    "max_connections": 97,
    "connections": 5,
    "oldest_transaction_sec": 0.0,
    "frozen_age": 1000,
    "size": 2**20,
    "sees_others": True,
}


@pytest.fixture
def url(make_database: Callable[[], str]) -> str:
    return make_database()


@pytest.fixture
def run(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call it with settings for (exit code, checks by name)."""
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH", "AUTOMATA_CONFIG", "AUTOMATA_AMQP_URL", "AUTOMATA_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", url)
    monkeypatch.setenv("AUTOMATA_DATA_DIR", str(tmp_path / "data"))

    def call(**settings: str) -> tuple[int, Checks]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["automata", "doctor", "-o", "json"])
        with pytest.raises(SystemExit) as ended:
            main()
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is not any(one["state"] == "failed" for one in told["checks"])
        return int(ended.value.code or 0), {one["check"]: one for one in told["checks"]}

    return call


def test_what_is_well_is_told_too_and_nothing_up_is_a_warning(run: Run, url: str) -> None:
    code, checks = run()
    assert code == 4
    assert [name for name, one in checks.items() if one["state"] == "failed"] == ["fsync", "full_page_writes"]
    assert {name for name, one in checks.items() if one["state"] == "ok"} == {
        "settings", "database", "connections", "migrations", "clock", "secrets", "broker", "disk",
    }  # fmt: skip
    assert (checks["git"]["state"], checks["processes"]["state"]) == ("skipped", "warning")
    assert "`automata worker`" in checks["processes"]["todo"]
    assert all(one["todo"] for one in checks.values() if one["state"] != "ok")


async def beat(url: str, *parts: str) -> None:
    async with await Database.open(url) as db:
        await Presence(db, set(parts), Settings()).beat()


@pytest.fixture
def processes(url: str) -> None:
    """A process of each kind has said that it is there. The command runs a loop of its own, so its tests have none."""
    asyncio.run(beat(url, "api", "scheduler", "orchestrator", "worker"))


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("parts", ["{api,scheduler,orchestrator,worker}", "{worker}"])
def test_two_builds_of_one_version_are_told_apart(run: Run, url: str, parts: str) -> None:
    """Also beside what is missing altogether."""
    with psycopg.connect(url) as conn:
        conn.execute("UPDATE processes SET parts = %s", [parts])
        conn.execute(
            "INSERT INTO processes (id, name, parts, queues, concurrency, version, clock_ms)"
            " SELECT gen_random_uuid(), 'other', parts, queues, 1, '0.1.0+0000000000', clock_ms FROM processes"
        )
    _, checks = run()
    assert checks["processes"]["state"] == "warning"
    assert f"versions 0.1.0+0000000000, {build()}" in checks["processes"]["found"]


@pytest.mark.usefixtures("processes")
def test_processes_and_their_clocks_are_looked_at(run: Run, url: str) -> None:
    _, checks = run()
    assert checks["processes"]["state"] == "ok"
    assert "1 worker" in checks["processes"]["found"]
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE processes SET clock_ms = -90000, seen_at = now()")
    assert "-90.0 s" in run()[1]["clock"]["found"]


def test_a_database_that_is_away_or_not_migrated_is_not_fit(run: Run, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DELETE FROM alembic_version")
    code, checks = run()
    assert (code, checks["migrations"]["state"]) == (4, "failed")
    assert "automata migrate" in checks["migrations"]["todo"]
    code, checks = run(AUTOMATA_DATABASE_URL=f"postgresql://x:hush@127.0.0.1:{closed_port()}/x")
    assert (code, checks["database"]["state"]) == (4, "failed")
    assert checks["disk"]["state"] == "ok", "the rest is looked at all the same"
    assert "hush" not in json.dumps(checks)


def test_a_broker_and_a_repository_that_do_not_answer_are_told_without_their_passwords(run: Run) -> None:
    address = f"amqp://ada:hush@127.0.0.1:{closed_port()}/"
    code, checks = run(AUTOMATA_AMQP_URL=address, AUTOMATA_REPO=f"http://ada:hush@127.0.0.1:{closed_port()}/f.git")
    assert code == 4
    assert (checks["broker"]["state"], checks["git"]["state"]) == ("failed", "failed")
    assert "polling" in checks["broker"]["todo"]
    assert "hush" not in json.dumps(checks)


def test_a_broker_that_answers_is_well_and_keeps_its_messages(run: Run, amqp_url: str) -> None:
    assert run(AUTOMATA_AMQP_URL=amqp_url)[1]["broker"]["state"] == "ok"


def test_secrets_that_flows_name_are_looked_for(run: Run, url: str, tmp_path: Path) -> None:
    spec = {
        "name": "a",
        "steps": [{"id": "x", "type": "http", "config": {"url": "https://a.test", "body": "{{ secrets.CRM_TOKEN }}"}}],
        "webhooks": [{"name": "h", "secret": "HOOK_KEY"}],
    }
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO flows (name) VALUES ('a')")
        conn.execute(
            "INSERT INTO flow_versions (flow_id, number, content_hash, spec) SELECT id, 1, 'x', %s FROM flows",
            [json.dumps(spec)],
        )
        conn.execute("UPDATE flows SET current_version_id = (SELECT id FROM flow_versions)")
    found = run(AUTOMATA_SECRET_CRM_TOKEN="canary-value")[1]["secrets"]
    assert (found["state"], "HOOK_KEY" in found["found"], "CRM_TOKEN" in found["found"]) == ("warning", True, False)
    assert "canary-value" not in json.dumps(found)
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o700)
    (folder / "HOOK_KEY").write_text("0123456789abcdef")
    assert run(AUTOMATA_SECRETS_DIR=str(folder))[1]["secrets"]["state"] == "ok"
    folder.chmod(0o755)
    assert "chmod" in run()[1]["secrets"]["todo"]
    code, checks = run(AUTOMATA_SECRETS_DIR=str(tmp_path / "none"), AUTOMATA_DATA_DIR=str(tmp_path))
    assert (code, checks["secrets"]["state"]) == (3, "failed"), "a wrong setting is for whoever set it"


@pytest.mark.parametrize(
    ("change", "check", "state"),
    [
        ({"standby": True}, "database", "failed"),
        ({"encoding": "SQL_ASCII"}, "encoding", "failed"),
        ({"fsync": "off"}, "fsync", "failed"),
        ({"full_page_writes": "off"}, "full_page_writes", "failed"),
        ({"synchronous_commit": "off"}, "synchronous_commit", "failed"),
        ({"autovacuum": "off"}, "autovacuum", "failed"),
        ({"oldest_transaction_sec": 4000.0}, "oldest transaction", "warning"),
        ({"sees_others": False}, "oldest transaction", "warning"),
        ({"frozen_age": 1_900_000_000}, "wraparound", "failed"),
    ],
)
def test_a_server_that_may_lose_or_stall_what_it_is_given_is_told(change: Any, check: str, state: str) -> None:
    assert [one.state for one in _server(ServerStatus(**HEALTHY))] == ["ok"]
    found = {one.check: one for one in _server(ServerStatus(**(HEALTHY | change)))}
    assert found[check].state == state
    assert found[check].todo
