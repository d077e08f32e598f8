"""A run goes on by a mended version of its flow, where what it keeps is the same there: real processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment

Json = dict[str, Any]
SKIPPED: Json = {"id": "maybe", "type": "transform", "condition": "false", "config": {"mappings": {"v": 1}}}


@pytest.fixture(scope="module")
def ledger() -> Iterator[Ledger]:
    with Ledger() as ledger:
        yield ledger


@pytest.fixture(scope="module")
def client(database_url: str) -> Iterator[httpx.Client]:
    env = environment(database_url)
    members = [Member(part, env) for part in ("api", "orchestrator", "worker")]
    with fleet(*members) as (api, *_), httpx.Client(base_url=f"{api.address}/api/v1", timeout=120) as client:
        yield client


def put(client: httpx.Client, name: str, *steps: Json, **more: Any) -> None:
    client.put(f"/flows/{name}", json={"name": name, "steps": list(steps), **more}).raise_for_status()


def call(ledger: Ledger, what: str) -> Json:
    config = {"method": "POST", "url": f"{ledger.url}/effect", "body": {"what": what}}
    return {"id": "call", "type": "http", "config": config}


def shape(template: str, **more: Any) -> Json:
    return {"id": "shape", "type": "transform", "depends_on": ["call"], "config": {"mappings": {"v": template}}, **more}


def ended(client: httpx.Client, run: str) -> Json:
    return dict(client.get(f"/runs/{run}", params={"wait_sec": 60}).raise_for_status().json())


def started(client: httpx.Client, flow: str) -> Json:
    run = client.post(f"/flows/{flow}/runs", json={}).raise_for_status().json()
    return ended(client, run["id"])


def retry(client: httpx.Client, run: Json, version: str | int = "latest") -> httpx.Response:
    return client.post(f"/runs/{run['id']}/retry", json={"version": version})


def made(ledger: Ledger, what: str) -> int:
    return sum(call.body["what"] == what for call in ledger.calls)


def test_outputs_that_were_mended_are_made_and_nothing_is_done_again(client: httpx.Client, ledger: Ledger) -> None:
    put(client, "badout", call(ledger, "out"), SKIPPED, outputs={"x": "{{ steps.maybe.outputs.v }}"})
    run = started(client, "badout")
    assert (run["status"], run["error"]["code"], run["version"]) == ("FAILED", "template_error", 1)
    assert retry(client, run, "same").status_code == 202
    assert ended(client, run["id"])["status"] == "FAILED"
    put(client, "badout", call(ledger, "out"), SKIPPED, outputs={"x": "{{ steps.maybe.outputs.v | default(7) }}"})
    assert retry(client, run).status_code == 202
    run = ended(client, run["id"])
    assert (run["status"], run["outputs"], run["version"]) == ("SUCCEEDED", {"x": 7}, 2)
    assert [attempt["version"] for attempt in run["attempts"]] == [1, 1]
    assert made(ledger, "out") == 1
    assert client.get("/dlq", params={"run_id": run["id"]}).json()["items"] == []


def test_a_step_that_failed_is_done_as_the_mended_version_has_it(client: httpx.Client, ledger: Ledger) -> None:
    gone = {"id": "gone", "type": "transform", "depends_on": ["shape"], "config": {"mappings": {"v": 1}}}
    put(
        client, "mended", call(ledger, "step"), shape("{{ steps.call.outputs.body.nothing }}"), gone, on_failure=SKIPPED
    )
    run = started(client, "mended")
    new = {"id": "new", "type": "transform", "depends_on": ["shape"], "config": {"mappings": {"v": 2}}}
    outputs = {"x": "{{ steps.shape.outputs.v }}", "y": "{{ steps.new.outputs.v }}"}
    put(client, "mended", call(ledger, "step"), shape("{{ steps.call.outputs.body.seen.what }}"), new, outputs=outputs)
    assert retry(client, run, 2).status_code == 202
    run = ended(client, run["id"])
    assert (run["status"], run["outputs"]) == ("SUCCEEDED", {"x": "step", "y": 2})
    assert made(ledger, "step") == 1


def test_a_kept_step_that_was_changed_refuses_the_version_and_leaves_the_run(
    client: httpx.Client, ledger: Ledger
) -> None:
    put(client, "changed", call(ledger, "before"), shape("{{ inputs.nothing }}"), inputs={"nothing": {}})
    run = started(client, "changed")
    put(client, "changed", call(ledger, "after"), shape("{{ 1 }}"), inputs={"nothing": {}})
    answer = retry(client, run)
    assert (answer.status_code, answer.json()["code"]) == (409, "version_differs")
    assert "`call`" in answer.json()["detail"]
    assert client.get(f"/runs/{run['id']}").json() == run
    assert retry(client, run, 9).status_code == 404


def test_inputs_that_the_version_does_not_take_refuse_it(client: httpx.Client, ledger: Ledger) -> None:
    put(client, "asks", call(ledger, "asks"), shape("{{ steps.call.outputs.body.nothing }}"))
    run = started(client, "asks")
    steps = call(ledger, "asks"), shape("{{ inputs.n }}")
    put(client, "asks", *steps, inputs={"n": {"type": "integer", "required": True}})
    assert retry(client, run).status_code == 422
    assert client.get(f"/runs/{run['id']}").json() == run
    put(client, "asks", *steps, inputs={"n": {"type": "integer", "default": 5}}, outputs={"n": "{{ inputs.n }}"})
    assert retry(client, run).status_code == 202
    run = ended(client, run["id"])
    assert (run["outputs"], run["inputs"]) == ({"n": 5}, {"n": 5})


def test_a_child_goes_on_by_its_mended_version_and_its_parent_waits_for_it(
    client: httpx.Client, ledger: Ledger
) -> None:
    put(client, "below", call(ledger, "child"), shape("{{ steps.call.outputs.body.nothing }}"))
    put(
        client, "above", {"id": "c", "type": "flow", "config": {"flow": "below"}}, outputs={"r": "{{ steps.c.status }}"}
    )
    run = started(client, "above")
    assert run["status"] == "FAILED"
    (letter,) = client.get("/dlq", params={"run_id": run["id"]}).json()["items"]
    put(client, "below", call(ledger, "child"), shape("{{ 1 }}"))
    assert retry(client, {"id": letter["run_id"]}).status_code == 202
    assert ended(client, run["id"])["status"] == "SUCCEEDED"
    assert ended(client, letter["run_id"])["version"] == 2
    assert made(ledger, "child") == 1


def keys_of(ledger: Ledger, what: str) -> list[str]:
    return [call.key for call in ledger.calls if call.body["what"] == what]


def test_a_call_that_the_version_changed_has_another_key_and_the_others_have_those_of_their_first_try(
    client: httpx.Client, ledger: Ledger
) -> None:
    same, mended = {**call(ledger, "same"), "id": "same"}, {**call(ledger, "old"), "id": "mended"}
    put(client, "keyed", same, mended)
    ledger.is_down = True
    run = started(client, "keyed")
    put(client, "keyed", same, {**call(ledger, "new"), "id": "mended"})
    assert retry(client, run).status_code == 202
    assert ended(client, run["id"])["status"] == "FAILED"
    ledger.is_down = False
    assert retry(client, run, "same").status_code == 202
    assert ended(client, run["id"])["status"] == "SUCCEEDED"
    assert set(keys_of(ledger, "same")) == {f"{run['id']}:same"}
    assert set(keys_of(ledger, "old")) == {f"{run['id']}:mended"}
    assert set(keys_of(ledger, "new")) == {f"{run['id']}:mended:2"}
