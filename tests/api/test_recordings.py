"""Recorded runs over REST: whose document there is, and what it does not show."""

from __future__ import annotations

import json
from uuid import UUID

from automata.sandbox.recorded import read_recording
from automata.store.recordings import Recording, save_recordings

V1 = "/api/v1"
SENT = {"method": "GET", "url": "https://example.com/?pin=4711-secret"}
EXCHANGE = json.dumps([{"request": SENT, "response": {"status": 200}}])
RECORDED = {"recording": "on", "inputs": {"pin": {"secret": True}}}


async def recorded(site, name="orders"):
    await site.flow(name, **RECORDED)
    run = await site.run(name, {"pin": "4711-secret"})
    async with site.db.transaction() as conn:
        await save_recordings(conn, [Recording(UUID(run["id"]), "fetch", 1, EXCHANGE)])
        await save_recordings(conn, [Recording(UUID(run["id"]), "fetch", 1, "[]")])
    return run


async def test_a_run_at_its_end_is_a_recording_without_its_secret_inputs(site):
    run = await recorded(site)
    await site.finish(run)
    answer = await site.http.get(f"{V1}/runs/{run['id']}/recording")
    assert answer.status_code == 200
    assert "4711" not in answer.text
    made, problems = read_recording(answer.content, "a.json")
    assert problems == ()
    assert made.inputs == {"pin": "***"}
    assert [one["request"]["url"] for one in made.exchanges] == ["https://example.com/?pin=***"], "kept once"
    listed = (await site.http.get(f"{V1}/flows/orders/recordings")).json()["items"]
    assert [(one["id"], one["status"]) for one in listed] == [(run["id"], "SUCCEEDED")]


async def test_what_is_no_recording_is_a_404_that_says_why(site):
    running = await recorded(site)
    await site.flow("silent")
    silent = await site.run("silent")
    await site.finish(silent)
    cancelled = await site.run("orders", {"pin": "1"})
    await site.finish(cancelled, "CANCELLED")
    for run in (running["id"], silent["id"], cancelled["id"], str(UUID(int=1))):
        answer = await site.http.get(f"{V1}/runs/{run}/recording")
        assert answer.status_code == 404
        assert "recording: on" in answer.json()["hint"]
    assert (await site.http.get(f"{V1}/flows/orders/recordings")).json()["items"] == []


async def test_how_many_is_bounded(site):
    await recorded(site)
    for last in ("0", "1001", "x"):
        assert (await site.http.get(f"{V1}/flows/orders/recordings", params={"last": last})).status_code == 422
    assert (await site.http.get(f"{V1}/flows/none/recordings")).status_code == 404
