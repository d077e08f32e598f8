"""The pages of a flow: graph, spec, versions, what differs, and the form that starts a run."""

from __future__ import annotations

import json
import re
from typing import Any

from automata.web.graph import picture
from tests.web.conftest import Reader, Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
INPUTS: dict[str, Any] = {
    "name": {"type": "string", "required": True, "pattern": "^[a-z]+$", "description": HOSTILE},
    "count": {"type": "integer", "default": 3},
    "loud": {"type": "boolean"},
    "tier": {"type": "string", "enum": ["gold", "silver"], "default": "silver"},
    "level": {"type": "integer", "enum": [1, 2]},
    "extra": {"type": "object"},
    "pin": {"type": "string", "secret": True},
}
STEP = {"id": "a", "type": "transform", "config": {"mappings": {"x": 1}}}


def nested() -> list[dict[str, Any]]:
    inner = {"id": "in", "type": "parallel", "branches": [{"id": "deep", "steps": [{**STEP, "id": "c"}]}]}
    branches = [{"id": "one", "steps": [{**STEP, "id": "b"}, inner]}, {"id": "two", "steps": [{**STEP, "id": "d"}]}]
    return [STEP, {"id": "both", "type": "parallel", "depends_on": ["a"], "branches": branches}]


def test_nested_parallels_are_groups_in_groups() -> None:
    found = picture({"name": "x", "steps": nested()}, {"a": "FAILED"})
    assert found is not None
    groups = {one["label"]: one for one in found["groups"]}
    assert groups["deep"]["parent"] == groups["one"]["id"]
    assert groups["one"]["parent"] is None
    nodes = {one["id"]: one for one in found["nodes"]}
    assert nodes["both.one.in.deep.c"]["parent"] == groups["deep"]["id"]
    assert nodes["a"]["state"] == "FAILED"
    assert ["a", "both"] in found["edges"]


def test_a_flow_of_too_many_steps_has_no_picture() -> None:
    steps = [{**STEP, "id": f"s{number}"} for number in range(301)]
    assert picture({"name": "x", "steps": steps}) is None


async def test_a_flow_shows_its_graph_runs_schedules_and_where_it_comes_from(site: Site) -> None:
    await site.git_flow("synced", steps=nested(), schedules=[{"name": "nightly", "cron": "0 2 * * *"}])
    run = await site.run("synced")
    page = read(await site.http.get("/flows/synced"))
    assert f"/runs/{run['id']}" in page.links()
    assert "0 2 * * *" in page.text
    assert "https://example.com/flows.git" in page.text
    assert "Ada" in page.text
    assert page.link(class_="button primary") == "/flows/synced/run"
    read(await site.http.get("/flows/nowhere"), 404)


async def test_what_a_flow_says_of_itself_is_never_markup(site: Site) -> None:
    step = {**STEP, "name": HOSTILE, "config": {"mappings": {"x": HOSTILE}}}
    await site.flow("odd", steps=[step], description=HOSTILE, inputs=INPUTS)
    for path in ("", "/spec", "/versions", "/run", "/diff?before=1&after=1"):
        answer = await site.http.get(f"/flows/odd{path}")
        read(answer)
        assert "<script>alert" not in answer.text, path
        assert "<img src=x" not in answer.text, path
    graph = re.search(r'id="graph-data">(.*?)</script>', (await site.http.get("/flows/odd")).text)
    assert graph
    assert json.loads(graph[1])["nodes"][0]["label"] == HOSTILE


async def test_the_spec_is_shown_by_version(site: Site) -> None:
    await site.flow(description="the first")
    await site.flow(description="the second")
    assert "the second" in read(await site.http.get("/flows/orders/spec")).text
    page = read(await site.http.get("/flows/orders/spec?version=1"))
    assert "Version 1, not the current one" in page.text
    assert "the first" in page.text
    page = read(await site.http.get("/flows/orders/spec?version=7"), 404)
    assert "Its current one is 2" in page.text


