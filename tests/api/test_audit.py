"""The log of changes: who did what, with what was there before and after. conftest.Watched holds every route to it."""

from __future__ import annotations

import uuid
from typing import Any

from tests.api.conftest import V1, OpenSite, spec


async def test_what_is_done_is_told_with_who_did_it_and_what_was_there(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    who = f"ada-{uuid.uuid4().hex[:8]}"  # the log forgets nothing, so earlier tests' entries are in it too
    site.as_(await site.token("author", name=who))
    await site.flow("orders")
    flow = {"content": spec("orders", description="better")}
    assert (await site.http.put(f"{V1}/flows/orders", json=flow["content"])).is_success
    body = {"flow": "orders", "name": "nightly", "cron": "0 2 * * *"}
    schedule = (await site.http.post(f"{V1}/schedules", json=body)).json()["id"]
    assert (await site.http.post(f"{V1}/schedules/{schedule}/pause")).is_success
    run = await site.run()
    assert run["created_by"] == f"{who} <author@example.com>", "a start is told by the run itself"
    assert (await site.http.post(f"{V1}/runs/{run['id']}/cancel")).is_success
    told = await site.audit(actor=who)
    assert [(one["action"], one["object"]) for one in told] == [
        ("flow.create", "flow/orders"),
        ("flow.update", "flow/orders"),
        ("schedule.create", f"schedule/{schedule}"),
        ("schedule.pause", f"schedule/{schedule}"),
        ("run.cancel", f"run/{run['id']}"),
    ]
    assert {(one["role"], one["address"]) for one in told} == {("author", "127.0.0.1")}
    assert len({one["request_id"] for one in told}) == len(told)
    assert_follows(told[0]["after"], told[1]["before"], told[1]["after"])
    assert (told[3]["before"]["enabled"], told[3]["after"]["enabled"]) == (True, False)


def assert_follows(first: Any, before: Any, after: Any) -> None:
    assert first == before != after


async def test_what_is_refused_or_only_asked_leaves_nothing(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    who = f"bob-{uuid.uuid4().hex[:8]}"
    site.as_(await site.token("author"))
    await site.flow()
    run = await site.run()
    site.as_(await site.token("viewer", name=who))
    assert (await site.http.post(f"{V1}/runs/{run['id']}/cancel")).status_code == 403
    site.as_(await site.token("author", name=f"{who}-too"))
    assert (await site.http.post(f"{V1}/runs/cancel", json={"flow": "orders", "dry_run": True})).is_success
    assert (await site.http.put(f"{V1}/flows/orders", json={"name": "orders", "steps": []})).status_code == 422
    assert await site.audit(actor=who) == await site.audit(actor=f"{who}-too") == []
