"""What waits for a person or for its time: approvals and schedules."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from automata.engine.decision import FOREVER
from automata.store.queue_sentinels import ADVANCE
from automata.store.waiting_codec import ApprovalWait, encode_array
from tests.web.conftest import OpenSite, Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


async def asking(site: Site, step: str = "sign", prompt: str = "May it go on?") -> dict[str, Any]:
    """A run that waits for a decision, as the orchestrator leaves it."""
    run = await site.run()
    await site.start(run)
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads)"
            " SELECT id, %s, %s, %s, version_id, %s FROM runs WHERE id = %s",
            [step, ADVANCE, FOREVER, encode_array(ApprovalWait(prompt)), UUID(run["id"])],
        )
    return run


async def decisions(site: Site, run: dict[str, Any]) -> list[Any]:
    async with site.db.connection() as conn:
        cursor = await conn.execute("SELECT step, approved, comment FROM approvals WHERE run_id = %s", [run["id"]])
        return await cursor.fetchall()


async def test_what_waits_for_a_decision_is_shown_with_its_run_and_decided_once(site: Site) -> None:
    assert "Nothing waits for a decision" in read(await site.http.get("/approvals")).text
    await site.flow()
    run = await asking(site, "group.one.sign", f"Pay {HOSTILE}?")
    assert "Approvals waiting 1 " in read(await site.http.get("/")).text
    page = read(await site.http.get("/approvals"))
    assert f"Pay {HOSTILE}?" in page.text
    assert f"/runs/{run['id']}" in page.links()
    assert f"/runs/{run['id']}/steps/group.one.sign" in page.links()
    fields = {"run": run["id"], "step": "group.one.sign", "verdict": "approve", "comment": f" fine {HOSTILE} "}
    answer = await site.http.post("/approvals", data=fields)
    assert answer.headers["location"] == "/approvals"
    page = read(await site.http.get("/approvals"))
    assert "group.one.sign is approved." in page.text
    assert await decisions(site, run) == [("group.one.sign", True, f"fine {HOSTILE}")]
    await site.http.post("/approvals", data={**fields, "verdict": "reject"})
    assert "was approved by" in read(await site.http.get("/approvals")).text
    assert len(await decisions(site, run)) == 1


async def test_a_rejection_is_a_decision_and_what_says_neither_is_refused(site: Site) -> None:
    await site.flow()
    run = await asking(site)
    fields = {"run": run["id"], "step": "sign"}
    read(await site.http.post("/approvals", data=fields), 422)
    read(await site.http.post("/approvals", data={**fields, "verdict": "maybe"}), 422)
    read(await site.http.post("/approvals", data={**fields, "verdict": "reject", "comment": "x" * 4_001}), 422)
    assert await decisions(site, run) == []
    await site.http.post("/approvals", data={**fields, "verdict": "reject"})
    assert "sign is rejected." in read(await site.http.get("/approvals")).text
    for wrong in ({"run": "x"}, {"run": str(uuid4())}, {"step": "\x00"}, {"step": "elsewhere"}):
        await site.http.post("/approvals", data={**fields, "verdict": "approve", **wrong})
        assert read(await site.http.get("/approvals")).all("div", class_="toast bad"), wrong
    assert len(await decisions(site, run)) == 1


async def test_a_run_that_waits_is_decided_on_its_own_page(site: Site) -> None:
    await site.flow()
    run, other = await asking(site, prompt=f"Pay {HOSTILE}?"), await asking(site, prompt="The other one")
    path = f"/runs/{run['id']}"
    for page in (read(await site.http.get(path)), read(await site.http.get(f"{path}/live"))):
        assert "sign waits for a decision" in page.text
        assert f"Pay {HOSTILE}?" in page.text
        assert "The other one" not in page.text
    fields = {"run": run["id"], "step": "sign", "verdict": "reject", "back": "run"}
    for said in ("sign is rejected.", "was rejected by"):
        answer = await site.http.post("/approvals", data=fields)
        assert answer.headers["location"] == path
        page = read(await site.http.get(path))
        assert said in page.text
        assert "waits for a decision" not in page.text
    assert await decisions(site, other) == []
    read(await site.http.post("/approvals", data={**fields, "run": "//evil.example"}), 404)


async def test_a_viewer_sees_what_waits_and_decides_nothing(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    site.as_(await site.token("admin"))
    await site.flow()
    run = await asking(site)
    site.as_(await site.token("viewer"))
    page = read(await site.http.get("/approvals"))
    assert "May it go on?" in page.text
    assert not page.all("form", action="/approvals")
    fields = {"run": run["id"], "step": "sign", "verdict": "approve"}
    read(await site.http.post("/approvals", data=fields), 403)
    assert await decisions(site, run) == []


async def scheduled(site: Site, name: str = "hourly", flow: str = "orders", **changes: Any) -> str:
    body = {"flow": flow, "name": name, "cron": "0 * * * *"} | changes
    made = await site.http.post("/api/v1/schedules", json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def test_schedules_are_listed_with_their_next_fires_and_by_state(site: Site) -> None:
    assert "No schedules yet" in read(await site.http.get("/schedules")).text
    await site.flow("orders")
    await site.git_flow("synced", schedules=[{"name": "nightly", "cron": "0 2 * * *"}])
    on, off, late = [await scheduled(site, name) for name in ("on", "off", "late")]
    await site.http.post(f"/api/v1/schedules/{off}/pause")
    async with site.db.transaction() as conn:
        await conn.execute(
            "UPDATE schedules SET next_fire_at = now() - interval '3 min', last_error = %s WHERE id = %s",
            [HOSTILE, late],
        )
    for query, names in (
        ("", ["late", "off", "on", "nightly"]),
        ("?flow=synced", ["nightly"]),
        ("?state=paused", ["off"]),
        ("?state=late", ["late"]),
        ("?state=on&flow=orders", ["late", "on"]),
        ("?state=&flow=", ["late", "off", "on", "nightly"]),
        ("?flow=nowhere", []),
    ):
        page = read(await site.http.get(f"/schedules{query}"))
        shown = [name for name in ("late", "off", "on", "nightly") if f": {name}" in page.text]
        assert shown == names, query
    page = read(await site.http.get("/schedules?state=late"))
    assert "by 3 min" in page.text
    assert HOSTILE in page.text
    assert len([one for one in page.all("time") if one["title"].endswith("UTC")]) == 3
    assert "There is no flow 'nowhere'" in read(await site.http.get("/schedules?flow=nowhere")).text
    page = read(await site.http.get("/schedules?limit=2"))
    follow = page.link(rel="next")
    assert follow
    assert ": nightly" in read(await site.http.get(follow)).text
    assert on


async def test_a_schedule_is_paused_resumed_and_started_now(site: Site) -> None:
    await site.flow()
    schedule = await scheduled(site)
    path = f"/schedules/{schedule}"
    for action, enabled, word in (("pause", False, "is paused"), ("resume", True, "is on")):
        answer = await site.http.post(f"{path}/{action}", data={"back": "/schedules?flow=orders"})
        assert answer.headers["location"] == "/schedules?flow=orders"
        assert word in read(await site.http.get("/schedules")).text
        assert (await site.http.get(f"/api/v1{path}")).json()["enabled"] is enabled
    (form,) = read(await site.http.get("/schedules")).all("form", action=f"{path}/trigger")
    page = read(await site.http.get("/schedules"))
    key = page.all("input", name="key")[0]["value"]
    answers = [await site.http.post(form["action"], data={"key": key}) for _ in range(2)]
    run = (await site.http.get(f"/api/v1{answers[0].headers['location']}")).json()
    assert (run["trigger"], run["created_by"]) == ("manual", "schedule hourly")
    assert answers[0].headers["location"] == answers[1].headers["location"], "sent twice it is one run"
    for action in ("pause", "resume", "trigger"):
        read(await site.http.post(f"/schedules/{uuid4()}/{action}", data={"back": ""}), 404)


async def test_a_schedule_that_cannot_start_says_why(site: Site) -> None:
    await site.flow(inputs={"n": {"type": "integer"}})
    schedule = await scheduled(site, inputs={"n": 1})
    await site.flow(inputs={"other": {"required": True}})
    answer = await site.http.post(f"/schedules/{schedule}/trigger", data={"back": "/schedules?state=on"})
    assert answer.headers["location"] == "/schedules?state=on"
    page = read(await site.http.get("/schedules"))
    assert page.all("div", class_="toast bad")
    assert "declares no input `n`" in page.text
    assert not (await site.http.get("/api/v1/runs")).json()["items"]


async def test_a_viewer_sees_schedules_and_changes_none(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    site.as_(await site.token("admin"))
    await site.flow()
    schedule = await scheduled(site)
    site.as_(await site.token("viewer"))
    assert not read(await site.http.get("/schedules")).all("form", method="post", action=f"/schedules/{schedule}/pause")
    for action in ("pause", "resume", "trigger"):
        read(await site.http.post(f"/schedules/{schedule}/{action}", data={"back": ""}), 403)
