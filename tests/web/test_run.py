"""The page of a run: what it says while the run moves and when it is over, and what may be done there."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any
from uuid import UUID, uuid4

import pytest

from automata.errors import Busy
from automata.store.task_logs import TaskLog, save_logs
from automata.web import watch as watching
from automata.web.watch import CHANGED, OVER, Watch
from tests.web.conftest import Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
SECRET = "the-pin-of-the-customer"


async def failed(site: Site, **extra: Any) -> dict[str, Any]:
    """A run whose only step failed with hostile words in all that it says."""
    flow = {"inputs": {"note": {}, "pin": {"secret": True}}, "description": HOSTILE, **extra}
    await site.flow(**flow)
    run = await site.run(inputs={"note": HOSTILE, "pin": SECRET})
    await site.start(run, "fetch")
    error = {
        "code": "http_status",
        "message": f"answered 500 {HOSTILE} {SECRET}",
        "request": {"method": "POST", "url": "https://example.com/", "body": f"{HOSTILE} {SECRET}"},
    }
    async with site.db.transaction() as conn:
        await conn.execute(
            "WITH gone AS (DELETE FROM task_queue WHERE run_id = %(run)s)"
            " INSERT INTO tasks (run_id, step, status, attempt, queued_at, started_at, error)"
            " VALUES (%(run)s, 'fetch', 'FAILED', 2, now() - interval '3 s', now() - interval '1 s', %(error)s)",
            {"run": UUID(run["id"]), "error": json.dumps(error)},
        )
        await conn.execute(
            "INSERT INTO task_attempts (run_id, step, attempt, started_at, finished_at, retry_at, error)"
            " VALUES (%s, 'fetch', 1, now() - interval '3 s', now() - interval '2 s', now() - interval '1 s', %s)",
            [UUID(run["id"]), json.dumps({"code": "http_status", "message": HOSTILE})],
        )
        line = {"at": "2026-01-05T09:00:00.123456Z", "level": "error", "message": f"{HOSTILE} {SECRET}"}
        await save_logs(conn, [TaskLog(UUID(run["id"]), "fetch", 2, json.dumps([line]))])
    await site.finish(run, "FAILED", error={**error, "step": "fetch"})
    return run


async def test_a_failed_run_says_why_and_offers_to_go_on(site: Site) -> None:
    run = await failed(site)
    answer = await site.http.get(f"/runs/{run['id']}")
    page = read(answer)
    assert "answered 500" in page.text
    assert HOSTILE in page.text
    assert SECRET not in answer.text
    assert SECRET.replace("-", "&#45;") not in answer.text
    assert page.all("form", action=f"/runs/{run['id']}/retry")
    assert not page.all("form", action=f"/runs/{run['id']}/cancel")
    assert not page.all("div", id="live")[0].get("data-live"), "nothing more will happen"
    graph = [one for one in page.all("script", type="application/json") if one.get("id") == "graph-data"]
    assert graph
    assert page.all("div", class_="head")[0].get("data-over") == ""


async def test_a_step_shows_all_that_is_known_of_it_and_no_secret(site: Site) -> None:
    run = await failed(site)
    path = f"/runs/{run['id']}/steps/fetch"
    whole = await site.http.get(path)
    page = read(whole)
    for words in ("Request that was sent last", "Attempts", "Logs", "As its file has it", "09:00:00.123", "POST"):
        assert words in page.text, words
    part = await site.http.get(path, headers={"hx-request": "true"})
    assert "<html" not in part.text
    assert HOSTILE in read(part).text
    assert SECRET not in whole.text + part.text
    read(await site.http.get(f"/runs/{run['id']}/steps/nowhere"), 404)
    read(await site.http.get(f"/runs/{uuid4()}/steps/fetch"), 404)


async def test_a_run_that_moves_listens_and_may_be_cancelled(site: Site) -> None:
    await site.flow()
    run = await site.run()
    await site.start(run, "fetch")
    page = read(await site.http.get(f"/runs/{run['id']}"))
    assert page.all("div", id="live")[0]["data-live"] == f"/runs/{run['id']}/events"
    assert not page.all("form", action=f"/runs/{run['id']}/retry")
    answer = await site.http.post(f"/runs/{run['id']}/cancel", data={})
    assert answer.headers["location"] == f"/runs/{run['id']}"
    live = await site.http.get(f"/runs/{run['id']}/live")
    assert "cancelling" in read(live).text
    assert "<html" not in live.text


async def test_retry_goes_on_once_and_says_why_it_cannot(site: Site) -> None:
    run = await failed(site)
    path = f"/runs/{run['id']}"
    await site.http.post(f"{path}/retry", data={})
    assert "The run goes on at what failed." in read(await site.http.get(path)).text
    assert (await site.http.get(f"/api/v1{path}")).json()["attempts"][0]["retried_by"]
    await site.http.post(f"{path}/retry", data={})
    assert "Wait for its end" in read(await site.http.get(path)).text
    read(await site.http.post(f"/runs/{uuid4()}/retry", data={}), 404)


async def test_a_run_is_started_again_by_the_version_that_is_chosen(site: Site) -> None:
    await site.flow(description="one")
    run = await site.run()
    await site.flow(description="two")
    for fields, version in (
        ({"version": "same"}, 1),
        ({"version": "latest", "number": ""}, 2),
        ({"version": "number", "number": "1"}, 1),
    ):
        answer = await site.http.post(f"/runs/{run['id']}/rerun", data=fields)
        made = (await site.http.get(f"/api/v1{answer.headers['location']}")).json()
        assert (made["version"], made["rerun_of"]) == (version, run["id"])
    answer = await site.http.post(f"/runs/{run['id']}/rerun", data={"version": "number", "number": "9"})
    assert "has no version 9" in read(await site.http.get(answer.headers["location"])).text
    for fields in ({"version": "number", "number": "x"}, {"version": "old"}):
        read(await site.http.post(f"/runs/{run['id']}/rerun", data=fields), 422)


async def test_a_wide_run_is_shown_in_part_its_failures_first(site: Site) -> None:
    each = {"id": "each", "type": "transform", "foreach": "{{ inputs.all }}", "config": {"mappings": {"a": 1}}}
    await site.flow("wide", steps=[each], inputs={"all": {"type": "array"}})
    run = await site.run("wide")
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO tasks (run_id, step, status, queued_at, started_at)"
            " SELECT %s, 'each[' || n || ']', CASE WHEN n = 9999 THEN 'FAILED' ELSE 'SUCCEEDED' END, now(), now()"
            " FROM generate_series(0, 9999) AS n",
            [UUID(run["id"])],
        )
    page = read(await site.http.get(f"/runs/{run['id']}"))
    steps = [one["id"] for one in page.all("details")]
    assert len(steps) == 301  # and the step whose items they are
    assert "step-each[9999]" in steps
    assert "301 steps; of more the API has all" in page.text
    answer = await site.http.get(f"/runs/{run['id']}/steps/each%5B9999%5D")
    assert "failed" in read(answer).text


async def test_what_is_no_run_is_a_page_that_says_so(site: Site) -> None:
    for path in (f"/runs/{uuid4()}", "/runs/x", "/runs/x/live", f"/runs/{uuid4()}/events"):
        read(await site.http.get(path), 404)


async def test_a_stream_tells_of_changes_and_of_the_end(site: Site) -> None:
    await site.flow()
    run = await site.run()
    watch = Watch(site.db, site.context.stopping, turn_sec=0.02)
    async with aclosing(watch.stream(UUID(run["id"]))) as stream, asyncio.timeout(10):
        assert (await anext(stream)).startswith(b"retry:")
        assert await anext(stream) == CHANGED
        await site.start(run, "fetch")
        assert await anext(stream) == CHANGED
        await site.finish(run)
        assert OVER in [piece async for piece in stream]
    assert watch.streams == 0


async def test_streams_end_when_the_server_stops(site: Site) -> None:
    await site.flow()
    run = await site.run()
    answer = await asyncio.gather(site.http.get(f"/runs/{run['id']}/events"), _stop(site), return_exceptions=False)
    assert answer[0].headers["content-type"].startswith("text/event-stream")
    assert answer[0].headers["cache-control"] == "no-store"
    assert CHANGED in answer[0].content


async def _stop(site: Site) -> None:
    await asyncio.sleep(0.1)
    site.context.stopping.set()


async def test_more_streams_than_there_is_room_for_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MAX_STREAMS", 1)
    await site.flow()
    run = await site.run()
    watch = Watch(site.db, site.context.stopping, turn_sec=0.02)
    async with aclosing(watch.stream(UUID(run["id"]))) as stream:
        await anext(stream)
        with pytest.raises(Busy):
            watch.check_room()
    watch.check_room()
