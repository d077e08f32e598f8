"""A `flow` step and the run that it waited for fail together and go on together, whichever of them is retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from automata.broker.contract import RUNS_PENDING
from automata.store.deadletters import retry_letter
from automata.store.orchestrator_queue import request_cancel
from tests.child_runs import (
    CANCELLED,
    FAILED,
    SUCCEEDED,
    call,
    children,
    forget,
    keys,
    letters,
    put_many,
    put_pair,
    put_three,
    retry,
    retry_all,
    retry_first_letter,
    written,
)
from tests.drive import BROKEN, Drive, Json, drive, step


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url) as site:
        await forget(site)
        yield site


async def test_the_pair_has_one_letter_which_is_found_by_the_run_and_the_flow_above(site: Drive) -> None:
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    assert (await site.ended(run)).status is FAILED
    (child,) = await children(site, run)
    assert [(letter.run_id, letter.step) for letter in await letters(site)] == [(child, "tell")]
    for filter in ({"run_id": run}, {"run_id": child}, {"flow": "intake"}, {"flow": "invoice"}):
        assert [letter.run_id for letter in await letters(site, **filter)] == [child], filter


@pytest.mark.parametrize("which", ["letter", "child", "parent", "both", "all"])
async def test_whichever_is_retried_both_go_on_and_no_call_is_made_twice(site: Drive, which: str) -> None:
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    match which:
        case "letter":
            await retry_first_letter(site)
        case "child":
            assert await retry(site, child) == {run, child}
        case "parent":
            assert await retry(site, run) == {run}
        case "both":
            assert await retry(site, run, child) == {run, child}
        case _:
            assert await retry_all(site, 1) == 1
    assert (await site.ended(run)).status is SUCCEEDED
    assert (await site.ended(child)).status is SUCCEEDED
    assert await children(site, run) == [child]
    assert {name: site.play.made(name) for name in ("reserve", "write", "tell", "ship")} == {
        "reserve": [1],
        "write": [1],
        "tell": [1, 2],
        "ship": [1],
    }
    assert set(keys(site, "tell")) == {f"{child}:tell"}
    assert await letters(site) == []


async def test_a_child_that_fails_again_fails_its_parent_again_and_leaves_one_letter(site: Drive) -> None:
    site.play.script["tell"] = [BROKEN, BROKEN, BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    for attempt in (2, 3):
        await retry_first_letter(site)
        assert (await site.ended(run)).status is FAILED
        (letter,) = await letters(site)
        assert (letter.step, letter.attempts) == ("tell", attempt)
    await retry(site, run)
    assert (await site.ended(run)).status is SUCCEEDED
    assert (site.play.made("write"), site.play.made("tell")) == ([1], [1, 2, 3, 4])


@pytest.mark.parametrize("level", [0, 1, 2, None])
async def test_three_levels_go_on_together(site: Drive, level: int | None) -> None:
    site.play.script["deeper"] = [BROKEN]
    top = await site.start(await put_three(site))
    assert (await site.ended(top)).status is FAILED
    (middle,) = await children(site, top)
    (bottom,) = await children(site, middle)
    assert [letter.run_id for letter in await letters(site, flow="top")] == [bottom]
    if level is None:
        await retry_first_letter(site)
    else:
        await retry(site, [top, middle, bottom][level])
    for run in (top, middle, bottom):
        assert (await site.ended(run)).status is SUCCEEDED
        assert (await site.value("SELECT count(*) FROM run_attempts WHERE run_id = %s", run)) == 1
    assert (site.play.made("deep"), site.play.made("deeper"), site.play.made("last")) == ([1], [1, 2], [1])


@pytest.mark.parametrize(("limit", "more"), [(1, {}), (3, {}), (100, {}), (2, {"max_parallel": 2})])
async def test_bulk_takes_the_items_of_a_foreach_once_whatever_fits_in_a_transaction(
    site: Drive, limit: int, more: Json
) -> None:
    hold = asyncio.Event()
    site.play.script["write"] = [hold, *[BROKEN] * 7]
    run = await site.start(await put_many(site, **more), ids=list(range(7)))
    hold.set()
    assert (await site.ended(run)).status is FAILED
    await retry_all(site, limit)
    while (await site.ended(run)).status is FAILED:  # with `max_parallel` some fail for the first time only now
        await retry_all(site, limit)
    ended = await site.ended(run)
    assert ended.status is SUCCEEDED, ended.error
    assert {id: len(found) for id, found in written(site).items()} == dict.fromkeys(range(7), 1)
    assert len(await children(site, run)) == 7
    assert len(site.play.made("ship")) == 1


async def test_letters_retried_one_by_one_all_wake_the_parent_though_it_moves_already(site: Drive) -> None:
    site.play.script["write"] = [BROKEN] * 3
    run = await site.start(await put_many(site), ids=[1, 2, 3])
    assert (await site.ended(run)).status is FAILED
    alarms = len(site.play.made("alarm"))
    hold = asyncio.Event()
    site.play.script["write"] = [hold]
    for letter in await letters(site):
        async with site.db.transaction() as conn:
            await retry_letter(conn, letter.id, "ada")
        site.notify()
    await site.called("write", 6)
    hold.set()
    assert (await site.ended(run)).status is SUCCEEDED
    assert {id: len(found) for id, found in written(site).items()} == {1: 1, 2: 1, 3: 1}
    assert len(site.play.made("alarm")) == alarms, "the run went on before it failed again"


async def test_a_child_that_succeeded_alone_is_taken_over_by_its_parents_retry(site: Drive) -> None:
    """An earlier release had the child go on alone."""
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    async with site.db.connection() as conn:
        await conn.execute("UPDATE run_results SET status = 'SUCCEEDED' WHERE run_id = %s", [child])
    await retry(site, run)
    assert (await site.ended(run)).status is SUCCEEDED
    assert (site.play.made("tell"), site.play.made("ship")) == ([1], [1])


async def test_a_cancelled_parent_is_not_woken_by_its_child_and_goes_on_with_it_when_it_is_retried(site: Drive) -> None:
    hold = asyncio.Event()
    site.play.script["tell"] = [hold]
    run = await site.start(await put_pair(site))
    await site.called("tell")
    (child,) = await children(site, run)
    async with site.db.connection() as conn:
        await request_cancel(conn, [run])
    site.broker.notify(RUNS_PENDING)
    assert (await site.ended(run)).status is CANCELLED
    await retry(site, run)  # at once, whether or not the child is cancelled by now
    await site.called("tell", 2)
    hold.set()
    assert (await site.ended(run)).status is SUCCEEDED
    assert (await site.ended(child)).status is SUCCEEDED
    assert await children(site, run) == [child]
    assert site.play.made("write") == [1]


async def test_retrying_the_child_of_a_cancelled_parent_leaves_the_parent_alone(site: Drive) -> None:
    hold = asyncio.Event()
    site.play.script["tell"] = [hold]
    run = await site.start(await put_pair(site))
    await site.called("tell")
    (child,) = await children(site, run)
    async with site.db.connection() as conn:
        await request_cancel(conn, [run])
    site.broker.notify(RUNS_PENDING)
    assert ((await site.ended(run)).status, (await site.ended(child)).status) == (CANCELLED, CANCELLED)
    hold.set()
    assert await retry(site, child) == {child}
    assert (await site.ended(child)).status is SUCCEEDED
    assert (await site.ended(run)).status is CANCELLED
    await retry(site, run)
    assert (await site.ended(run)).status is SUCCEEDED
    assert (site.play.made("write"), site.play.made("tell")) == ([1], [1, 2])


async def test_a_cancelled_child_goes_on_whether_it_or_its_parent_is_retried(site: Drive) -> None:
    for retried in ("child", "letter"):
        hold = asyncio.Event()
        site.play.script["tell"] = [hold]
        site.play.calls.clear()
        run = await site.start(await put_pair(site))
        await site.called("tell")
        (child,) = await children(site, run)
        async with site.db.connection() as conn:
            await request_cancel(conn, [child])
        site.broker.notify(RUNS_PENDING)
        assert (await site.ended(run)).status is FAILED
        assert [(letter.run_id, letter.code) for letter in await letters(site)] == [(run, "child_cancelled")]
        hold.set()
        await (retry(site, child) if retried == "child" else retry_first_letter(site))
        assert (await site.ended(run)).status is SUCCEEDED
        assert (await children(site, run), await letters(site)) == ([child], [])
        assert site.play.made("write") == [1]


async def test_a_step_that_was_cancelled_beside_a_failure_goes_on_with_the_child_that_it_had(site: Drive) -> None:
    hold, fail = asyncio.Event(), asyncio.Event()
    site.play.script["tell"], site.play.script["side"] = [hold], [fail, BROKEN]
    await site.put("invoice", step("write"), step("tell", "write"))
    run = await site.start(await site.put("beside", call("invoice"), step("side")))
    await site.called("tell")
    fail.set()
    assert (await site.ended(run)).status is FAILED
    (child,) = await children(site, run)
    hold.set()
    await retry_first_letter(site)
    assert (await site.ended(run)).status is SUCCEEDED
    assert await children(site, run) == [child]
    assert site.play.made("write") == [1]


async def test_inputs_that_differ_by_the_clock_alone_are_the_same_call(site: Drive) -> None:
    site.play.script["write"] = [BROKEN]
    given = {"id": {"type": "string"}}
    await site.put("invoice", step("write", config={"id": "{{ inputs.id }}"}), inputs=given)
    inputs = {"id": "{{ now() }}/{{ uuid() }}/{{ run.attempt }}"}
    run = await site.start(await site.put("clock", call("invoice", inputs=inputs)))
    await site.ended(run)
    await retry(site, run)
    assert (await site.ended(run)).status is SUCCEEDED
    assert len(await children(site, run)) == 1
    assert len({one.config["id"] for one in site.play.calls}) == 1


async def test_inputs_of_a_step_that_was_done_again_make_another_call_and_close_the_first(site: Drive) -> None:
    site.play.script["rate"], site.play.script["write"] = [BROKEN, {"n": 7}], [BROKEN]
    given = {"n": {"type": "integer"}}
    await site.put("invoice", step("write", config={"n": "{{ inputs.n }}"}), inputs=given)
    inputs = {"n": "{{ steps.rate.outputs.n | default(1) }}"}
    steps = step("rate", continue_on_error=True), call("invoice", "bill", "rate", inputs=inputs)
    run = await site.start(await site.put("changed", *steps))
    await site.ended(run)
    await retry(site, run)
    assert (await site.ended(run)).status is SUCCEEDED
    first, second = await children(site, run)
    assert [(one.run, one.config["n"]) for one in site.play.calls if one.step == "write"] == [
        (str(first), 1),
        (str(second), 7),
    ]
    assert await letters(site) == []
    assert await retry(site, first) == {first}, "nobody waits for it any more"
    assert (await site.ended(first)).status is SUCCEEDED


async def test_a_step_that_waits_for_nothing_does_not_start_its_run_twice(site: Drive) -> None:
    await site.put("invoice", step("write"))
    broken = call("invoice", outputs={"x": "{{ result.nothing }}"})
    broken["config"]["wait"] = False
    run = await site.start(await site.put("careless", broken))
    assert (await site.ended(run)).status is FAILED
    (child,) = await children(site, run)
    await site.ended(child)
    await retry(site, run)
    assert (await site.ended(run)).status is FAILED
    assert await children(site, run) == [child]
    assert site.play.made("write") == [1]


async def test_an_end_of_the_child_after_the_retry_is_the_answer(site: Drive) -> None:
    """The parent waits for a place while its child, retried with it, fails again: that is not tried once more."""
    hold = asyncio.Event()
    site.play.script["tell"] = [BROKEN, BROKEN]
    flow = await put_pair(site, concurrency={"limit": 1})
    run = await site.start(flow)
    await site.ended(run)
    site.play.script["reserve"] = [hold]
    other = await site.start(flow)
    await site.called("reserve", 2)
    (child,) = await children(site, run)
    await retry(site, child)
    assert (await site.ended(child)).status is FAILED
    hold.set()
    await site.ended(other)
    assert (await site.ended(run)).status is FAILED
    assert len(keys(site, "tell")) == 3
    assert len([one for one in site.play.calls if one.run == str(child) and one.step == "tell"]) == 2
