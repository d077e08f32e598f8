"""Real processes as the role of docs/operations.md: they do their work, and say which right is taken from them."""

from __future__ import annotations

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from automata.errors import Unavailable
from automata.store import migrate
from tests.few_rights import few_rights
from tests.promises.fleet import Member, fleet
from tests.promises.processes import environment, until

PARTS = ("api", "orchestrator", "worker", "scheduler")
FLOW = {
    "name": "one",
    "steps": [
        {"id": "call", "type": "http", "retry": {"max_attempts": 1}, "config": {"url": "http://127.0.0.1:1/"}},
    ],
    "on_failure": {"id": "told", "type": "transform", "config": {"mappings": {"n": "1"}}},
    "schedules": [{"name": "rarely", "cron": "0 0 1 1 *"}],
}


def test_a_fleet_with_few_rights_works_and_names_the_one_that_it_misses(fresh_database_url: str) -> None:
    with few_rights(fresh_database_url) as url:
        role = sql.Identifier(str(conninfo_to_dict(url)["user"]))
        env = environment(url)
        with (
            fleet(*(Member(part, env) for part in PARTS)) as members,
            httpx.Client(base_url=members[0].address, timeout=120) as api,
            psycopg.connect(fresh_database_url, autocommit=True) as owner,
        ):
            assert api.put("/api/v1/flows/one", json=FLOW).status_code == 201
            run = api.post("/api/v1/flows/one/runs", params={"wait_sec": 30}, json={"inputs": {}}).json()
            assert run["status"] == "FAILED"
            (letter,) = api.get("/api/v1/dlq").json()["items"]
            assert api.post(f"/api/v1/dlq/{letter['id']}/discard", json={}).status_code in (200, 204)
            owner.execute(sql.SQL("REVOKE UPDATE ON task_queue FROM {}").format(role))
            for member in members:
                until(lambda member=member: "UPDATE task_queue" in member.ready()[1], f"{member.part} says so")  # type: ignore[misc]
            owner.execute(sql.SQL("GRANT UPDATE ON task_queue TO {}").format(role))
            for member in members:
                until(lambda member=member: member.ready()[0] == 200, f"{member.part} goes on")  # type: ignore[misc]


def test_the_role_cannot_change_tables(fresh_database_url: str) -> None:
    with few_rights(fresh_database_url) as url:
        with psycopg.connect(fresh_database_url, autocommit=True) as owner:
            owner.execute("DELETE FROM alembic_version")
        with pytest.raises(Unavailable) as caught:
            migrate.upgrade(url)
    assert caught.value.code == "no_rights"
