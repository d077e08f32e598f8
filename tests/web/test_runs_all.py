"""What is done to all runs that a filter finds: counted, asked about, done in batches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from automata.store.orchestrator_queue import SettleRow
from automata.web import bulk
from tests.web.conftest import OpenSite, Reader, Site, read


async def ended(site: Site, status: str, flow: str = "orders") -> dict[str, Any]:
    run = await site.run(flow)
    await site.start(run)
    error = {"code": "http_status", "message": "503", "step": "fetch"}
    if status == "FAILED":
        await site.apply(settle=[SettleRow(UUID(run["id"]), "fetch", "FAILED", None, None, error)])
    await site.finish(run, status, error=error if status == "FAILED" else None)
    return run


async def now(site: Site, run: dict[str, Any]) -> dict[str, Any]:
    return dict((await site.http.get(f"/api/v1/runs/{run['id']}")).json())


def question(page: Reader) -> str:
    (form,) = [one for one in page.all("form") if "do=" in one.get("action", "")]
    return form["action"]


async def test_all_unfinished_runs_of_a_filter_are_cancelled_after_a_question_with_their_number(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    moving = [await site.run() for _ in range(3)]
    other, over = await site.run("invoices"), await ended(site, "SUCCEEDED")
    listed = read(await site.http.get("/runs?flow=orders"))
    (asking,) = [link for link in listed.links() if "do=cancel" in link]
    page = read(await site.http.get(asking))
    assert "Cancel 3 runs?" in page.text
    assert not (await now(site, moving[0]))["cancelling"], "asking does nothing"
    later = await site.run()
    answer = await site.http.post(question(page), data={"a": ""})
    assert answer.headers["location"] == "/runs?flow=orders"
    assert "3 runs asked to end." in read(await site.http.get("/runs")).text
    assert [(await now(site, run))["cancelling"] for run in moving] == [True] * 3
    for run in (later, other, over):
        assert not (await now(site, run))["cancelling"]


async def test_all_that_failed_go_on_and_what_somebody_cancelled_only_when_it_is_asked_for(site: Site) -> None:
    await site.flow()
    failed = [await ended(site, "FAILED") for _ in range(2)]
    cancelled = await ended(site, "CANCELLED")
    page = read(await site.http.get("/runs/all?do=retry"))
    assert "Retry 2 runs?" in page.text
    await site.http.post(question(page), data={"a": ""})
    assert "2 runs will go on." in read(await site.http.get("/runs")).text
    assert [(await now(site, run))["attempt"] for run in (*failed, cancelled)] == [2, 2, 1]
    page = read(await site.http.get("/runs/all?do=retry"))
    assert "Nothing is like that any more" in page.text
    await site.http.post(question(read(await site.http.get("/runs/all?do=retry&status=CANCELLED"))), data={"a": ""})
    assert (await now(site, cancelled))["attempt"] == 2


async def test_more_runs_than_one_request_may_reach_are_asked_about_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("automata.web.runs.MAX_BULK", 2)
    monkeypatch.setattr(bulk, "MAX_AT_ONCE", 4)
    await site.flow()
    for _ in range(5):
        await site.run()
    answer = await site.http.post("/runs/all?do=cancel&flow=orders", data={"a": ""})
    page = read(await site.http.get(answer.headers["location"]))
    assert "4 runs asked to end. There are more." in page.text
    assert "Cancel 1 run?" in page.text
    answer = await site.http.post(question(page), data={"a": ""})
    assert answer.headers["location"] == "/runs?flow=orders"


@pytest.mark.parametrize(
    "query",
    ["do=drop", "", "do=cancel&status=FAILED", "do=retry&status=SUCCEEDED", "do=cancel&cursor=x", "do=cancel&since=x"],
)
async def test_what_makes_no_sense_is_refused(site: Site, query: str) -> None:
    read(await site.http.get(f"/runs/all?{query}"), 422)
    read(await site.http.post(f"/runs/all?{query}", data={"a": ""}), 422)


async def test_a_filter_that_finds_nothing_of_a_kind_offers_nothing_of_it(site: Site) -> None:
    await site.flow()
    await ended(site, "SUCCEEDED")
    await ended(site, "FAILED")
    for query, offered in (("", {"cancel", "retry"}), ("?status=SUCCEEDED", set()), ("?status=FAILED", {"retry"})):
        links = read(await site.http.get(f"/runs{query}")).links()
        assert {do for do in ("cancel", "retry") if any(f"/runs/all?do={do}" in one for one in links)} == offered
    read(await site.http.get("/runs/all?do=cancel&flow=nowhere"), 404)


async def test_a_viewer_does_nothing_to_all(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    site.as_(await site.token("admin"))
    await site.flow()
    run = await site.run()
    site.as_(await site.token("viewer"))
    assert not [link for link in read(await site.http.get("/runs")).links() if "/runs/all" in link]
    read(await site.http.get("/runs/all?do=cancel"), 403)
    read(await site.http.post("/runs/all?do=cancel", data={"a": ""}), 403)
    assert not (await now(site, run))["cancelling"]


async def test_starting_again_needs_no_script(site: Site) -> None:
    await site.flow()
    run = await ended(site, "SUCCEEDED")
    page = read(await site.http.get(f"/runs/{run['id']}"))
    assert [one for one in page.all("button", popovertarget="rerun") if "popovertargetaction" not in one]
    assert page.all("div", id="rerun")[0]["popover"] == ""
    assert [one["value"] for one in page.all("input", name="version")] == ["same", "latest", "number"]
