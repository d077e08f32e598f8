"""Tokens limited by labels: every route keeps to the flows that bear them, or refuses whoever has such a token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from automata.http.authorization import routes_within_limits
from tests.api.conftest import V1, OpenSite, Site
from tests.api.worlds import FOREIGN, MINE, Askers, Asks, World

ON = {"auth": "on", "rate_per_sec": 0}
PAST = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}


def _bulk(world: World) -> list[dict[str, Any]]:
    """All that may be seen, counted and done, and what of it belongs to one flow."""
    given = [{"all": True, "dry_run": True}, {"all": True}, {"flow": world.name}, {"flow": world.flow}]
    return [{"json": one} for one in given]


def _listed(world: World, **more: str) -> list[dict[str, Any]]:
    return [{}, *({"params": {**more, "flow": flow}} for flow in (world.name, world.flow))]


# What a request must say beside the address; a route that is not here is asked for nothing more.
ASKS: Asks = {
    (f"{V1}/flows", "GET"): lambda world: [{}, {"params": {"search": world.name[:6], "archived": "any"}}],
    (f"{V1}/flows/{{name}}/runs", "POST"): lambda _: [{}, {"headers": {"Idempotency-Key": "one"}}],
    (f"{V1}/runs", "GET"): lambda world: [
        *_listed(world),
        *({"params": {"status": status}} for status in ("FAILED", "SUCCEEDED", "RUNNING", "PENDING", "CANCELLED")),
    ],
    (f"{V1}/runs/batch", "POST"): lambda world: [
        {"json": {"runs": [{"flow": flow}], "atomic": atomic}}
        for flow in (world.name, world.flow)
        for atomic in (False, True)
    ],
    (f"{V1}/runs/cancel", "POST"): _bulk,
    (f"{V1}/runs/retry", "POST"): _bulk,
    (f"{V1}/dlq", "GET"): lambda world: [*_listed(world), {"params": {"run_id": world.runs["failed"]}}],
    (f"{V1}/dlq/retry", "POST"): _bulk,
    (f"{V1}/dlq/discard", "POST"): lambda world: [*_bulk(world), {"json": {"run_id": world.runs["failed"]}}],
    (f"{V1}/runs/{{run_id}}/approvals/{{step}}", "POST"): lambda _: [{"json": {"approved": True}}],
    (f"{V1}/schedules", "GET"): _listed,
    (f"{V1}/schedules", "POST"): lambda world: [{"json": {"flow": world.name, "name": "new", "interval_sec": 3600}}],
    (f"{V1}/schedules/{{schedule_id}}", "PUT"): lambda world: [
        {"json": {"flow": world.name, "name": f"{world.name}-nightly", "interval_sec": 3600}}
    ],
    (f"{V1}/schedules/{{schedule_id}}/backfill", "POST"): lambda _: [
        {"json": {**PAST, "dry_run": True}},
        {"json": PAST},
    ],
}


async def test_every_route_that_takes_a_limited_token_answers_as_if_other_flows_were_not_there(
    open_site: OpenSite,
) -> None:
    site = await open_site(**ON)
    askers = await Askers.of(site, ASKS)
    routes = sorted(routes_within_limits(site.app), key=lambda route: (route[1] != "GET", route))
    assert set(ASKS) <= set(routes)
    for path, method in routes:
        await askers.check(path, method)
    print(f"\n{len(routes)} routes of the API keep to limits: {askers.walked} requests by a limited token")
    assert len(routes) >= 35


async def test_what_a_limited_token_may_do_is_done_to_its_own(open_site: OpenSite) -> None:
    site = await open_site(**ON)
    askers = await Askers.of(site, {})
    mine = await askers.mine()
    seen = (await site.http.get(f"{V1}/runs")).json()["items"]
    assert {one["id"] for one in seen} == set(mine.runs.values())
    counted = (await site.http.post(f"{V1}/runs/retry", json={"all": True, "dry_run": True})).json()
    assert (counted["matched"], [one["flow"] for one in counted["groups"]]) == (1, [mine.name])
    done = (await site.http.post(f"{V1}/runs/retry", json={"all": True})).json()
    assert done["runs"] == [mine.runs["failed"]]
    done = (await site.http.post(f"{V1}/runs/cancel", json={"all": True})).json()
    assert set(done["runs"]) == {mine.runs["failed"], mine.runs["waiting"]}


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """A site that asks who is there; its admin asks."""
    site = await open_site(**ON)
    site.as_(await site.token("admin"))
    return site


async def test_pages_of_a_limited_token_are_full_and_end_where_its_flows_do(site: Site) -> None:
    await site.flow("mine", labels=MINE)
    await site.flow("mine-too", labels=MINE)
    await site.flow("foreign", labels=FOREIGN)
    wanted = []
    for flow in ("mine", "foreign", "foreign", "mine-too", "foreign") * 3:
        run = await site.run(flow)
        await site.finish(run)
        wanted += [run["id"]] if flow != "foreign" else []
    site.as_(await site.token("viewer", **MINE))
    for query in ({}, {"status": "SUCCEEDED"}, {"trigger": "api"}, {"since": "2026-01-01T00:00:00Z"}):
        seen: list[str] = []
        sizes = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await site.http.get(f"{V1}/runs", params={**query, "limit": 4, "cursor": cursor})).json()
            seen += [one["id"] for one in page["items"]]
            sizes.append(len(page["items"]))
            cursor = page["next_cursor"]
        assert seen == wanted[::-1], query
        assert sizes == [4, 2]


async def test_a_flow_counts_by_the_labels_that_it_bears_now_and_needs_all_of_them(site: Site) -> None:
    admin, limited = site.http.headers["authorization"], await site.token("operator", **MINE)
    await site.flow("orders", labels=MINE)
    run = await site.run("orders", **{"Idempotency-Key": "once"})

    async def statuses(labels: dict[str, str]) -> set[int]:
        site.http.headers["authorization"] = admin
        await site.flow("orders", labels=labels)
        site.as_(limited)
        paths = ("flows/orders", f"flows/{run['flow_id']}", f"runs/{run['id']}", f"runs/{run['id']}/tasks")
        found = [(await site.http.get(f"{V1}/{path}")).status_code for path in paths]
        again = await site.http.post(f"{V1}/flows/orders/runs", headers={"Idempotency-Key": "once"})
        return {*found, again.status_code}

    assert await statuses({**MINE, "more": "yes"}) == {200}
    for labels in ({"team": MINE["team"]}, {}, FOREIGN, {**MINE, "team": "billing2"}):
        assert await statuses(labels) == {404}, labels
    assert await statuses(dict(MINE)) == {200}


async def test_a_name_that_is_nearly_that_of_a_foreign_flow_is_not_mended(site: Site) -> None:
    await site.flow("salaries", labels=FOREIGN)
    assert "salaries" in (await site.http.get(f"{V1}/flows/salarie")).json()["hint"]
    site.as_(await site.token("viewer", **MINE))
    assert "salaries" not in (await site.http.get(f"{V1}/flows/salarie")).text


async def test_requests_that_share_a_read_are_each_answered_under_their_own_limit(site: Site) -> None:
    await site.flow("orders", labels=FOREIGN)
    tokens = [await site.token("admin"), await site.token(**MINE), await site.token(**FOREIGN)]

    async def ask(index: int) -> int:
        header = {"authorization": f"Bearer {tokens[index % 3]}"}
        return (await site.http.get(f"{V1}/flows/orders", headers=header)).status_code

    assert await asyncio.gather(*map(ask, range(30))) == [200, 404, 200] * 10


async def test_a_batch_with_a_foreign_flow_is_refused_as_one_with_an_unknown_flow(site: Site) -> None:
    await site.flow("orders", labels=MINE)
    await site.flow("wages", labels=FOREIGN)
    site.as_(await site.token("operator", **MINE))
    for foreign in ("wages", "nosuc"):
        body = {"runs": [{"flow": "orders"}, {"flow": foreign}], "atomic": True}
        answer = await site.http.post(f"{V1}/runs/batch", json=body)
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["code"], error["pointer"]) == (422, "not_found", "/runs/1")
    assert (await site.http.get(f"{V1}/runs")).json()["items"] == []


async def test_whoever_waits_for_a_run_is_told_that_there_is_none_when_its_flow_loses_the_label(site: Site) -> None:
    await site.flow("orders", labels=MINE)
    run = await site.run("orders")
    header = {"authorization": f"Bearer {await site.token(**MINE)}"}
    waiting = asyncio.create_task(site.http.get(f"{V1}/runs/{run['id']}?wait_sec=30", headers=header))
    while not site.context.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await site.flow("orders", labels=FOREIGN)
    await site.finish(run)
    assert (await waiting).status_code == 404
