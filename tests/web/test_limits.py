"""The console for those who are limited to some flows: each page keeps to these, or refuses them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from automata.http.authorization import declared_roles, least_role, routes_within_limits
from automata.web.watch import OVER, Watch
from tests.api.worlds import FOREIGN, MINE, Askers, Asks, World
from tests.web.conftest import OpenSite, read

ON = {"auth": "on", "rate_per_sec": 0}
KEY = "0b9e3f58-3d0f-4d3c-9a3e-5f8a0f1c2d3e"


def _all(*deeds: str) -> Any:
    return lambda world: [{"params": {"do": do, **more}} for do in deeds for more in ({}, {"flow": world.name})]


def _of_flow(world: World) -> list[dict[str, Any]]:
    return [{}, {"params": {"flow": world.name}}, {"params": {"flow": world.flow}}]


# What a request must say beside the address; a route that is not here is asked for nothing more.
ASKS: Asks = {
    ("/flows", "GET"): lambda world: [{}, {"params": {"search": world.name}}],
    ("/flows/{name}/diff", "GET"): lambda _: [{"params": {"before": "1", "after": "2"}}],
    ("/flows/{name}/run", "POST"): lambda _: [{"data": {"key": KEY}}],
    ("/runs", "GET"): _of_flow,
    ("/runs/selected", "POST"): lambda world: [
        {"data": {"run": list(world.runs.values()), "action": action}} for action in ("retry", "cancel")
    ],
    ("/runs/all", "GET"): _all("retry", "cancel"),
    ("/runs/all", "POST"): _all("retry", "cancel"),
    ("/runs/{run_id}/rerun", "POST"): lambda _: [{"data": {"version": "same"}}, {"data": {"version": "latest"}}],
    ("/approvals", "POST"): lambda world: [
        {"data": {"run": world.runs["waiting"], "step": "sign", "verdict": "approve"}}
    ],
    ("/dead-letters", "GET"): lambda world: [*_of_flow(world), {"params": {"run_id": world.runs["failed"]}}],
    ("/dead-letters/all", "GET"): _all("retry", "discard"),
    ("/dead-letters/all", "POST"): _all("retry", "discard"),
    ("/dead-letters/selected", "POST"): lambda world: [
        {"data": {"letter": str(world.letter), "action": action}} for action in ("retry", "discard")
    ],
    ("/schedules", "GET"): _of_flow,
    ("/schedules/{schedule_id}/trigger", "POST"): lambda _: [{"data": {"key": KEY}}],
}


async def test_every_page_for_a_limited_token_looks_as_if_other_flows_were_not_there(open_site: OpenSite) -> None:
    site = await open_site(**ON)
    askers = await Askers.of(site, ASKS)
    routes = [one for one in routes_within_limits(site.app) if not one[0].startswith("/api/")]
    assert set(ASKS) <= set(routes)
    for path, method in sorted(routes, key=lambda route: (route[1] != "GET", route)):
        await askers.check(path, method)
    print(f"\n{len(routes)} pages keep to limits: {askers.walked} requests by a limited token")
    assert len(routes) >= 30


async def test_every_other_page_refuses_who_is_limited(open_site: OpenSite) -> None:
    site = await open_site(**ON, metrics="viewers")
    site.as_(await site.token("reviewer", **MINE))
    keeps, refused = routes_within_limits(site.app), set()
    for path, methods, roles in declared_roles(site.app):
        for method in methods:
            if path.startswith("/api/") or least_role(roles) is None or (path, method) in keeps:
                continue
            answer = await site.http.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code == 403, (path, method)
            refused.add(path)
    assert {"/proposals", "/sync", "/tokens", "/audit", "/flows/{name}/edit"} <= refused
    links = read(await site.http.get("/")).links()
    assert not {"/proposals", "/sync", "/tokens", "/audit"} & set(links)


async def test_what_is_theirs_is_on_every_page_and_counted_alone(open_site: OpenSite) -> None:
    site = await open_site(**ON)
    askers = await Askers.of(site, {})
    mine = await askers.mine()
    site.as_(askers.admin)
    assert "Flows 2" in read(await site.http.get("/")).text
    site.as_(askers.limited)
    page = read(await site.http.get("/"))
    for words in (
        "Flows 1",
        "Dead letters 1",
        "Approvals waiting 1",
        "Active runs 1",
        "Failed, 24h 1",
        "team=billing",
    ):
        assert words in page.text, words
    assert "Git sources" not in page.text
    for path in ("/", "/flows", "/runs", "/dead-letters", "/approvals", "/schedules"):
        assert mine.name in read(await site.http.get(path)).text, path
    del site.http.headers["authorization"]
    await site.http.post("/sign-in", data={"token": askers.limited, "next": "/"})
    shown = read(await site.http.get("/flows")).text
    assert mine.name in shown
    assert askers.foreign.name not in shown, "signed in with it"
    count = read(await site.http.get("/runs/all", params={"do": "retry"})).text
    assert f"{mine.name} failed 1" in count


async def test_a_page_that_watches_a_run_hears_nothing_more_when_its_flow_loses_the_label(open_site: OpenSite) -> None:
    site = await open_site(**ON)
    admin, limited = await site.token("admin"), await site.token(**MINE)
    site.as_(admin)
    await site.flow("orders", labels=MINE)
    run = await site.run("orders")
    site.app.state.console_watch = watch = Watch(site.db, site.context.stopping, turn_sec=0.01)
    header = {"authorization": f"Bearer {limited}"}
    watching = asyncio.create_task(site.http.get(f"/runs/{run['id']}/events", headers=header))
    while UUID(run["id"]) not in watch._known:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    await site.flow("orders", labels=FOREIGN)
    await site.finish(run)
    heard = await watching
    assert (heard.status_code, OVER in heard.content) == (200, False)
    again = await site.http.get(f"/runs/{run['id']}/events", headers=header)
    assert again.status_code == 404
