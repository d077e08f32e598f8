"""Which failures open a dead letter: each that nobody handles, once, and none that the flow handles itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from automata.store.deadletters import DeadLetterFilter, retry_batch, retry_letter
from automata.store.orchestrator_queue import FinishRow, RunLetterRow, RunWrites, apply_writes
from automata.store.retention import prune_batch
from tests.child_runs import FAILED, SUCCEEDED, call, children, forget, letters, retry, retry_first_letter
from tests.drive import BROKEN, Drive, Json, drive, fan, step, transform


@pytest.fixture(params=[True, False], ids=["one process", "several"])
async def site(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Drive]:
    async with drive(database_url, joined=request.param) as site:
        await forget(site)
        yield site


SOFT: Json = {"continue_on_error": True}
CONTAINED: dict[str, list[Json]] = {
    "a step of a worker": [step("a", **SOFT)],
    "a step without one": [transform("a", {"x": "{{ inputs.nothing.y | default(none) + 1 }}"}) | SOFT],
    "a group": [fan("g", branches={"b": [step("a")]}, **SOFT)],
    "a group around a group": [fan("g", branches={"b": [fan("h", branches={"c": [step("a")]})]}, **SOFT)],
    "an item": [step("a", foreach=[1, 2], **SOFT)],
    "a child": [call("child", "c", **SOFT)],
    "a group around a child": [fan("g", branches={"b": [call("child", "c")]}, **SOFT)],
    "a child of a child": [call("between", "c", **SOFT)],
    "a child that cannot be started": [call("nobody", "c", **SOFT)],
}


@pytest.mark.parametrize("steps", CONTAINED.values(), ids=CONTAINED)
async def test_a_failure_that_the_flow_contains_opens_none_and_keeps_no_run(site: Drive, steps: list[Json]) -> None:
    for name in ("a", "a[0]", "g.b.a", "g.b.h.c.a"):
        site.play.script[name] = [BROKEN]
    await site.put("child", step("a"))
    await site.put("between", call("child", "c"))
    run = await site.start(await site.put("containing", *steps, inputs={"nothing": {}}))
    ended = await site.ended(run)
    assert ended.status is SUCCEEDED, ended.error
    assert "FAILED" in (await site.states(run)).values(), "it is told in the run"
    assert await letters(site) == []
    runs = [run, *await children(site, run)]
    assert await site.value("SELECT count(*) FROM dead_letters WHERE run_id = ANY(%s)", runs) == 0, "nor was one closed"
    assert await kept(site, *runs) == set()


async def test_a_child_that_nobody_waits_for_has_its_letter(site: Drive) -> None:
    site.play.script["a"] = [BROKEN]
    await site.put("child", step("a"))
    careless = call("child", "c", **SOFT)
    careless["config"]["wait"] = False
    run = await site.start(await site.put("careless", careless))
    assert (await site.ended(run)).status is SUCCEEDED
    (child,) = await children(site, run)
    assert (await site.ended(child)).status is FAILED
    assert [(letter.run_id, letter.step) for letter in await letters(site)] == [(child, "a")]


async def test_outputs_that_cannot_be_made_leave_a_letter_and_a_retry_makes_them(site: Drive) -> None:
    site.play.script["soft"] = [BROKEN, BROKEN, {"n": 7}]
    tell = step("tell", config={"code": "{{ error.code }}", "step": "{{ failed_step }}"})
    outputs = {"n": "{{ steps.soft.outputs.n }}"}
    flow = await site.put("gap", step("soft", **SOFT), step("then", "soft"), outputs=outputs, on_failure=tell)
    run = await site.start(flow)
    ended = await site.ended(run)
    assert (ended.status, (ended.error or {})["code"], (ended.error or {})["step"]) == (FAILED, "template_error", None)
    (told,) = [one for one in site.play.calls if one.step == "tell"]
    assert told.config == {"code": "template_error", "step": None}
    for attempts in (1, 2):
        (letter,) = await letters(site)
        assert (letter.run_id, letter.step, letter.code, letter.attempts) == (run, "", "template_error", attempts)
        await retry_first_letter(site)
        ended = await site.ended(run)
    assert (ended.status, ended.outputs) == (SUCCEEDED, {"n": 7})
    assert (site.play.made("soft"), site.play.made("then"), site.play.made("tell")) == ([1, 2, 3], [1], [1, 2])
    assert await letters(site) == []


async def test_outputs_of_a_child_that_cannot_be_made_fail_its_parent_with_one_letter(site: Drive) -> None:
    site.play.script["soft"] = [BROKEN]
    await site.put("child", step("soft", **SOFT), outputs={"n": "{{ steps.soft.outputs.ok }}"})
    run = await site.start(await site.put("parent", call("child", "c"), outputs={"n": "{{ steps.c.outputs.n }}"}))
    assert (await site.ended(run)).status is FAILED
    (child,) = await children(site, run)
    assert [(letter.run_id, letter.step) for letter in await letters(site)] == [(child, "")]
    await retry(site, run)
    ended = await site.ended(run)
    assert (ended.status, ended.outputs) == (SUCCEEDED, {"n": True})
    assert await letters(site) == []


@pytest.mark.parametrize("code", ["bad_version", "engine_error", "template_error"])
async def test_a_run_that_failed_by_no_step_has_a_letter_of_its_own(site: Drive, code: str) -> None:
    flow, version = await site.put("whole", step("a"))
    run = await site.start((flow, version))
    await site.ended(run)
    error = {"code": code, "message": "It could not be executed."}
    async with site.db.transaction() as conn:
        await conn.execute("DELETE FROM run_results WHERE run_id = %s", [run])
        finish = FinishRow(run, flow, "FAILED", None, None, error)
        await apply_writes(conn, RunWrites(finish=[finish], letters=[RunLetterRow(run, flow, version, 1, error)]))
    (letter,) = await letters(site)
    assert (letter.step, letter.code, letter.run_status) == ("", code, FAILED)
    async with site.db.transaction() as conn:
        assert (await retry_letter(conn, letter.id)).letters == (letter.id,)
    site.notify()
    assert (await site.ended(run)).status is SUCCEEDED


async def test_a_concurrency_key_that_cannot_be_made_leaves_a_letter(site: Drive) -> None:
    limits = {"limit": 1, "key": "{{ inputs.n.y }}"}
    run = await site.start(await site.put("keyed", step("a"), inputs={"n": {}}, concurrency=limits), n=1)
    assert (await site.ended(run)).status is FAILED
    assert [(letter.run_id, letter.step, letter.code) for letter in await letters(site)] == [
        (run, "", "template_error")
    ]


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_bulk_takes_all_letters_of_a_run_in_one_transaction(site: Drive, limit: int) -> None:
    for number in range(5):
        site.play.script[f"a[{number}]"] = [BROKEN]
    run = await site.start(await site.put("wide", step("a", foreach=[1, 2, 3, 4, 5])))
    assert (await site.ended(run)).status is FAILED
    assert len(await letters(site)) == 5
    async with site.db.transaction() as conn:
        batch = await retry_batch(conn, DeadLetterFilter(), 0, limit)
    assert (batch.chosen, batch.done, batch.runs) == (5, 5, (run,))
    site.notify()
    assert (await site.ended(run)).status is SUCCEEDED


async def test_what_is_above_a_run_with_an_open_letter_is_kept_with_it(site: Drive) -> None:
    site.play.script["a"] = [BROKEN]
    await site.put("child", step("a"))
    run = await site.start(await site.put("parent", call("child", "c")))
    await site.ended(run)
    (child,) = await children(site, run)
    assert await kept(site, run, child) == {run, child}
    await forget(site)
    assert await kept(site, run, child) == set()


async def kept(site: Drive, *runs: Any) -> set[Any]:
    """Those of the runs that are left when they are old; they are made old, whatever else there is is not."""
    async with site.db.transaction() as conn:
        await conn.execute(
            "UPDATE run_results SET finished_at = now() - interval '400 days' WHERE run_id = ANY(%s)", [list(runs)]
        )
        await prune_batch(conn, -1)
        cursor = await conn.execute("SELECT id FROM runs WHERE id = ANY(%s)", [list(runs)])
        return {id for (id,) in await cursor.fetchall()}
