"""`automata doctor` says of each setting that a part would refuse that it is wrong, and of each surprise what to do."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from automata.cli import doctor
from automata.cli.app import main
from tests.cli.test_app import closed_port
from tests.few_rights import few_rights
from tests.promises.processes import make_repo

Checks = dict[str, dict[str, Any]]
Run = Callable[..., tuple[int, Checks]]
OIDC = {"AUTOMATA_OIDC_ISSUER": "https://id.example.com", "AUTOMATA_PUBLIC_URL": "https://automata.example.com"}
FLOW = {"name": "one", "steps": [{"id": "a", "type": "transform", "config": {"mappings": {"n": "1"}}}]}


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call it with settings for (exit code, checks by name)."""
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH", "AUTOMATA_CONFIG", "AUTOMATA_AMQP_URL", "AUTOMATA_SECRETS_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", database_url)
    monkeypatch.setenv("AUTOMATA_DATA_DIR", str(tmp_path / "data"))

    def call(**settings: str) -> tuple[int, Checks]:
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["automata", "doctor", "-o", "json"])
        with pytest.raises(SystemExit) as ended:
            main()
        answer = json.loads(capsys.readouterr().out)
        return int(ended.value.code or 0), {check["check"]: check for check in answer["checks"]}

    return call


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"AUTOMATA_RETENTON_DAYS": "30"}, "AUTOMATA_RETENTON_DAYS (did you mean AUTOMATA_RETENTION_DAYS?)"),
        ({"AUTOMATA_XYZZY": "1"}, "AUTOMATA_XYZZY"),
        ({"AUTOMATA_HEARTBEAT_SEC": "40"}, "AUTOMATA_LEASE_SEC"),
        ({"AUTOMATA_CONCURRENCY": "many"}, "AUTOMATA_CONCURRENCY"),
        ({"AUTOMATA_LOG_LEVEL": "loud"}, "AUTOMATA_LOG_LEVEL"),
        (OIDC, "AUTOMATA_OIDC_CLIENT_ID"),
        ({"AUTOMATA_OIDC_CLIENT_SECRET": "x"}, "AUTOMATA_OIDC_ISSUER"),
        ({"AUTOMATA_AUTH": "maybe"}, "AUTOMATA_AUTH"),
        ({"AUTOMATA_AUTH": "off", "AUTOMATA_HOST": "0.0.0.0"}, "AUTOMATA_AUTH=off"),
        ({"AUTOMATA_METRICS": "nobody"}, "AUTOMATA_METRICS"),
        ({"AUTOMATA_SESSION_SECRET": "short"}, "AUTOMATA_SESSION_SECRET"),
        ({"AUTOMATA_SYNC_WEBHOOK_SECRET": "weak"}, "AUTOMATA_SYNC_WEBHOOK_SECRET"),
        ({"AUTOMATA_EGRESS_DENY": "10.0.0.0/99"}, "10.0.0.0/99"),
        ({"AUTOMATA_AMQP_URL": "http://mq"}, "AUTOMATA_AMQP_URL"),
        ({"AUTOMATA_REPO": "https://g.test/f.git", "AUTOMATA_ENVIRONMENT": "Prod Two"}, "name of an environment"),
        ({"AUTOMATA_SOURCES": "env=prod"}, "is no source"),
        ({"AUTOMATA_SECRETS_DIR": "/no/such/folder"}, "/no/such/folder"),
        ({"AUTOMATA_VAULT_ADDR": "https://vault.test", "AUTOMATA_VAULT_AUTH": "magic"}, "AUTOMATA_VAULT_AUTH"),
        ({"AUTOMATA_DATABASE_URL": "mysql://db/x"}, "address is not understood"),
        ({"AUTOMATA_DATABASE_URL": "", "AUTOMATA_DATABASE_DIRECT_URL": "postgresql://db/x"}, "AUTOMATA_DATABASE_URL"),
    ],
)  # fmt: skip
def test_a_setting_that_a_part_would_refuse_is_wrong(run: Run, settings: dict[str, str], words: str) -> None:
    code, checks = run(**settings)
    wrong = [check for check in checks.values() if check["state"] == "failed" and words in check["found"]]
    assert (code, len(wrong)) == (3, 1), checks
    assert wrong[0]["todo"]