async def test_two_versions_are_compared_by_what_they_mean(site: Site) -> None:
    await site.flow(inputs={"id": {}})
    await site.flow(inputs={"id": {}, "shop": {"required": True}}, description="new words")
    page = read(await site.http.get("/flows/orders/versions"))
    assert [one["value"] for one in page.all("input", name="after")] == ["2", "1"]
    assert [one["value"] for one in page.all("input", name="before") if "checked" in one] == ["1"]
    page = read(await site.http.get("/flows/orders/diff?before=1&after=2"))
    assert "breaking" in page.text
    assert "the input `shop` is new and required" in page.text
    assert "+description: new words" in page.text
    assert "Nothing differs" in read(await site.http.get("/flows/orders/diff?before=2&after=2")).text
    read(await site.http.get("/flows/orders/diff?before=1&after=9"), 404)
    read(await site.http.get("/flows/orders/diff?before=1"), 422)


async def test_the_form_has_a_field_an_input_with_its_default(site: Site) -> None:
    await site.flow(inputs=INPUTS)
    page = read(await site.http.get("/flows/orders/run"))
    assert page.all("input", name="input.count")[0]["value"] == "3"
    assert "required" in page.all("input", name="input.name")[0]
    assert page.all("input", name="input.pin")[0]["type"] == "password"
    assert page.all("textarea", name="input.extra")
    assert [one["value"] for one in page.all("option") if "selected" in one] == ['"silver"']
    for field in [*page.all("input"), *page.all("select"), *page.all("textarea")]:
        if field["name"].startswith("input."):
            assert page.all("label", for_=field["id"])


async def test_what_is_typed_becomes_values_of_the_declared_types(site: Site) -> None:
    await site.flow(inputs=INPUTS)
    fields = {
        "input.name": "ada",
        "input.count": "",
        "input.loud": "true",
        "input.tier": '"gold"',
        "input.level": "2",
        "input.extra": '{"a": [1]}',
        "input.pin": "1234567",
        "input.unknown": "x",
    }
    answer = await site.http.post("/flows/orders/run", data=fields)
    assert answer.status_code == 303
    run = (await site.http.get(f"/api/v1{answer.headers['location']}")).json()
    assert run["inputs"] == {
        "name": "ada",
        "count": 3,
        "loud": True,
        "tier": "gold",
        "level": 2,
        "extra": {"a": [1]},
        "pin": "***",
    }
    assert run["created_by"]


async def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(site: Site) -> None:
    await site.flow(inputs=INPUTS)
    fields = {"input.name": "ADA 1", "input.count": "many", "input.extra": "[", "input.pin": "the-secret"}
    answer = await site.http.post("/flows/orders/run", data=fields)
    page = read(answer, 422)
    assert page.all("input", name="input.name")[0]["value"] == "ADA 1"
    assert page.all("input", name="input.count")[0]["value"] == "many"
    assert [one["name"] for one in page.all("input") if one.get("aria-invalid")] == ["input.name", "input.count"]
    assert page.all("textarea", name="input.extra")[0]["aria-invalid"] == "true"
    assert "must be a whole number" in page.text
    assert "the-secret" not in answer.text
    assert not (await site.http.get("/api/v1/runs")).json()["items"]


async def test_a_form_that_is_sent_twice_starts_one_run(site: Site) -> None:
    await site.flow()
    page: Reader = read(await site.http.get("/flows/orders/run"))
    fields = {"key": page.all("input", name="key")[0]["value"]}
    first = await site.http.post("/flows/orders/run", data=fields)
    second = await site.http.post("/flows/orders/run", data=fields)
    assert first.headers["location"] == second.headers["location"]
    assert len((await site.http.get("/api/v1/runs")).json()["items"]) == 1


async def test_a_flow_that_is_archived_starts_nothing_and_says_so(site: Site) -> None:
    await site.flow()
    await site.http.delete("/api/v1/flows/orders")
    page = read(await site.http.get("/flows/orders"))
    assert "archived" in page.text
    assert "/flows/orders/run" not in page.links()
    read(await site.http.get("/flows/orders/run"), 409)
    assert "/flows/orders" in read(await site.http.get("/flows?archived=true")).links()
