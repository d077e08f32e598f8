"""Reading flows and versions, and writing those that the API owns."""

from __future__ import annotations

import json

V1 = "/api/v1"
STEPS = [{"id": "fetch", "type": "http", "config": {"url": "https://example.com"}}]
YAML = """
name: orders
steps:
  - {id: fetch, type: http, config: {url: "https://example.com"}}
"""


async def names(site, **query: str) -> list[str]:
    answer = await site.http.get(f"{V1}/flows", params=query)
    assert answer.status_code == 200, answer.text
    return [flow["name"] for flow in answer.json()["items"]]


async def test_a_flow_is_made_from_json_and_from_yaml_alike(site):
    made = await site.http.post(f"{V1}/flows", json={"name": "orders", "steps": STEPS})
    assert (made.status_code, made.headers["location"]) == (201, f"{V1}/flows/orders")
    assert (made.json()["managed_by"], made.json()["version"]) == ("api", 1)
    same = await site.http.put(f"{V1}/flows/orders", content=YAML, headers={"Content-Type": "application/yaml"})
    assert (same.status_code, same.json()["version"]) == (200, 1)


async def test_making_a_flow_that_exists_is_a_conflict_and_changes_nothing(site):
    await site.flow()
    changed = {"name": "orders", "steps": STEPS, "description": "another"}
    answer = await site.http.post(f"{V1}/flows", json=changed)
    assert (answer.status_code, answer.json()["code"]) == (409, "flow_exists")
    assert (await site.http.get(f"{V1}/flows/orders")).json()["version"] == 1


async def test_all_that_is_wrong_with_a_flow_is_said_with_line_column_and_pointer(site):
    bad = "name: orders\nsteps:\n  - {id: a, type: htp}\n  - {id: b, type: http, depends_on: [c], config: {url: x}}\n"
    answer = await site.http.post(f"{V1}/flows", content=bad, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_flow")
    errors = {item["pointer"]: item for item in answer.json()["errors"]}
    assert errors["/steps/0/type"]["line"] == 3
    assert "http" in errors["/steps/0/type"]["suggestion"]
    assert errors["/steps/1/depends_on/0"]["line"] == 4
    assert all(item["code"].startswith("AF") for item in errors.values())
    assert await names(site) == []


async def test_the_name_in_the_address_must_be_the_flows(site):
    answer = await site.http.put(f"{V1}/flows/bills", json={"name": "orders", "steps": STEPS})
    assert (answer.status_code, answer.json()["code"]) == (422, "name_mismatch")


async def test_a_body_that_is_neither_json_nor_yaml_is_refused_by_its_type(site):
    for headers in (
        {"Content-Type": "text/plain"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        answer = await site.http.post(f"{V1}/flows", content=YAML, headers=headers)
        assert answer.status_code == 415, headers


async def test_an_archived_flow_leaves_the_list_keeps_its_history_and_comes_back(site):
    await site.flow()
    for _ in range(2):
        gone = await site.http.delete(f"{V1}/flows/orders")
        assert gone.status_code == 200
        assert gone.json()["archived_at"]
    assert await names(site) == []
    assert await names(site, archived="true") == await names(site, archived="any") == ["orders"]
    back = await site.http.post(f"{V1}/flows", json={"name": "orders", "steps": STEPS})
    assert (back.status_code, back.json()["archived_at"], back.json()["version"]) == (201, None, 1)


async def test_a_flow_of_git_is_read_here_and_written_there(site):
    await site.git_flow("synced")
    shown = (await site.http.get(f"{V1}/flows/synced")).json()
    assert (shown["managed_by"], shown["source"]) == ("git", "https://example.com/flows.git")
    body = {"name": "synced", "steps": STEPS}
    for answer in (
        await site.http.post(f"{V1}/flows", json=body),
        await site.http.put(f"{V1}/flows/synced", json=body),
        await site.http.delete(f"{V1}/flows/synced"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "git_managed")
        assert "propos" in answer.json()["hint"]


async def test_flows_are_found_by_part_of_a_name_by_labels_and_page_by_page(site):
    for name, team in (("orders-in", "sales"), ("orders-out", "sales"), ("bills", "books")):
        await site.flow(name, labels={"team": team, "tier": "1"})
    assert await names(site, search="ORDERS") == ["orders-in", "orders-out"]
    assert await names(site, label="team=books") == ["bills"]
    both = await site.http.get(f"{V1}/flows?label=team=sales&label=tier=2")
    assert both.json()["items"] == []
    first = (await site.http.get(f"{V1}/flows", params={"limit": "2"})).json()
    assert await names(site, limit="2", cursor=first["next_cursor"]) == ["orders-out"]


async def test_a_label_that_is_no_pair_is_named(site):
    answer = await site.http.get(f"{V1}/flows", params={"label": "team"})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/query/label")


async def test_a_flow_is_found_by_its_id_too(site):
    flow = await site.flow()
    assert (await site.http.get(f"{V1}/flows/{flow['id']}")).json() == flow


async def test_versions_are_newest_first_and_one_of_them_shows_its_spec(site):
    for number in range(3):
        await site.flow(description=f"change {number}")
    first = (await site.http.get(f"{V1}/flows/orders/versions", params={"limit": "2"})).json()
    rest = await site.http.get(f"{V1}/flows/orders/versions", params={"cursor": first["next_cursor"]})
    assert [one["number"] for one in first["items"] + rest.json()["items"]] == [3, 2, 1]
    assert "spec" not in first["items"][0]
    one = (await site.http.get(f"{V1}/flows/orders/versions/2")).json()
    assert (one["spec"]["description"], one["variables"]) == ("change 1", {})


async def test_a_version_that_is_missing_or_cannot_be_is_told_apart(site):
    await site.flow()
    for number, status in (("9", 404), ("0", 422), ("x", 422), (str(2**31), 422), ("9" * 5000, 422)):
        answer = await site.http.get(f"{V1}/flows/orders/versions/{number}")
        assert answer.status_code == status, number[:20]
    assert (await site.http.get(f"{V1}/flows/none/versions")).status_code == 404


async def test_a_cursor_of_another_list_or_of_nobody_is_refused(site):
    await site.flow()
    from_us = ["W10", "WyJhYmMiXQ", "WyJcdWQ4MDAiXQ", "WyJcdTAwMDAiXQ", "WyJhIiwiYiJd", "bm90IGpzb24", "A" * 600]
    for cursor in from_us:
        answer = await site.http.get(f"{V1}/flows/orders/versions", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["pointer"]) == (422, "/query/cursor"), cursor


async def test_what_cannot_be_a_name_is_missing_without_asking_the_database(site):
    for name in ("%00", "a%0Ab", "x" * 300, "%ed%a0%80"):
        for path in ("", "/versions", "/versions/1"):
            answer = await site.http.get(f"{V1}/flows/{name}{path}")
            assert answer.status_code == 404, (name, path)
            json.loads(answer.text)


async def test_a_method_that_an_address_does_not_have_is_refused_with_those_that_it_has(site):
    answer = await site.http.patch(f"{V1}/flows/orders")
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "GET, PUT, DELETE"
    answer = await site.http.delete(f"{V1}/flows")
    assert answer.headers["allow"] == "GET, POST"
