"""Dead letters over REST: one by one, many at once, page by page, and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from automata.store.orchestrator_queue import RunLetterRow, SettleRow
from tests.api.conftest import V1, Site

NOBODY = "00000000-0000-7000-8000-000000000000"


async def failed(site: Site, flow: str = "orders", code: str = "http_status", status: str = "FAILED") -> dict[str, Any]:
    """A run whose only step failed, as the orchestrator leaves it."""
    run = await site.run(flow)
    await site.start(run)
    error = {"code": code, "message": "503 from the CRM", "step": "fetch"}
    await site.apply(settle=[SettleRow(UUID(run["id"]), "fetch", "FAILED", None, None, error)])
    await site.finish(run, status, error=error)
    return run


async def letters(site: Site, **query: Any) -> list[dict[str, Any]]:
    answer = await site.http.get(f"{V1}/dlq", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_letters_are_listed_by_what_they_are_about(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    first = await failed(site)
    second = await failed(site, code="timeout")
    third = await failed(site, "invoices")
    assert [one["run_id"] for one in await letters(site)] == [third["id"], second["id"], first["id"]]
    assert [one["run_id"] for one in await letters(site, flow="orders", code="timeout")] == [second["id"]]
    (one,) = await letters(site, run_id=first["id"])
    assert (one["flow"], one["step"], one["state"], one["run_status"]) == ("orders", "fetch", "open", "FAILED")
    assert await letters(site, since=one["created_at"], until=one["created_at"]) == []
    assert len(await letters(site, since=one["created_at"])) == 3
    assert (await site.http.get(f"{V1}/dlq/{one['id']}")).json() == one


async def failed_below(site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    """A run that failed since its step `fetch` had waited for another run, and that run."""
    error = {"code": "child_failed", "message": "The run below failed.", "step": "fetch"}
    above = await site.run("orders")
    await site.start(above)
    below = await failed(site, "invoices")
    async with site.db.transaction() as conn:
        await conn.execute(
            "UPDATE runs SET parent_run_id = %s, parent_step = 'fetch', depth = 1 WHERE id = %s",
            [above["id"], below["id"]],
        )
    await site.apply(settle=[SettleRow(UUID(above["id"]), "fetch", "FAILED", None, None, error, letter=False)])
    await site.finish(above, "FAILED", error=error)
    return above, below


async def test_a_run_and_the_one_that_waited_for_it_are_one_letter(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    above, below = await failed_below(site)
    for query in ({}, {"flow": "orders"}, {"flow": "invoices"}, {"run_id": above["id"]}, {"run_id": below["id"]}):
        (letter,) = await letters(site, **query)
        assert (letter["flow"], letter["run_id"], letter["step"]) == ("invoices", below["id"], "fetch")
        assert letter["parents"] == [{"run_id": above["id"], "flow": "orders", "step": "fetch"}]
    counted = await site.http.post(f"{V1}/dlq/retry", json={"flow": "orders", "dry_run": True})
    assert counted.json()["groups"] == [{"flow": "invoices", "code": "http_status", "count": 1}]
    answer = (await site.http.post(f"{V1}/dlq/retry", json={"flow": "orders"})).json()
    assert (answer["matched"], answer["done"], set(answer["runs"])) == (1, 1, {above["id"], below["id"]})
    for run in (above, below):
        assert (await site.http.get(f"{V1}/runs/{run['id']}")).json()["attempt"] == 2


@pytest.mark.parametrize("limit", [1, 500])
async def test_runs_that_belong_together_are_retried_once_each(site: Site, limit: int) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    pairs = [await failed_below(site) for _ in range(3)]
    matched, done, reached, cursor = 0, 0, set(), {}
    while cursor is not None:
        answer = (await site.http.post(f"{V1}/runs/retry", json={"all": True, "limit": limit, **cursor})).json()
        matched, done, reached = matched + answer["matched"], done + answer["done"], reached | set(answer["runs"])
        cursor = {"cursor": answer["next_cursor"]} if answer["next_cursor"] else None
    assert (matched, done) == (6, 6)
    assert reached == {run["id"] for pair in pairs for run in pair}
    for above, below in pairs:
        for run in (above, below):
            (attempt,) = (await site.http.get(f"{V1}/runs/{run['id']}")).json()["attempts"]
            assert attempt["steps"] is None, "all that failed is retried, not the step that waited alone"


async def test_a_run_that_failed_by_none_of_its_steps_has_a_letter_without_a_step(site: Site) -> None:
    await site.flow()
    run = await site.run()
    await site.start(run)
    error = {"code": "template_error", "message": "`steps.x` is undefined.", "step": None}
    async with site.db.connection() as conn:
        row = await (await conn.execute("SELECT flow_id, version_id FROM runs WHERE id = %s", [run["id"]])).fetchone()
    assert row is not None
    await site.apply(letters=[RunLetterRow(UUID(run["id"]), *row, 1, error)])
    await site.finish(run, "FAILED", error=error)
    (letter,) = await letters(site)
    assert (letter["step"], letter["code"], letter["parents"]) == (None, "template_error", [])
    assert (await site.http.post(f"{V1}/dlq/{letter['id']}/retry")).status_code == 202
    assert (await letters(site), (await letters(site, state="retried"))[0]["id"]) == ([], letter["id"])


async def test_a_list_of_letters_goes_on_where_the_page_ended(site: Site) -> None:
    await site.flow()
    runs = [(await failed(site))["id"] for _ in range(5)]
    seen, query = [], {"limit": 2}
    while True:
        page = (await site.http.get(f"{V1}/dlq", params=query)).json()
        seen += [one["run_id"] for one in page["items"]]
        if not page["next_cursor"]:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == runs[::-1]


async def test_a_retry_makes_the_run_go_on_and_closes_the_letter(site: Site) -> None:
    await site.flow()
    run = await failed(site)
    (one,) = await letters(site)
    answer = await site.http.post(f"{V1}/dlq/{one['id']}/retry", json={"by": "ada"})
    assert (answer.status_code, answer.json()["state"], answer.json()["resolved_by"]) == (202, "retried", "ada")
    assert answer.json()["run_status"] is None
    now = (await site.http.get(f"{V1}/runs/{run['id']}")).json()
    assert (now["status"], now["attempt"], now["attempts"][0]["status"]) == ("PENDING", 2, "FAILED")
    again = await site.http.post(f"{V1}/dlq/{one['id']}/retry")
    assert again.status_code == 409


async def test_a_discarded_letter_leaves_its_run_as_it_is(site: Site) -> None:
    await site.flow()
    run = await failed(site)
    (one,) = await letters(site)
    answer = await site.http.post(f"{V1}/dlq/{one['id']}/discard", json={"by": "ada"})
    assert (answer.status_code, answer.json()["state"], answer.json()["run_status"]) == (200, "discarded", "FAILED")
    assert (await site.http.get(f"{V1}/runs/{run['id']}")).json()["attempt"] == 1
    assert await letters(site) == []
    assert len(await letters(site, state="all")) == 1


async def test_of_many_who_retry_one_letter_one_is_accepted(site: Site) -> None:
    await site.flow()
    await failed(site)
    (one,) = await letters(site)
    answers = await asyncio.gather(*(site.http.post(f"{V1}/dlq/{one['id']}/retry") for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]


async def test_many_letters_are_retried_in_bounded_requests(site: Site) -> None:
    await site.flow("orders")
    await site.flow("invoices")
    runs = {(await failed(site))["id"] for _ in range(5)}
    other = await failed(site, "invoices")
    counted = (await site.http.post(f"{V1}/dlq/retry", json={"all": True, "dry_run": True})).json()
    assert counted["matched"] == 6
    assert {group["flow"]: group["count"] for group in counted["groups"]} == {"orders": 5, "invoices": 1}
    done: set[str] = set()
    cursor: dict[str, str] = {}
    while True:
        answer = await site.http.post(f"{V1}/dlq/retry", json={"flow": "orders", "limit": 2} | cursor)
        assert len(answer.json()["runs"]) <= 2
        done |= set(answer.json()["runs"])
        if answer.json()["next_cursor"] is None:
            break
        cursor = {"cursor": answer.json()["next_cursor"]}
    assert done == runs
    assert [one["run_id"] for one in await letters(site)] == [other["id"]]


async def test_a_letter_whose_run_did_not_fail_is_left_out_of_a_bulk_retry(site: Site) -> None:
    await site.flow()
    await failed(site, status="SUCCEEDED")  # the step had continue_on_error
    bad = await failed(site)
    answer = (await site.http.post(f"{V1}/dlq/retry", json={"all": True})).json()
    assert (answer["matched"], answer["done"], answer["skipped"], answer["runs"]) == (2, 1, 1, [bad["id"]])
    assert (await site.http.post(f"{V1}/dlq/discard", json={"all": True})).json()["done"] == 1


async def test_runs_are_cancelled_in_bounded_requests(site: Site) -> None:
    await site.flow()
    runs = {(await site.run())["id"] for _ in range(5)}
    first = (await site.http.post(f"{V1}/runs/cancel", json={"flow": "orders", "limit": 3})).json()
    assert (first["done"], len(first["runs"])) == (3, 3)
    rest = {"flow": "orders", "limit": 3, "cursor": first["next_cursor"]}
    second = (await site.http.post(f"{V1}/runs/cancel", json=rest)).json()
    assert (second["done"], second["next_cursor"]) == (2, None)
    assert set(first["runs"]) | set(second["runs"]) == runs


async def test_failed_runs_are_retried_in_bounded_requests_and_cancelled_ones_when_asked_for(site: Site) -> None:
    await site.flow()
    for _ in range(3):
        await failed(site)
    cancelled = await failed(site, status="CANCELLED")
    path = f"{V1}/runs/retry"
    counted = (await site.http.post(path, json={"all": True, "dry_run": True})).json()
    assert (counted["matched"], counted["groups"][0]["flow"]) == (3, "orders")
    first = (await site.http.post(path, json={"flow": "orders", "limit": 2, "by": "ada"})).json()
    assert (first["done"], first["skipped"]) == (2, 0)
    rest = {"flow": "orders", "limit": 2, "cursor": first["next_cursor"]}
    assert (await site.http.post(path, json=rest)).json()["done"] == 1
    answer = (await site.http.post(path, json={"status": "CANCELLED"})).json()
    assert answer["runs"] == [cancelled["id"]]
    assert (await site.http.post(path, json={"status": "SUCCEEDED"})).status_code == 422
    run = (await site.http.get(f"{V1}/runs/{first['runs'][0]}")).json()
    assert (run["attempt"], run["attempts"][0]["retried_by"]) == (2, "ada")


async def test_a_bulk_retry_leaves_a_run_whose_failure_is_contained_and_one_by_its_id_does_not(site: Site) -> None:
    await site.flow()
    own, contained = [await failed(site) for _ in range(2)]
    async with site.db.transaction() as conn:
        await conn.execute("UPDATE runs SET contained = true WHERE id = %s", [contained["id"]])
    path = f"{V1}/runs/retry"
    assert (await site.http.post(path, json={"all": True, "dry_run": True})).json()["matched"] == 1
    answer = (await site.http.post(path, json={"all": True})).json()
    assert (answer["runs"], answer["skipped"]) == ([own["id"]], 0)
    assert (await site.http.post(f"{V1}/runs/{contained['id']}/retry", json={})).status_code == 202


async def test_a_rerun_has_the_inputs_of_the_first_and_its_version_or_another(site: Site) -> None:
    await site.flow(inputs={"n": {"type": "integer", "required": True}})
    run = await site.run(inputs={"n": 7})
    await site.flow(inputs={"n": {"type": "integer", "required": True}}, labels={"a": "b"})
    for asked, number in (({}, 1), ({"version": "latest"}, 2), ({"version": 2}, 2)):
        made = await site.http.post(f"{V1}/runs/{run['id']}/rerun", json=asked)
        assert made.status_code == 201, made.text
        assert (made.json()["version"], made.json()["inputs"], made.json()["rerun_of"]) == (
            number,
            {"n": 7},
            run["id"],
        )
    # What the newest version no longer takes is a clear error, not a run that fails later.
    await site.flow(inputs={"m": {"type": "integer"}})
    refused = await site.http.post(f"{V1}/runs/{run['id']}/rerun", json={"version": "latest"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/inputs/n")


@pytest.mark.parametrize("verb", ["retry", "discard"])
@pytest.mark.parametrize("id", ["999", "0", "-1", "x", "9" * 30, "%2e%2e", "\uff11"])
async def test_a_letter_that_is_not_there_is_404(site: Site, verb: str, id: str) -> None:
    assert (await site.http.post(f"{V1}/dlq/{id}/{verb}")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"all": True, "flow": "orders"},
        {"all": "yes"},
        {"all": 1},
        {"limit": 0, "all": True},
        {"limit": 501, "all": True},
        {"limit": 1e300, "all": True},
        {"run_id": "x"},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"flow": ""},
        {"flow": "a" * 10_000},
        {"flow": "a\x00b"},
        {"cursor": "x" * 601, "all": True},
        {"cursor": "!!", "all": True},
        {"cursor": "AAAA", "all": True},
        {"all": True, "unknown": 1},
        [],
        "all",
        None,
    ],
)
async def test_a_bulk_request_that_is_not_clearly_meant_changes_nothing(site: Site, body: Any) -> None:
    await site.flow()
    await failed(site)
    waiting = await site.run()
    for path in ("dlq/retry", "dlq/discard", "runs/cancel", "runs/retry"):
        answer = await site.http.post(f"{V1}/{path}", json=body)
        assert answer.status_code in (400, 422), f"{path}: {answer.text}"
        assert answer.json()["code"]
    assert len(await letters(site)) == 1
    assert (await site.http.get(f"{V1}/runs/{waiting['id']}")).json()["cancelling"] is False


@pytest.mark.parametrize(
    "query",
    [{"state": "lost"}, {"limit": 0}, {"limit": "x"}, {"since": "x"}, {"run_id": "x"}, {"cursor": "x"}],
)
async def test_a_question_that_makes_no_sense_is_refused(site: Site, query: dict[str, Any]) -> None:
    assert (await site.http.get(f"{V1}/dlq", params=query)).status_code in (400, 422)


@pytest.mark.parametrize("version", [0, -1, "newest", 1.5, True, None, "1"])
async def test_a_rerun_of_no_version_is_refused(site: Site, version: Any) -> None:
    await site.flow()
    run = await site.run()
    answer = await site.http.post(f"{V1}/runs/{run['id']}/rerun", json={"version": version})
    assert answer.status_code == 422


@pytest.mark.parametrize("id", [NOBODY, "x"])
@pytest.mark.parametrize("verb", ["retry", "rerun"])
async def test_a_run_that_is_not_there_cannot_go_on(site: Site, verb: str, id: str) -> None:
    assert (await site.http.post(f"{V1}/runs/{id}/{verb}")).status_code == 404
