"""The pages of sync: what is told of a source, and what may be done about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from automata.store.flow_writes import DesiredFlow
from automata.store.sync import SourceRow, apply, ensure_source, lock_source, record_attempt
from automata.store.sync_hints import record_seen_commit
from tests.api.conftest import spec
from tests.web.conftest import OpenSite, Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
A, B, C = "a" * 40, "b" * 40, "c" * 40


async def synced(site: Site, sha: str, **flows: str) -> SourceRow:
    """A sync of flows whose descriptions are given."""
    async with site.db.transaction() as conn:
        source = await ensure_source(conn, "https://example.com/f.git", branch="main", environment="prod")
        row = await lock_source(conn, source.id)
        wanted = [
            DesiredFlow(name, spec(name, description=text), f"{name} {text}", commit_sha=sha)
            for name, text in flows.items()
        ]
        await apply(conn, row, wanted, sha=sha, tree_sha=sha, started_at=datetime.now(UTC))
    return source


async def told(site: Site, source: SourceRow) -> dict[str, Any]:
    return dict((await site.http.get(f"/api/v1/sync/{source.id}")).json())


async def test_a_source_tells_where_it_stands_and_what_went_wrong(site: Site) -> None:
    assert "No Git source" in read(await site.http.get("/sync")).text
    source = await synced(site, A, orders="one")
    async with site.db.transaction() as conn:
        error = {"step": "validate", "code": "invalid_flows", "message": f"x {HOSTILE}", "hint": f"mend {HOSTILE}"}
        await record_attempt(conn, source.id, "failed", sha=B, started_at=datetime.now(UTC), error=error)
        await record_seen_commit(conn, source.id, B)
        await conn.execute("UPDATE flows SET archived_at = now() WHERE name = 'orders'")
    for path in ("/sync", f"/sync/{source.id}", "/sync/prod"):
        page = read(await site.http.get(path))
        assert f"Validated: x {HOSTILE} mend {HOSTILE}" in page.text, path
        assert "not synced" in page.text
        assert "https://example.com/f.git" in page.text
    assert "orders is archived" in page.text
    assert not page.all("form", action=f"/sync/{source.id}/rollback"), "there is no other commit"
    for key in (str(uuid4()), "nowhere", "x" * 300):
        read(await site.http.get(f"/sync/{key}"), 404)


async def test_sync_now_has_the_controller_look(site: Site) -> None:
    source = await synced(site, A, orders="one")
    answer = await site.http.post(f"/sync/{source.id}/look", data={"back": ""})
    assert answer.headers["location"] == f"/sync/{source.id}"
    assert "looks at the branch within seconds" in read(await site.http.get("/sync")).text
    assert (await told(site, source))["asked_at"]
    assert (await site.http.post("/api/v1/sync/prod/look")).json()["asked_at"]
    read(await site.http.post(f"/sync/{uuid4()}/look", data={"back": ""}), 404)


async def test_an_environment_is_rolled_back_with_a_reason_and_released(site: Site) -> None:
    source = await synced(site, A, orders="one")
    await synced(site, B, orders="two")
    path = f"/sync/{source.id}"
    page = read(await site.http.get(path))
    assert [one["value"] for one in page.all("option")] == [A]
    for wrong in ({"to": A, "reason": ""}, {"to": "x", "reason": "y"}, {"to": C, "reason": "y"}):
        await site.http.post(f"{path}/rollback", data=wrong)
        assert read(await site.http.get(path)).all("div", class_="toast bad"), wrong
    assert (await told(site, source))["pinned"] is None
    await site.http.post(f"{path}/rollback", data={"to": A, "reason": f"orders are doubled {HOSTILE}"})
    page = read(await site.http.get(path))
    assert "1 flow rolled back." in page.text
    assert f"orders are doubled {HOSTILE}" in page.text
    assert (await told(site, source))["head_sha"] == A
    assert (
        "stay where they are pinned"
        in read(await site.http.get((await site.http.post(f"{path}/look", data={"a": ""})).headers["location"])).text
    )
    await site.http.post(f"{path}/release", data={"back": ""})
    assert "It follows its branch again" in read(await site.http.get(path)).text
    assert (await told(site, source))["pinned"] is None


async def test_an_operator_has_it_look_and_only_an_admin_rolls_back(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    source = await synced(site, A, orders="one")
    await synced(site, B, orders="two")
    path = f"/sync/{source.id}"
    for role, may_look in (("viewer", False), ("operator", True), ("reviewer", True)):
        site.as_(await site.token(role))
        page = read(await site.http.get(path))
        assert bool(page.all("form", action=f"{path}/look")) is may_look
        assert not page.all("form", action=f"{path}/rollback")
        answer = await site.http.post(f"{path}/look", data={"back": ""})
        assert answer.status_code == (303 if may_look else 403)
        for action in ("rollback", "release"):
            read(await site.http.post(f"{path}/{action}", data={"to": A, "reason": "x"}), 403)
    assert (await told(site, source))["pinned"] is None
