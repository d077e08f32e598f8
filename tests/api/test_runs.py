"""Starting, listing, watching and cancelling runs."""

from __future__ import annotations

import asyncio
from uuid import UUID

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING
from automata.store.orchestrator_queue import SettleRow, request_cancel

V1 = "/api/v1"
INPUTS = {"source_id": {"type": "string", "required": True}, "size": {"type": "integer", "default": 5}}


async def test_a_started_run_is_committed_found_under_its_location_and_rung_for(site):
    await site.flow(inputs=INPUTS)
    with site.broker.listen(RUNS_PENDING) as bell:
        made = await site.http.post(f"{V1}/flows/orders/runs", json={"inputs": {"source_id": "crm-1"}})
        assert await bell.wait(0)
    assert made.status_code == 201
    run = made.json()
    assert made.headers["location"] == f"{V1}/runs/{run['id']}"
    assert (run["flow"], run["version"], run["status"], run["trigger"]) == ("orders", 1, "PENDING", "api")
    assert run["inputs"] == {"source_id": "crm-1", "size": 5}
    found = await site.http.get(made.headers["location"])
    assert found.json() == run


async def test_a_run_may_be_started_without_a_body_and_by_the_flows_id(site):
    flow = await site.flow()
    made = await site.http.post(f"{V1}/flows/{flow['id']}/runs")
    assert made.status_code == 201
    assert made.json()["inputs"] == {}


async def test_each_bad_input_is_named_by_its_pointer(site):
    await site.flow(inputs=INPUTS)
    answer = await site.http.post(f"{V1}/flows/orders/runs", json={"inputs": {"sourceid": "x", "size": "big"}})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_input"
    named = {item["pointer"]: item for item in problem["errors"]}
    assert named.keys() == {"/inputs/sourceid", "/inputs/source_id", "/inputs/size"}
    assert "source_id" in named["/inputs/sourceid"]["suggestion"]


async def test_a_misspelt_member_of_the_request_is_refused(site):
    await site.flow()
    answer = await site.http.post(f"{V1}/flows/orders/runs", json={"input": {}})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/input")


async def test_the_nearest_flow_is_suggested_for_one_that_is_missing(site):
    await site.flow("sync-orders")
    answer = await site.http.post(f"{V1}/flows/sync-order/runs")
    assert answer.status_code == 404
    assert "sync-orders" in answer.json()["hint"]


async def test_an_older_version_can_be_asked_for_and_one_that_is_missing_is_named(site):
    await site.flow()
    await site.flow(description="changed")
    latest = await site.http.post(f"{V1}/flows/orders/runs", json={})
    older = await site.http.post(f"{V1}/flows/orders/runs", json={"version": 1})
    again = await site.http.post(f"{V1}/flows/orders/runs", json={"version": 1})
    missing = await site.http.post(f"{V1}/flows/orders/runs", json={"version": 7})
    assert [answer.json()["version"] for answer in (latest, older, again)] == [2, 1, 1]
    assert missing.status_code == 404
    assert "7" in missing.json()["detail"]


async def test_a_run_uses_the_version_that_became_current_just_before(site):
    for number in range(1, 4):
        await site.flow(description=f"number {number}")
        assert (await site.run())["version"] == number


async def test_an_archived_flow_starts_no_runs(site):
    await site.flow()
    await site.http.delete(f"{V1}/flows/orders")
    answer = await site.http.post(f"{V1}/flows/orders/runs")
    assert (answer.status_code, answer.json()["code"]) == (409, "flow_archived")


async def test_the_same_key_and_inputs_give_the_same_run_with_200(site):
    await site.flow(inputs=INPUTS)
    body = {"inputs": {"source_id": "crm-1"}}
    headers = {"Idempotency-Key": "order-1"}
    first = await site.http.post(f"{V1}/flows/orders/runs", json=body, headers=headers)
    second = await site.http.post(f"{V1}/flows/orders/runs", json=body, headers=headers)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert second.headers["location"] == first.headers["location"]


async def test_a_key_stands_for_its_request_after_a_deployment_too(site):
    await site.flow(inputs=INPUTS)
    first = await site.run(inputs={"source_id": "crm-1"}, **{"Idempotency-Key": "order-1"})
    await site.flow(inputs=INPUTS, description="deployed meanwhile")
    second = await site.run(inputs={"source_id": "crm-1"}, **{"Idempotency-Key": "order-1"})
    assert (second["id"], second["version"]) == (first["id"], 1)


