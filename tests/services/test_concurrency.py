"""A flow's `concurrency`: never more runs at a time than it says, whoever decides, and nobody waits for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.promises.fleet import Member, fleet
from tests.promises.processes import environment, until

STEP = {"id": "d", "type": "delay", "config": {"duration_ms": 300}}


class Place:
    def __init__(self, api: Member, url: str, orchestrators: list[Member]) -> None:
        self.client = httpx.Client(base_url=f"{api.address}/api/v1", timeout=120)
        self.url = url
        self.orchestrators = orchestrators

    def put(self, name: str, concurrency: dict[str, Any], step: dict[str, Any] = STEP) -> None:
        inputs = {"who": {"type": "string", "default": "a"}}
        spec = {"name": name, "inputs": inputs, "concurrency": concurrency, "steps": [step]}
        answer = self.client.put(f"/flows/{name}", json=spec)
        assert answer.status_code in (200, 201), answer.text

    def start(self, name: str, count: int, **inputs: Any) -> list[str]:
        ids = []
        for _ in range(count):
            answer = self.client.post(f"/flows/{name}/runs", json={"inputs": inputs})
            assert answer.status_code == 201, answer.text
            ids.append(answer.json()["id"])
        return ids

    def run(self, run: str, wait: int = 30) -> dict[str, Any]:
        return dict(self.client.get(f"/runs/{run}", params={"wait_sec": wait}).raise_for_status().json())

    def spans(self, runs: list[str]) -> list[tuple[float, float]]:
        """When each run's step was under way, in the order of the runs."""
        with psycopg.connect(self.url) as conn:
            rows = {
                str(run): (began.timestamp(), ended.timestamp())
                for run, began, ended in conn.execute(
                    "SELECT run_id, started_at, finished_at FROM tasks WHERE run_id = ANY(%s::uuid[])", [runs]
                )
            }
        return [rows[run] for run in runs]


@pytest.fixture(scope="module")
def place(database_url: str) -> Iterator[Place]:
    env = environment(database_url)
    members = [Member(part, env) for part in ("api", "orchestrator", "orchestrator")]
    with fleet(*members) as (api, *orchestrators):
        place = Place(api, database_url, orchestrators)
        yield place
        place.client.close()


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(began, 1) for began, _ in spans] + [(ended, -1) for _, ended in spans])
    most = now = 0
    for _, step in edges:
        now += step
        most = max(most, now)
    return most


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_runs_than_the_limit_are_under_way_and_they_begin_in_order(place: Place, limit: int) -> None:
    place.put(f"limited-{limit}", {"limit": limit})
    runs = place.start(f"limited-{limit}", 9)
    assert [place.run(run)["status"] for run in runs] == ["SUCCEEDED"] * 9
    spans = place.spans(runs)
    assert most_at_once(spans) <= limit
    if limit == 1:
        assert [began for began, _ in spans] == sorted(began for began, _ in spans)


def test_a_run_that_waits_is_pending(place: Place) -> None:
    place.put("held", {"limit": 1}, {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    first, second = place.start("held", 2)
    until(lambda: place.run(first, 0)["status"] == "RUNNING", "the first runs")
    time.sleep(0.3)
    assert place.run(second, 0)["status"] == "PENDING"
    place.client.post(f"/runs/{first}/cancel").raise_for_status()
    until(lambda: place.run(second, 0)["status"] == "RUNNING", "the second follows at once", 120)
    place.client.post(f"/runs/{second}/cancel").raise_for_status()
    assert place.run(second)["status"] == "CANCELLED"


def test_a_waiting_run_that_is_cancelled_holds_up_nobody(place: Place) -> None:
    place.put("queue", {"limit": 1}, {"id": "d", "type": "delay", "config": {"duration_sec": 1}})
    first, second, third = place.start("queue", 3)
    place.client.post(f"/runs/{second}/cancel").raise_for_status()
    assert place.run(second)["status"] == "CANCELLED"
    assert [place.run(run)["status"] for run in (first, third)] == ["SUCCEEDED"] * 2


def test_the_limit_holds_for_each_key(place: Place) -> None:
    place.put("keyed", {"limit": 1, "key": "{{ inputs.who }}"})
    ada, bob = place.start("keyed", 3, who="ada"), place.start("keyed", 3, who="bob")
    assert {place.run(run)["status"] for run in ada + bob} == {"SUCCEEDED"}
    assert most_at_once(place.spans(ada)) == most_at_once(place.spans(bob)) == 1
    assert most_at_once(place.spans(ada + bob)) == 2


def test_skip_ends_what_comes_too_many(place: Place) -> None:
    place.put("skipping", {"limit": 1, "policy": "skip"}, {"id": "d", "type": "delay", "config": {"duration_sec": 60}})
    first, second = place.start("skipping", 2)
    done = place.run(second)
    assert (done["status"], done["error"]["code"]) == ("CANCELLED", "concurrency_skipped")
    place.client.post(f"/runs/{first}/cancel").raise_for_status()
    assert place.run(first)["status"] == "CANCELLED"
    (third,) = place.start("skipping", 1)
    until(lambda: place.run(third, 0)["status"] == "RUNNING", "there is a place again")
    place.client.post(f"/runs/{third}/cancel").raise_for_status()


def test_cancel_running_makes_room_for_the_newest(place: Place) -> None:
    place.put(
        "newest", {"limit": 1, "policy": "cancel_running"}, {"id": "d", "type": "delay", "config": {"duration_sec": 60}}
    )
    (first,) = place.start("newest", 1)
    until(lambda: place.run(first, 0)["status"] == "RUNNING", "the first runs")
    (second,) = place.start("newest", 1)
    assert place.run(first)["status"] == "CANCELLED"
    until(lambda: place.run(second, 0)["status"] == "RUNNING", "the second runs", 120)
    place.client.post(f"/runs/{second}/cancel").raise_for_status()


def test_no_place_is_lost_when_orchestrators_are_killed(place: Place) -> None:
    place.put("killed", {"limit": 2}, {"id": "d", "type": "delay", "config": {"duration_ms": 50}})
    runs = place.start("killed", 30)
    for orchestrator in place.orchestrators:
        orchestrator.kill()
        orchestrator.start()
    assert [place.run(run, 60)["status"] for run in runs] == ["SUCCEEDED"] * 30
    assert most_at_once(place.spans(runs)) <= 2
    with psycopg.connect(place.url) as conn:
        left = conn.execute("SELECT count(*) FROM run_slots WHERE run_id = ANY(%s::uuid[])", [runs]).fetchone()
    assert left == (0,)
