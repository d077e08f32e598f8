"""Alive, ready, and counted."""

from __future__ import annotations

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from automata.api.app import create_app
from automata.broker.local import LocalBroker
from automata.settings import Settings
from automata.store import readiness
from automata.store.database import Database
from tests.few_rights import few_rights


async def test_a_live_process_is_ok_and_a_ready_one_too(site):
    for path in ("/healthz", "/readyz"):
        answer = await site.http.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok", "reasons": []})


async def test_a_part_that_fell_over_makes_the_process_unready_and_is_named(site):
    site.context.health = lambda: {"worker": None, "orchestrator": "KeyError: x"}
    answer = await site.http.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["orchestrator: KeyError: x"])
    assert (await site.http.get("/healthz")).status_code == 200


async def test_a_stopping_server_takes_no_more_work(site):
    site.context.stopping.set()
    assert (await site.http.get("/readyz")).json()["reasons"] == ["the server is stopping"]


async def test_a_database_without_tables_or_without_life_is_a_reason(fresh_database_url):
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM alembic_version")
    async with await Database.open(fresh_database_url, migrated=False) as db:
        app = create_app(db, LocalBroker(), Settings())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            unmigrated = await http.get("/readyz")
            await db.close()
            dead = await http.get("/readyz")
            run = await http.post("/api/v1/flows/orders/runs")
            alive = await http.get("/healthz")
    assert (unmigrated.status_code, dead.status_code) == (503, 503)
    assert "automata migrate" in unmigrated.json()["reasons"][0]
    assert dead.headers["retry-after"]
    assert (run.status_code, run.headers["content-type"]) == (503, "application/problem+json")
    assert run.headers["retry-after"]
    assert alive.status_code == 200


async def test_a_database_that_answers_and_is_of_no_use_is_a_reason(fresh_database_url, monkeypatch):
    """The look is kept for a moment: everybody may ask, and the database pays for it."""
    with few_rights(fresh_database_url) as url:
        with psycopg.connect(fresh_database_url, autocommit=True) as conn:
            user = sql.Identifier(conninfo_to_dict(url)["user"])
            conn.execute(sql.SQL("REVOKE INSERT ON runs FROM {}").format(user))
        async with await Database.open(url) as db:
            app = create_app(db, LocalBroker(), Settings())
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
                poor = await http.get("/readyz")
                monkeypatch.setattr(readiness, "_FILL", "DO $$ BEGIN RAISE disk_full; END $$")
                again = await http.get("/readyz")
                app.state.context.troubles.clear()
                full = await http.get("/readyz")
    assert (poor.status_code, again.json()) == (503, poor.json())
    assert "INSERT runs" in poor.json()["reasons"][0]
    assert "The disk of " in full.json()["reasons"][1]


async def test_metrics_count_requests_by_route_template_never_by_address(site):
    await site.flow()
    await site.run()
    await site.http.get("/api/v1/flows/some-name-nobody-has")
    await site.http.get("/no/such/route-x1")
    await site.http.request("BREW", "/healthz")
    text = (await site.http.get("/metrics")).text
    assert 'automata_http_requests_total{method="POST",route="/api/v1/flows/{name}/runs",status="201"}' in text
    assert 'route="unmatched",status="404"' in text
    assert 'automata_runs_created_total{trigger="api"}' in text
    assert "automata_build_info" in text
    for leaked in ("some-name-nobody-has", "route-x1", "BREW"):
        assert leaked not in text