async def test_a_key_that_stands_for_another_request_is_a_conflict_that_names_the_run(site):
    await site.flow(inputs=INPUTS)
    first = await site.run(inputs={"source_id": "crm-1"}, **{"Idempotency-Key": "order-1"})
    answer = await site.http.post(
        f"{V1}/flows/orders/runs",
        json={"inputs": {"source_id": "crm-2"}},
        headers={"Idempotency-Key": "order-1"},
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_mismatch")
    assert answer.json()["details"]["run_id"] == first["id"]


async def test_a_key_of_256_characters_or_with_a_blank_is_refused(site):
    await site.flow()
    for key, status in (("k" * 255, 201), ("k" * 256, 422), ("two words", 422), ("", 422)):
        answer = await site.http.post(f"{V1}/flows/orders/runs", headers={"Idempotency-Key": key})
        assert answer.status_code == status, key


async def test_of_many_equal_requests_at_once_one_makes_the_run(site):
    await site.flow()
    headers = {"Idempotency-Key": "once"}
    answers = await asyncio.gather(*(site.http.post(f"{V1}/flows/orders/runs", headers=headers) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] * 19 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_one_conflict_does_not_fail_the_requests_that_came_with_it(site):
    await site.flow(inputs=INPUTS)
    await site.run(inputs={"source_id": "first"}, **{"Idempotency-Key": "taken"})

    def ask(source: str, **headers: str):
        return site.http.post(f"{V1}/flows/orders/runs", json={"inputs": {"source_id": source}}, headers=headers)

    answers = await asyncio.gather(
        ask("a"), ask("b", **{"Idempotency-Key": "taken"}), ask("c", **{"Idempotency-Key": "new"}), ask("d")
    )
    assert [answer.status_code for answer in answers] == [201, 409, 201, 201]
    listed = (await site.http.get(f"{V1}/runs")).json()["items"]
    assert len(listed) == 4


async def test_the_list_is_newest_first_and_walked_page_by_page(site):
    await site.flow()
    made = [(await site.run())["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await site.http.get(f"{V1}/runs", params=query)).json()
        seen += [run["id"] for run in page["items"]]
        if not (cursor := page["next_cursor"]):
            break
    assert seen == made[::-1]


async def test_runs_are_filtered_by_flow_status_trigger_and_time(site):
    await site.flow("orders")
    await site.flow("bills")
    done, waiting = await site.run("orders"), await site.run("bills")
    await site.finish(done, "FAILED", error={"message": "no", "code": "x"})

    async def ids(**query: str) -> list[str]:
        answer = await site.http.get(f"{V1}/runs", params=query)
        assert answer.status_code == 200, answer.text
        return [run["id"] for run in answer.json()["items"]]

    assert await ids(flow="orders") == [done["id"]]
    assert await ids(status="FAILED") == [done["id"]]
    assert await ids(status="PENDING") == [waiting["id"]]
    assert await ids(trigger="schedule") == []
    assert await ids(since=waiting["created_at"]) == [waiting["id"]]
    assert await ids(until=waiting["created_at"]) == [done["id"]]


async def test_a_filter_that_cannot_be_is_named(site):
    for query in ({"status": "GONE"}, {"limit": "0"}, {"limit": "201"}, {"since": "yesterday"}, {"cursor": "!"}):
        answer = await site.http.get(f"{V1}/runs", params=query)
        assert answer.status_code == 422, query
        assert answer.json()["pointer"] == f"/query/{next(iter(query))}"
    assert (await site.http.get(f"{V1}/runs", params={"flow": "none"})).status_code == 404


async def test_waiting_for_a_run_ends_with_the_bell_of_its_end(site):
    await site.flow()
    run = await site.run()
    waiting = asyncio.create_task(site.http.get(f"{V1}/runs/{run['id']}", params={"wait_sec": "30"}))
    while not site.context.watchers:  # and from then on it listens  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await site.finish(run, outputs={"count": 2})
    began = asyncio.get_running_loop().time()
    site.broker.notify(RUNS_FINISHED, [run["id"]])
    answer = (await waiting).json()
    assert (answer["status"], answer["outputs"]) == ("SUCCEEDED", {"count": 2})
    assert asyncio.get_running_loop().time() - began < 0.9  # before the poll would have come


async def test_waiting_ends_without_any_bell_within_a_poll(site):
    await site.flow()
    run = await site.run()
    waiting = asyncio.create_task(site.http.get(f"{V1}/runs/{run['id']}", params={"wait_sec": "30"}))
    while not site.context.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await site.finish(run)
    async with asyncio.timeout(120):
        assert (await waiting).json()["status"] == "SUCCEEDED"


async def test_waiting_ends_when_the_time_is_up_or_the_server_stops(site):
    await site.flow()
    run = await site.run()
    address = f"{V1}/runs/{run['id']}"
    assert (await site.http.get(address, params={"wait_sec": "0.05"})).json()["status"] == "PENDING"
    site.context.stopping.set()
    async with asyncio.timeout(120):
        assert (await site.http.get(address, params={"wait_sec": "60"})).json()["status"] == "PENDING"
    assert (await site.http.get(address, params={"wait_sec": "61"})).status_code == 422


async def test_a_start_that_waits_is_answered_with_the_ended_run(site):
    await site.flow()
    address, waits = f"{V1}/flows/orders/runs", {"wait_sec": "30"}
    head = {"Idempotency-Key": "once"}
    starting = asyncio.create_task(site.http.post(address, params=waits, headers=head, json={"inputs": {}}))
    while not (found := (await site.http.get(f"{V1}/runs")).json()["items"]):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await site.finish(found[0], outputs={"count": 2})
    began = asyncio.get_running_loop().time()
    site.broker.notify(RUNS_FINISHED, [found[0]["id"]])
    answer = await starting
    assert asyncio.get_running_loop().time() - began < 0.9  # before the poll would have come
    assert (answer.status_code, answer.headers["location"]) == (201, f"{V1}/runs/{found[0]['id']}")
    assert (answer.json()["status"], answer.json()["outputs"]) == ("SUCCEEDED", {"count": 2})
    again = await site.http.post(address, params=waits, headers=head, json={"inputs": {}})
    assert (again.status_code, again.json()) == (200, answer.json())


async def test_a_start_that_waits_answers_in_time_whatever_the_run_does(open_site, monkeypatch):
    monkeypatch.setattr("automata.operations.run_waiting.MAX_WATCHERS", 1)

    site = await open_site()
    await site.flow()
    address = f"{V1}/flows/orders/runs"
    first = asyncio.create_task(site.http.post(address, params={"wait_sec": "0.5"}))
    while not site.context.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    refused = await site.http.post(address, params={"wait_sec": "0.5"})
    assert refused.status_code == 429
    answer = await first
    assert (answer.status_code, answer.json()["status"]) == (201, "PENDING")
    assert len((await site.http.get(f"{V1}/runs")).json()["items"]) == 1  # the refused one started nothing
    assert (await site.http.post(address, params={"wait_sec": "61"})).status_code == 422
    missing = await site.http.post(f"{V1}/flows/none/runs", params={"wait_sec": "5"})
    assert (missing.status_code, site.context.watchers) == (404, 0)


async def test_more_watchers_than_the_limit_are_told_to_come_back(open_site, monkeypatch):
    monkeypatch.setattr("automata.operations.run_waiting.MAX_WATCHERS", 1)

    site = await open_site()
    await site.flow()
    address = f"{V1}/runs/{(await site.run())['id']}"
    first = asyncio.create_task(site.http.get(address, params={"wait_sec": "0.5"}))
    while not site.context.watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    refused = await site.http.get(address, params={"wait_sec": "0.5"})
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert (await first).status_code == 200
    assert site.context.watchers == 0


async def test_cancelling_is_accepted_again_and_again_until_the_run_is_over_in_another_way(site):
    await site.flow()
    run, done = await site.run(), await site.run()
    for _ in range(2):
        answer = await site.http.post(f"{V1}/runs/{run['id']}/cancel")
        assert (answer.status_code, answer.json()["cancelling"]) == (202, True)
    await site.finish(run, "CANCELLED")
    assert (await site.http.post(f"{V1}/runs/{run['id']}/cancel")).status_code == 202
    await site.finish(done)
    refused = await site.http.post(f"{V1}/runs/{done['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "run_finished")


async def test_a_cancellation_rings_for_the_orchestrator(site):
    await site.flow()
    run = await site.run()
    with site.broker.listen(RUNS_PENDING) as bell:
        await site.http.post(f"{V1}/runs/{run['id']}/cancel")
        assert await bell.wait(0)
    async with site.db.connection() as conn:
        assert await request_cancel(conn, [UUID(run["id"])])


async def test_what_is_no_run_is_missing(site):
    for id in ("nonsense", "0" * 32, "019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11"):
        for method, path in (("GET", ""), ("GET", "/tasks"), ("POST", "/cancel")):
            answer = await site.http.request(method, f"{V1}/runs/{id}{path}")
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, id, path)


async def test_secret_inputs_are_masked_wherever_their_text_turns_up(site):
    secret = "hunter2-and-more"

    await site.flow(inputs={"token": {"type": "string", "secret": True}, "user": {"type": "string"}})
    run = await site.run(inputs={"token": secret, "user": "ada"})
    assert run["inputs"] == {"token": "***", "user": "ada"}
    await site.start(run, "fetch")
    error = {"message": f"401 for {secret}", "code": "http_status"}
    await site.apply(settle=[SettleRow(UUID(run["id"]), "fetch", "FAILED", None, None, error)])
    await site.finish(run, "FAILED", outputs={"echo": [f"Bearer {secret}"]}, error=error)
    for path in (f"{V1}/runs/{run['id']}", f"{V1}/runs/{run['id']}/tasks", f"{V1}/runs"):
        answer = await site.http.get(path)
        assert answer.status_code == 200
        assert secret not in answer.text, path
    shown = (await site.http.get(f"{V1}/runs/{run['id']}")).json()
    assert shown["error"]["message"] == "401 for ***"
    assert shown["outputs"] == {"echo": ["Bearer ***"]}
