"""Secret outputs are stored for the steps that read them, and shown to nobody."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from automata.engine.decision import FOREVER
from automata.store.orchestrator_queue import SettleRow
from automata.store.queue_sentinels import ADVANCE
from automata.store.recordings import Recording, save_recordings
from automata.store.task_logs import TaskLog, save_logs
from automata.store.waiting_codec import ApprovalWait, encode_array

V1 = "/api/v1"
TOKEN = "eyJ-canary-of-a-token"
LOGIN = {
    "id": "login",
    "type": "http",
    "config": {"url": "https://login.test"},
    "outputs": {"token": {"value": "{{ response.body.t }}", "secret": True}, "user": "{{ response.body.u }}"},
}
COPY = {"id": "copy", "type": "transform", "depends_on": ["login"], "config": {"mappings": {"h": "x"}}}
OWN = {"token": {"value": "{{ steps.login.outputs.token }}", "secret": True}, "user": "ada"}


async def settle(site, run, step, outputs, status="SUCCEEDED", error=None):
    await site.apply(settle=[SettleRow(UUID(run["id"]), step, status, None, outputs, error)])


async def shown(site, run):
    """All that REST shows of a run, as text."""
    paths = ("", "/tasks", "/logs", "/tasks/login/logs", "/recording")
    answers = [await site.http.get(f"{V1}/runs/{run['id']}{path}") for path in paths]
    letters = await site.http.get(f"{V1}/dlq", params={"run_id": run["id"]})
    assert {answer.status_code for answer in answers[:-1]} == {200}
    return "\n".join(answer.text for answer in (*answers, letters))


async def test_a_secret_output_is_masked_in_its_place_and_wherever_it_turns_up(site):
    await site.flow(steps=[LOGIN, COPY], outputs=OWN, recording="on")
    run = await site.run()
    await settle(site, run, "login", {"token": TOKEN, "user": "ada"})
    await settle(site, run, "copy", {"h": f"Bearer {TOKEN}"})
    async with site.db.transaction() as conn:
        exchange = json.dumps(
            [{"request": {"method": "GET", "url": f"https://a.test/?t={TOKEN}"}, "response": {"status": 200}}]
        )
        await save_recordings(conn, [Recording(UUID(run["id"]), "login", 1, exchange)])
        await save_logs(conn, [TaskLog(UUID(run["id"]), "login", 1, json.dumps([f"got {TOKEN}"]))])
    await site.finish(run, outputs={"token": TOKEN, "user": "ada"})
    assert "canary" not in await shown(site, run)
    answer = (await site.http.get(f"{V1}/runs/{run['id']}")).json()
    assert answer["outputs"] == {"token": "***", "user": "ada"}
    tasks = {
        task["step"]: task["outputs"] for task in (await site.http.get(f"{V1}/runs/{run['id']}/tasks")).json()["items"]
    }
    assert tasks == {"login": {"token": "***", "user": "ada"}, "copy": {"h": "Bearer ***"}}
    async with site.db.connection() as conn:
        stored = await (await conn.execute("SELECT outputs FROM tasks WHERE step = 'login'")).fetchone()
    assert stored[0]["token"] == TOKEN, "the next steps read it"


async def test_a_secret_output_is_masked_in_errors_and_dead_letters(site):
    await site.flow(steps=[LOGIN, COPY])
    run = await site.run()
    await settle(site, run, "login", {"token": TOKEN, "user": "ada"})
    error = {
        "code": "http_status",
        "message": f"401 for {TOKEN}",
        "request": {"headers": {"X": TOKEN}, "url": "https://a"},
    }
    await settle(site, run, "copy", None, "FAILED", error)
    await site.finish(run, "FAILED", error=error)
    text = await shown(site, run)
    assert "canary" not in text
    assert "401 for ***" in text


async def test_items_and_short_values_are_masked_in_their_place(site):
    each = {**LOGIN, "foreach": "{{ [1, 2] }}"}
    await site.flow(steps=[each])
    run = await site.run()
    for index in range(2):
        await settle(site, run, f"login[{index}]", {"token": f"c{index}", "user": "ada"})
    await settle(site, run, "login", [{"token": "c0", "user": "ada"}, {"token": "c1", "user": "ada"}])
    text = await shown(site, run)
    assert '"c0"' not in text
    assert text.count('"token":"***"') == 4


async def test_what_only_the_flow_calls_secret_is_hidden_at_the_step_that_it_comes_from(site):
    plain = {**LOGIN, "outputs": {"token": "{{ response.body.t }}"}}
    await site.flow(steps=[plain], outputs=OWN)
    run = await site.run()
    await settle(site, run, "login", {"token": TOKEN})
    assert "canary" not in await shown(site, run)


@pytest.mark.parametrize("recording", ["on", "off"])
async def test_a_flow_that_called_reads_it_and_shows_it_to_nobody(recording, site):
    await site.flow("login", steps=[LOGIN], outputs=OWN)
    call = {"id": "login", "type": "flow", "config": {"flow": "login"}}
    await site.flow("caller", steps=[call], recording=recording)
    parent, child = await site.run("caller"), await site.run("login")
    async with site.db.transaction() as conn:
        await conn.execute(
            "UPDATE runs SET parent_run_id = %s, parent_step = 'login' WHERE id = %s", [parent["id"], child["id"]]
        )
    await site.finish(child, outputs={"token": TOKEN, "user": "ada"})
    await settle(site, parent, "login", {"token": TOKEN, "user": "ada", "run_id": child["id"]})
    await site.finish(parent, outputs={"all": [TOKEN]})
    for run in (parent, child):
        assert "canary" not in await shown(site, run)


async def call(site, parent, child, step):
    async with site.db.transaction() as conn:
        await conn.execute(
            "UPDATE runs SET parent_run_id = %s, parent_step = %s WHERE id = %s", [parent["id"], step, child["id"]]
        )


@pytest.mark.parametrize("recording", ["on", "off"])
async def test_what_is_secret_in_a_run_is_hidden_in_all_that_it_called_and_that_called_it(recording, site):
    await site.flow("login", steps=[LOGIN], recording=recording)  # its step hides the token, its outputs do not
    steps = [{"id": name, "type": "flow", "config": {"flow": "login"}} for name in ("login", "copy")]
    for name in ("top", "middle", "beside"):
        await site.flow(name, steps=steps, recording=recording)
    top, middle, below, beside = [await site.run(name) for name in ("top", "middle", "login", "beside")]
    await call(site, top, middle, "login")
    await call(site, middle, below, "login")
    await call(site, top, beside, "copy")
    await settle(site, below, "login", {"token": TOKEN, "user": "ada"})
    link = {"link": f"https://a.test/?t={TOKEN}"}
    for run in (below, middle, beside, top):
        if run is not below:
            await settle(site, run, "login", link)
            await settle(site, run, "copy", None, "FAILED", {"code": "x", "message": f"401 for {TOKEN}"})
        await site.finish(run, outputs=link)
    for run in (top, middle, below, beside):
        text = await shown(site, run)
        assert "canary" not in text
        assert "https://a.test/?t=***" in text


async def test_a_run_that_belongs_to_no_other_hides_nothing_of_theirs(site):
    await site.flow("login", steps=[LOGIN])
    first, second = await site.run("login"), await site.run("login")
    await settle(site, first, "login", {"token": TOKEN, "user": "ada"})
    await settle(site, second, "login", {"token": "another-token", "user": f"{TOKEN} of another run"})
    assert "of another run" in await shown(site, second)
    assert "canary" in await shown(site, second)


async def test_a_secret_input_of_a_flow_that_was_called_is_hidden_above_whatever_its_sign(site):
    await site.flow("pay", steps=[COPY | {"depends_on": []}], inputs={"pin": {"type": "integer", "secret": True}})
    await site.flow("caller", steps=[{"id": "login", "type": "flow", "config": {"flow": "pay"}}])
    parent, child = await site.run("caller"), await site.run("pay", inputs={"pin": -987654})
    await call(site, parent, child, "login")
    await settle(site, parent, "login", {"balance": 987654, "text": "pin 987654", "other": 12})
    text = await shown(site, parent)
    assert "987654" not in text
    assert '"other":12' in text


async def test_a_prompt_that_reads_what_is_secret_shows_it_to_nobody_who_is_asked(site):
    await site.flow(steps=[LOGIN, COPY], inputs={"pin": {"secret": True}})
    run = await site.run(inputs={"pin": "canary-pin"})
    await settle(site, run, "login", {"token": TOKEN, "user": "ada"})
    async with site.db.transaction() as conn:
        await conn.execute(
            "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id, reads)"
            " SELECT id, 'ask', %s, %s, version_id, %s FROM runs WHERE id = %s",
            [ADVANCE, FOREVER, encode_array(ApprovalWait(f"{TOKEN} for canary-pin?")), UUID(run["id"])],
        )
    (waiting,) = (await site.http.get(f"{V1}/approvals")).json()["items"]
    assert waiting["prompt"] == "*** for ***?"