def test_an_environment_that_the_repository_does_not_have_is_wrong(run: Run, tmp_path: Path) -> None:
    repo = tmp_path / "flows-repo"
    repo.mkdir()
    (repo / "automata.yaml").write_text("environments: {prod: {}, staging: {}}\n")
    make_repo(repo, FLOW)
    assert run(AUTOMATA_REPO=str(repo), AUTOMATA_ENVIRONMENT="staging")[1]["git"]["state"] == "ok"
    code, checks = run(AUTOMATA_ENVIRONMENT="stagging")
    assert (code, checks["git"]["state"]) == (3, "failed")
    assert "has no environment 'stagging'" in checks["git"]["found"]
    assert "staging" in checks["git"]["todo"]


def test_a_role_without_rights_is_told_with_what_to_do(run: Run, database_url: str) -> None:
    with few_rights(database_url) as url, psycopg.connect(database_url, autocommit=True) as conn:
        assert "fitness" not in run(AUTOMATA_DATABASE_URL=url)[1]
        role = sql.Identifier(str(conninfo_to_dict(url)["user"]))
        conn.execute(sql.SQL("REVOKE DELETE ON task_queue FROM {}").format(role))
        code, checks = run()
        assert (code, checks["fitness"]["state"]) == (4, "failed")
        assert "DELETE task_queue" in checks["fitness"]["found"]
        conn.execute(sql.SQL("REVOKE SELECT ON alembic_version FROM {}").format(role))
        code, checks = run()
        assert "alembic_version" in str(checks)
        assert "A role with few rights" in str(checks)
        assert code == 4


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("settings", "check", "todo"),
    [
        ({"AUTOMATA_DATABASE_URL": "postgresql://x@{closed}/x"}, "database", "Start PostgreSQL"),
        ({"AUTOMATA_DATABASE_URL": "postgresql://x@{deaf}/x"}, "database", "Start PostgreSQL"),
        ({"AUTOMATA_AMQP_URL": "amqp://x@{closed}/"}, "broker", "polling"),
        ({"AUTOMATA_REPO": "http://{closed}/f.git"}, "git", "the next attempt may succeed"),
        (
            {"AUTOMATA_VAULT_ADDR": "http://{closed}", "AUTOMATA_VAULT_TOKEN": "canary"},
            "secrets",
            "AUTOMATA_VAULT_ADDR",
        ),
    ],
)
def test_what_is_away_is_told_with_what_to_do(
    run: Run, deaf: str, settings: dict[str, str], check: str, todo: str
) -> None:
    closed = f"127.0.0.1:{closed_port()}"
    code, checks = run(**{name: value.format(closed=closed, deaf=deaf) for name, value in settings.items()})
    assert (code, checks[check]["state"]) == (4, "failed"), checks[check]
    assert todo in checks[check]["todo"]
    assert "canary" not in str(checks)


def test_a_database_that_does_not_exist_is_told_with_the_command_that_makes_it(run: Run, database_url: str) -> None:
    name = str(conninfo_to_dict(database_url)["dbname"])
    code, checks = run(AUTOMATA_DATABASE_URL=database_url.replace(f"/{name}", "/no_such_database", 1))
    assert (code, checks["database"]["state"]) == (4, "failed")
    assert "createdb no_such_database" in checks["database"]["todo"]


def test_a_check_that_breaks_is_a_finding_and_ends_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_broker", lambda settings: 1 / 0)
    code, checks = run()
    assert (code, checks["broker"]["state"]) == (4, "failed")
    assert "ZeroDivisionError" in checks["broker"]["found"]
    assert checks["disk"]["state"] == "ok"
