"""Steps that wait for another run, or for a person: real processes over a real database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until


class Place:
    def __init__(self, api: Member, url: str, ledger: Ledger, orchestrator: Member) -> None:
        self.client = httpx.Client(base_url=f"{api.address}/api/v1", timeout=120)
        self.url = url
        self.ledger = ledger
        self.orchestrator = orchestrator

    def put(self, name: str, *steps: dict[str, Any], **more: Any) -> None:
        answer = self.client.put(f"/flows/{name}", json={"name": name, "steps": list(steps), **more})
        assert answer.status_code in (200, 201), answer.text

    def start(self, name: str, **inputs: Any) -> str:
        answer = self.client.post(f"/flows/{name}/runs", json={"inputs": inputs})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def run(self, run: str, wait: int = 30) -> dict[str, Any]:
        return dict(self.client.get(f"/runs/{run}", params={"wait_sec": wait}).raise_for_status().json())

    def tasks(self, run: str) -> dict[str, dict[str, Any]]:
        items = self.client.get(f"/runs/{run}/tasks").raise_for_status().json()["items"]
        return {item["step"]: item for item in items}

    def children(self, run: str) -> list[str]:
        with psycopg.connect(self.url) as conn:
            rows = conn.execute("SELECT id::text FROM runs WHERE parent_run_id = %s", [run]).fetchall()
        return [row[0] for row in rows]

    def call(self) -> dict[str, Any]:
        return {"method": "POST", "url": f"{self.ledger.url}/effect", "body": {}}


@pytest.fixture(scope="module")
def place(database_url: str) -> Iterator[Place]:
    env = environment(database_url)
    members = [Member(part, env) for part in ("api", "orchestrator", "worker")]
    with Ledger(0.05) as ledger, fleet(*members) as (api, orchestrator, _):
        place = Place(api, database_url, ledger, orchestrator)
        yield place
        place.client.close()


def child(flow: str, **config: Any) -> dict[str, Any]:
    return {"id": "child", "type": "flow", "config": {"flow": flow, **config}}


def double(place: Place) -> None:
    config = {"mappings": {"twice": "{{ inputs.n * 2 }}"}}
    steps = {"id": "t", "type": "transform", "config": config}
    inputs = {"n": {"type": "integer", "required": True}}
    place.put("double", steps, inputs=inputs, outputs={"twice": "{{ steps.t.outputs.twice }}"})


def test_a_flow_step_has_the_outputs_of_its_child(place: Place) -> None:
    double(place)
    after = {"id": "after", "type": "transform", "depends_on": ["child"]}
    after["config"] = {"mappings": {"n": "{{ steps.child.outputs.twice + 1 }}"}}
    outputs = {"n": "{{ steps.after.outputs.n }}", "run": "{{ steps.child.outputs.run_id }}"}
    place.put(
        "parent",
        child("double", inputs={"n": "{{ inputs.n }}"}),
        after,
        inputs={"n": {"type": "integer"}},
        outputs=outputs,
    )
    run = place.start("parent", n=20)
    done = place.run(run)
    assert (done["status"], done["outputs"]["n"]) == ("SUCCEEDED", 41)
    assert place.children(run) == [done["outputs"]["run"]]
    of_step = place.run(done["outputs"]["run"])
    assert (of_step["trigger"], of_step["parent_run_id"], of_step["parent_step"]) == ("flow", run, "child")
    assert (done["parent_run_id"], done["parent_step"]) == (None, None)


def test_a_null_among_the_inputs_of_a_child_leaves_the_input_out(place: Place) -> None:
    inputs = {"n": {"type": "integer", "default": 7}, "note": {"type": "string"}}
    place.put(
        "lenient", {"id": "t", "type": "transform", "config": {"mappings": {"all": "{{ inputs }}"}}}, inputs=inputs
    )
    place.put(
        "sender",
        child("lenient", inputs={"n": "{{ none }}", "note": "{{ inputs.note | default(none) }}"}),
        inputs={"note": {}},
    )
    run = place.start("sender")
    assert place.run(run)["status"] == "SUCCEEDED"
    assert place.run(place.children(run)[0])["inputs"] == {"n": 7}


def test_a_child_that_fails_fails_the_step_with_its_reason(place: Place) -> None:
    place.put(
        "broken", {"id": "t", "type": "transform", "config": {"mappings": {"x": "{{ inputs.n.y }}"}}}, inputs={"n": {}}
    )
    place.put("parent-of-broken", child("broken"))
    done = place.run(place.start("parent-of-broken"))
    assert (done["status"], done["error"]["code"], done["error"]["step"]) == ("FAILED", "child_failed", "child")


@pytest.mark.parametrize(
    ("flow", "inputs", "code"),
    [("nobody", {}, "no_flow"), ("double", {}, "invalid_input"), ("double", {"n": "x"}, "invalid_input")],
)
def test_a_child_that_cannot_be_started_fails_the_step(place: Place, flow: str, inputs: Any, code: str) -> None:
    double(place)
    place.put("hopeful", child(flow, inputs=inputs))
    run = place.start("hopeful")
    done = place.run(run)
    assert (done["status"], done["error"]["code"]) == ("FAILED", code)
    assert place.children(run) == []


def test_a_step_that_does_not_wait_goes_on_at_once(place: Place) -> None:
    place.put("slow", {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    place.put("starter", child("slow", wait=False), outputs={"run": "{{ steps.child.outputs.run_id }}"})
    run = place.start("starter")
    done = place.run(run)
    assert done["status"] == "SUCCEEDED"
    (slow,) = place.children(run)
    assert (done["outputs"]["run"], place.run(slow, 0)["status"]) == (slow, "RUNNING")
    place.client.post(f"/runs/{slow}/cancel").raise_for_status()


def test_cancelling_a_parent_cancels_its_children_all_the_way_down(place: Place) -> None:
    place.put("bottom", {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    place.put("middle", child("bottom"))
    place.put("top", child("middle"))
    run = place.start("top")
    until(lambda: bool(place.children(run)) and bool(place.children(place.children(run)[0])), "three levels run")
    (middle,) = place.children(run)
    (bottom,) = place.children(middle)
    place.client.post(f"/runs/{run}/cancel").raise_for_status()
    assert [place.run(one)["status"] for one in (run, middle, bottom)] == ["CANCELLED"] * 3


def test_a_child_that_is_cancelled_fails_its_step(place: Place) -> None:
    place.put("bottom", {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    place.put("middle", child("bottom"))
    run = place.start("middle")
    until(lambda: bool(place.children(run)), "the child runs")
    place.client.post(f"/runs/{place.children(run)[0]}/cancel").raise_for_status()
    done = place.run(run)
    assert (done["status"], done["error"]["code"]) == ("FAILED", "child_cancelled")


def test_a_failure_beside_it_cancels_a_waiting_child(place: Place) -> None:
    place.put("bottom", {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    late = {"id": "late", "type": "delay", "config": {"duration_ms": 500}}
    broken = {"id": "broken", "type": "transform", "depends_on": ["late"]}
    broken["config"] = {"mappings": {"x": "{{ steps.late.outputs.slept_ms.y }}"}}
    place.put("half", child("bottom"), late, broken)
    run = place.start("half")
    assert place.run(run)["status"] == "FAILED"
    assert place.tasks(run)["child"]["status"] == "CANCELLED"
    assert place.run(place.children(run)[0])["status"] == "CANCELLED"


def test_flows_that_call_themselves_end_at_the_deepest_level(place: Place) -> None:
    place.put("endless", child("endless"))
    done = place.run(place.start("endless"))
    assert done["status"] == "FAILED"
    with psycopg.connect(place.url) as conn:
        row = conn.execute("SELECT max(depth) FROM runs").fetchone()
    assert row == (10,)


def test_a_parent_goes_on_though_its_orchestrator_was_killed_while_it_waited(place: Place) -> None:
    place.put("called", {"id": "c", "type": "http", "config": place.call()})
    place.put("caller", *({**child("called"), "id": f"child{n}"} for n in range(5)))
    runs = [place.start("caller") for _ in range(10)]
    until(lambda: any(place.children(run) for run in runs), "children run")
    place.orchestrator.kill()
    place.orchestrator.start()
    assert [place.run(run)["status"] for run in runs] == ["SUCCEEDED"] * 10
    assert [len(place.children(run)) for run in runs] == [5] * 10


# --- approvals -----------------------------------------------------------------------------------------------------


def ask(place: Place, name: str, **config: Any) -> str:
    review = {"id": "review", "type": "approval", "config": {"prompt": "Pay {{ inputs.n }}, now?", **config}}
    pay = {
        "id": "pay",
        "type": "transform",
        "depends_on": ["review"],
        "condition": "{{ steps.review.outputs.approved }}",
    }
    pay["config"] = {"mappings": {"by": "{{ steps.review.outputs.by }}"}}
    place.put(name, review, pay, inputs={"n": {"type": "integer", "default": 7}})
    return place.start(name)


def open_of(place: Place, run: str) -> list[dict[str, Any]]:
    items = place.client.get("/approvals").raise_for_status().json()["items"]
    return [item for item in items if item["run_id"] == run]


def decide(place: Place, run: str, **body: Any) -> httpx.Response:
    return place.client.post(f"/runs/{run}/approvals/review", json=body)


@pytest.mark.parametrize(("approved", "pay"), [(True, "SUCCEEDED"), (False, "SKIPPED")])
def test_a_decision_lets_the_flow_go_on(place: Place, approved: bool, pay: str) -> None:
    run = ask(place, "asking")
    until(lambda: bool(open_of(place, run)), "it asks")
    (waiting,) = open_of(place, run)
    assert (waiting["prompt"], waiting["step"], waiting["expires_at"]) == ("Pay 7, now?", "review", None)
    assert decide(place, run, approved=approved, by="Ada", comment="fine").status_code == 204
    assert place.run(run)["status"] == "SUCCEEDED"
    tasks = place.tasks(run)
    assert tasks["review"]["outputs"] == {"approved": approved, "by": "Ada", "comment": "fine"}
    assert tasks["pay"]["status"] == pay
    assert open_of(place, run) == []


def test_a_step_is_decided_once(place: Place) -> None:
    run = ask(place, "asking-once")
    until(lambda: bool(open_of(place, run)), "it asks")
    assert decide(place, run, approved=True, by="Ada").status_code == 204
    second = decide(place, run, approved=False, by="Eve")
    assert (second.status_code, second.json()["code"]) == (409, "already_decided")
    assert place.run(run)["status"] == "SUCCEEDED"
    assert place.tasks(run)["review"]["outputs"]["by"] == "Ada"


def test_an_approval_that_expires_fails_the_step(place: Place) -> None:
    run = ask(place, "asking-briefly", expires_sec=1)
    done = place.run(run)
    assert (done["status"], done["error"]["code"]) == ("FAILED", "approval_expired")
    late = decide(place, run, approved=True)
    assert late.status_code == 404


def test_a_run_that_waits_for_a_person_can_be_cancelled(place: Place) -> None:
    run = ask(place, "asking-in-vain")
    until(lambda: bool(open_of(place, run)), "it asks")
    place.client.post(f"/runs/{run}/cancel").raise_for_status()
    assert place.run(run)["status"] == "CANCELLED"
    assert open_of(place, run) == []


@pytest.mark.parametrize("body", [{}, {"approved": "yes"}, {"approved": True, "by": ""}, {"approved": True, "x": 1}])
def test_a_decision_that_cannot_be_read_decides_nothing(place: Place, body: dict[str, Any]) -> None:
    run = ask(place, "asking-strictly")
    until(lambda: bool(open_of(place, run)), "it asks")
    assert decide(place, run, **body).status_code == 422
    assert len(open_of(place, run)) == 1
    place.client.post(f"/runs/{run}/cancel").raise_for_status()


def test_an_approval_inside_a_branch_is_found_by_its_short_id(place: Place) -> None:
    review = {"id": "review", "type": "approval", "config": {"prompt": "?"}}
    place.put("nested", {"id": "fan", "type": "parallel", "branches": [{"id": "a", "steps": [review]}]})
    run = place.start("nested")
    until(lambda: bool(open_of(place, run)), "it asks")
    assert open_of(place, run)[0]["step"] == "fan.a.review"
    assert decide(place, run, approved=True).status_code == 204
    assert place.run(run)["status"] == "SUCCEEDED"


def test_a_waiting_run_costs_no_statements(place: Place) -> None:
    """It is one row with a time far away: nobody looks at it before somebody decides."""
    run = ask(place, "asking-quietly")
    until(lambda: bool(open_of(place, run)), "it asks")
    with psycopg.connect(place.url, autocommit=True) as conn:
        before = conn.execute("SELECT queued_at, losses FROM task_queue WHERE run_id = %s", [run]).fetchone()
        time.sleep(0.5)
        assert conn.execute("SELECT queued_at, losses FROM task_queue WHERE run_id = %s", [run]).fetchone() == before
    place.client.post(f"/runs/{run}/cancel").raise_for_status()
