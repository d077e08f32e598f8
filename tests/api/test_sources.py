"""Where flows come from, as `automata sync status` asks it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from automata.store.flow_writes import DesiredFlow
from automata.store.sync import SourceRow, apply, ensure_source, lock_source, record_attempt
from tests.api.conftest import spec

V1 = "/api/v1"
A, B = "a" * 40, "b" * 40


async def synced(site, sha, *, url="https://example.com/f.git", environment="prod", **flows) -> SourceRow:
    """A sync of flows whose descriptions are given."""
    async with site.db.transaction() as conn:
        source = await ensure_source(conn, url, branch="main", environment=environment)
        row = await lock_source(conn, source.id)
        wanted = [
            DesiredFlow(name, spec(name, description=text), f"{name} {text}", commit_sha=sha)
            for name, text in flows.items()
        ]
        await apply(conn, row, wanted, sha=sha, tree_sha=sha, started_at=datetime.now(UTC))
    return source


async def versions(site) -> dict[str, int]:
    items = (await site.http.get(f"{V1}/flows")).json()["items"]
    return {one["name"]: one["version"] for one in items}


async def test_without_a_source_the_list_is_empty(site):
    assert (await site.http.get(f"{V1}/sync")).json() == {"items": []}


async def test_a_source_shows_its_conditions_and_its_last_attempts(site):
    async with site.db.transaction() as conn:
        source = await ensure_source(conn, "https://example.com/f.git", branch="main", environment="prod")
        for number in range(22):
            await record_attempt(
                conn,
                source.id,
                "failed",
                sha=f"{number:040x}",
                started_at=datetime.now(UTC),
                error={"step": "validate", "code": "invalid_flows", "message": "One flow is not valid."},
            )
    (shown,) = (await site.http.get(f"{V1}/sync")).json()["items"]
    assert (shown["url"], shown["environment"]) == ("https://example.com/f.git", "prod")
    assert [attempt["sha"][-2:] for attempt in shown["attempts"]][:2] == ["15", "14"]
    assert len(shown["attempts"]) == 20
    states = {one["type"]: (one["status"], one["reason"]) for one in shown["conditions"]}
    assert states["Fetched"][0] == "True"
    assert states["Validated"] == ("False", "InvalidFlows")


async def test_a_rollback_moves_every_flow_pins_visibly_and_is_released(site):
    source = await synced(site, A, orders="one", stock="one")
    await synced(site, B, orders="two", stock="two")
    assert await versions(site) == {"orders": 2, "stock": 2}
    where = f"{V1}/sync/{source.id}"
    answer = await site.http.post(f"{where}/rollback", json={"to": A[:12], "reason": "orders are doubled", "by": "Ada"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["changed"] == ["orders", "stock"]
    assert await versions(site) == {"orders": 1, "stock": 1}
    shown = (await site.http.get(where)).json()
    assert shown == answer.json()["source"]
    assert (shown["head_sha"], shown["pinned"]["sha"], shown["pinned"]["by"]) == (A, A, "Ada")
    (state,) = [one for one in shown["conditions"] if one["type"] == "Synced"]
    assert (state["status"], state["reason"]) == ("False", "Pinned")
    assert "orders are doubled" in state["message"]
    assert [one["sha"] for one in shown["commits"]] == [A, B, A]
    assert shown["attempts"][0]["status"] == "rolled_back"
    released = (await site.http.post(f"{where}/release")).json()
    assert released["pinned"] is None
    assert released["asked_at"], "the controller is woken"
    assert (await site.http.post(f"{where}/release")).json() == released


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"to": "c" * 40}, 404, "not_synced"),
        ({"to": "main"}, 400, None),
        ({"to": "HEAD~1"}, 400, None),
        ({"to": A[:6]}, 400, None),
        ({"to": A, "reason": ""}, 400, None),
        ({"to": A, "reason": "x" * 501}, 400, None),
        ({"to": A, "reason": "a\nb"}, 400, None),
        ({"to": A, "force": True}, 400, None),
        ({}, 400, None),
    ],
)
async def test_a_rollback_that_cannot_be_changes_nothing(site, body, status, code):
    await synced(site, A, orders="one")
    source = await synced(site, B, orders="two")
    answer = await site.http.post(f"{V1}/sync/{source.id}/rollback", json=body)
    assert answer.status_code == status if code else answer.status_code in (400, 422), answer.text
    assert code is None or answer.json()["code"] == code
    assert await versions(site) == {"orders": 2}
    assert (await site.http.get(f"{V1}/sync/{source.id}")).json()["pinned"] is None


async def test_a_source_is_found_by_its_environment_when_no_other_has_it(site):
    await synced(site, A, orders="one")
    await synced(site, B, stock="one", environment="dev")
    assert (await site.http.get(f"{V1}/sync/dev")).json()["head_sha"] == B
    await synced(site, B, other="one", environment="dev", url="https://example.com/2.git")
    answer = await site.http.get(f"{V1}/sync/dev")
    assert (answer.status_code, answer.json()["code"]) == (400, "ambiguous_source")
    for key in ("nowhere", "00000000-0000-0000-0000-000000000000", "x" * 5000, "%00"):
        assert (await site.http.get(f"{V1}/sync/{key}")).status_code == 404, key


async def test_drift_is_compared_when_it_is_asked_for(site):
    source = await synced(site, A, orders="one", stock="one")
    where = f"{V1}/sync/{source.id}/drift"
    assert (await site.http.get(where)).json() == {"items": []}
    async with site.db.connection() as conn:
        await conn.execute("UPDATE flows SET archived_at = now() WHERE name = 'stock'")
    assert (await site.http.get(where)).json()["items"] == [
        {"flow": "stock", "kind": "archived", "wanted": 1, "current": 1, "message": "stock is archived"}
    ]
