"""The lists of runs and flows, and the overview: what they show, filter, page and do."""

from __future__ import annotations

from uuid import uuid4

import pytest

from automata.engine.states import Trigger
from automata.store.processes import record_heartbeat
from automata.store.sync import ensure_source
from tests.web.conftest import Site, read

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


async def test_runs_are_filtered_by_the_address(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    failed, fine = await site.run("orders"), await site.run("invoices")
    await site.start(failed, "fetch")
    await site.finish(failed, "FAILED", error={"code": "http_status", "message": f"broken {HOSTILE}"})
    await site.start(fine, "fetch")
    await site.finish(fine)
    for query, shown in (
        ("", {failed["id"], fine["id"]}),
        ("?flow=orders", {failed["id"]}),
        ("?status=SUCCEEDED", {fine["id"]}),
        ("?status=&flow=&trigger=&since=&until=", {failed["id"], fine["id"]}),
        ("?trigger=schedule", set()),
        ("?since=2001-01-01T00:00&until=2001-01-02T00:00", set()),
        ("?since=2001-01-01T00:00", {failed["id"], fine["id"]}),
    ):
        page = read(await site.http.get(f"/runs{query}"))
        assert {link.removeprefix("/runs/") for link in page.links() if len(link) == 42} == shown, query
    answer = await site.http.get("/runs?flow=orders")
    assert all(f"<option>{trigger}</option>" in answer.text for trigger in Trigger)
    page = read(answer)
    assert f"broken {HOSTILE}" in page.text
    assert page.all("input", name="flow")[0]["value"] == "orders"


async def test_an_unknown_flow_says_so_and_keeps_the_filter(site: Site) -> None:
    await site.flow("orders")
    page = read(await site.http.get("/runs", params={"flow": "order"}))
    assert "There is no flow 'order'. Did you mean orders?" in page.text
    page = read(await site.http.get("/runs", params={"flow": HOSTILE}))
    assert page.all("input", name="flow")[0]["value"] == HOSTILE


async def test_runs_are_paged_by_cursor_and_keep_their_filters(site: Site) -> None:
    await site.flow()
    made = [(await site.run())["id"] for _ in range(5)]
    seen, path = [], "/runs?flow=orders&limit=2"
    while path:
        page = read(await site.http.get(path))
        seen += [link.removeprefix("/runs/") for link in page.links() if len(link) == 42]
        path = page.link(rel="next")
        assert path is None or ("flow=orders" in path and "limit=2" in path)
    assert seen == made[::-1]
    assert page.link(class_="button quiet") == "/runs"  # clears the filters
    assert "/runs?flow=orders&limit=2" in page.links()  # the first page


@pytest.mark.parametrize(("action", "status"), [("cancel", "CANCELLED"), ("retry", "FAILED")])
async def test_what_is_ticked_is_cancelled_or_retried_and_the_rest_is_counted(
    site: Site, action: str, status: str
) -> None:
    await site.flow()
    moving, over, failed = [await site.run() for _ in range(3)]
    for run, end in ((over, "SUCCEEDED"), (failed, "FAILED")):
        await site.start(run, "fetch")
        await site.finish(run, end)
    fields = {"run": [moving["id"], over["id"], failed["id"]], "action": action, "back": "/runs?flow=orders"}
    answer = await site.http.post("/runs/selected", data=fields)
    assert answer.headers["location"] == "/runs?flow=orders"
    page = read(await site.http.get("/runs"))
    assert ("1 run asked to end. 2" if action == "cancel" else "1 run will go on. 2") in page.text
    reached = moving if action == "cancel" else failed
    now = (await site.http.get(f"/api/v1/runs/{reached['id']}")).json()
    assert now["cancelling"] if action == "cancel" else now["attempt"] == 2


async def test_the_form_of_ticked_runs_is_held_to_its_bounds(site: Site) -> None:
    run = "019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11"
    for fields, status in (
        ({"action": "cancel"}, 422),
        ({"run": run, "action": "delete"}, 422),
        ({"run": "x", "action": "cancel"}, 404),
        ({"run": [run] * 201, "action": "cancel"}, 422),
    ):
        read(await site.http.post("/runs/selected", data=fields), status)
    for back in ("https://evil.example/runs?", "//evil.example", "/runs", "/runs?a\nb"):
        answer = await site.http.post("/runs/selected", data={"run": run, "action": "cancel", "back": back})
        assert answer.headers["location"] == "/runs"
    answer = await site.http.post("/runs/selected", json={"run": run})
    read(answer, 415)


async def test_flows_are_searched_and_chosen_by_labels(site: Site) -> None:
    await site.flow("orders", labels={"team": "shop", "tier": "one"}, description=f"What {HOSTILE} means")
    await site.flow("invoices", labels={"team": "money"})
    for query, names in (
        ("", ["invoices", "orders"]),
        ("?search=ORD", ["orders"]),
        ("?label=team=shop", ["orders"]),
        ("?label=team=shop&label=tier=one&label=", ["orders"]),
        ("?label=team=shop&label=tier=two", []),
        ("?archived=true", []),
    ):
        page = read(await site.http.get(f"/flows{query}"))
        rows = [link for link in page.links() if link.startswith("/flows/") and link.count("/") == 2]
        assert rows == [f"/flows/{name}" for name in names], query
    page = read(await site.http.get("/flows?label=team=shop&label=tier=one"))
    assert "/flows?label=tier%3Done" in page.links()  # takes the other one away
    assert HOSTILE in page.text
    assert read(await site.http.get("/flows?label=nonsense"), 422)


async def test_a_flow_shows_its_last_runs_oldest_first(site: Site) -> None:
    await site.flow()
    for end in ("FAILED", "SUCCEEDED"):
        run = await site.run()
        await site.start(run, "fetch")
        await site.finish(run, end)
    await site.run()
    page = read(await site.http.get("/flows"))
    spark = page.all("svg", class_="spark")[0]["aria-label"]
    assert spark == "The last 3 runs, oldest first: failed, succeeded, active"


async def test_the_overview_counts_what_runs_and_what_failed(site: Site) -> None:
    schedule = {"name": "nightly", "cron": "0 2 * * *"}
    await site.git_flow("synced", schedules=[schedule])
    await site.flow("orders")
    for end in ("FAILED", "FAILED", "SUCCEEDED"):
        run = await site.run()
        await site.start(run, "fetch")
        await site.finish(run, end)
    await site.start(await site.run(), "fetch")
    page = read(await site.http.get("/?span=1h"))
    assert "4 runs since" in page.text
    label = page.all("svg", class_="chart")[0]["aria-label"]
    assert "1 succeeded, 2 failed, 0 cancelled, 1 active" in label
    assert "/flows/orders" in page.links()
    assert "nightly" in page.text
    assert "https://example.com/flows.git" in page.text
    live = await site.http.get("/overview/live?span=1h")
    assert "Runs over time" in read(live).text
    assert "<html" not in live.text


async def test_the_overview_names_the_troubles_of_this_process(site: Site) -> None:
    site.context.health = lambda: {"worker": f"fell over {HOSTILE}", "scheduler": None}
    page = read(await site.http.get("/"))
    assert f"worker: fell over {HOSTILE}" in page.text
    assert "1 trouble" in page.text
    assert "scheduler" not in page.text


async def test_the_overview_shows_which_processes_are_up_and_counts_the_workers(site: Site) -> None:
    assert "Workers alive 0" in read(await site.http.get("/")).text
    async with site.db.connection() as conn:
        await record_heartbeat(conn, uuid4(), "one:1", ["orchestrator", "worker"], ["default"], 500, "1.0")
        await record_heartbeat(conn, uuid4(), f"two:2{HOSTILE}", ["worker"], ["default"], 70, "1.0")
        await record_heartbeat(conn, silent := uuid4(), "three:3", ["worker"], ["default"], 500, "1.0")
        await conn.execute("UPDATE processes SET seen_at = now() - interval '1 minute' WHERE id = %s", [silent])
    text = read(await site.http.get("/")).text
    assert "Workers alive 2" in text
    assert "orchestrator, worker one:1 · 1.0 alive 500" in text
    assert f"worker two:2{HOSTILE} · 1.0 alive 70" in text
    assert "worker three:3 · 1.0 silent 500 1 min ago" in text


async def test_a_source_that_was_never_synced_says_so(site: Site) -> None:
    async with site.db.transaction() as conn:
        await ensure_source(conn, "https://example.com/x.git", branch="main", environment="dev")
    page = read(await site.http.get("/"))
    assert "dev" in page.text
    assert "It was not tried yet." in (await site.http.get("/")).text
