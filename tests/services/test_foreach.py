"""A step with a `foreach`, on the real orchestrator and worker: once an item, in order, and durable in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from automata.engine.states import RunStatus
from automata.flow.model import MAX_ITEMS
from automata.store.run_retries import retry_run
from tests.drive import BROKEN, Drive, drive, fan, step

INPUTS = {"list": {"type": "array"}}
ECHO = {"config": {"got": "{{ item }}", "at": "{{ index }}"}}


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url) as site:
        yield site


def each(id: str, *after: str, over: Any = "inputs.list", **more: Any) -> dict[str, Any]:
    return step(id, *after, foreach=over, **{**ECHO, **more})


async def outputs(site: Drive, run: UUID, name: str) -> Any:
    return (await site.tasks(run))[name].outputs


async def test_a_step_runs_once_an_item_and_its_outputs_are_a_list_in_order(site: Drive) -> None:
    flow = await site.put("loop", each("load", outputs={"n": "{{ item.n }}-{{ index }}"}), inputs=INPUTS)
    run = await site.start(flow, list=[{"n": n} for n in "abc"])
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await outputs(site, run, "load") == [{"n": "a-0"}, {"n": "b-1"}, {"n": "c-2"}]
    assert {call.step: call.config for call in site.play.calls} == {
        f"load[{n}]": {"got": {"n": name}, "at": n} for n, name in enumerate("abc")
    }
    assert len({call.key for call in site.play.calls}) == 3, "each item has an idempotency key of its own"


async def test_what_follows_reads_the_list(site: Drive) -> None:
    total = {"sum": "{{ steps.load.outputs | map(attribute='n') | sum }}", "last": "{{ steps.load.outputs[2].n }}"}
    flow = await site.put(
        "loop",
        {"id": "make", "type": "transform", "config": {"mappings": {"list": [1, 2, 4]}}},
        each("load", "make", over="{{ steps.make.outputs.list }}", outputs={"n": "{{ item * 10 }}"}),
        {"id": "total", "type": "transform", "depends_on": ["load"], "config": {"mappings": total}},
    )
    run = await site.start(flow)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await outputs(site, run, "total") == {"sum": 70, "last": 40}


@pytest.mark.parametrize("over", [[], "inputs.list"])
async def test_an_empty_list_is_a_success_with_no_outputs(site: Drive, over: Any) -> None:
    flow = await site.put("loop", each("load", over=over), step("next", "load"), inputs=INPUTS)
    run = await site.start(flow, list=[])
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await outputs(site, run, "load") == []
    assert await site.states(run) == {"load": "SUCCEEDED", "next": "SUCCEEDED"}


@pytest.mark.parametrize(
    ("given", "said"),
    [("text", "a text"), ({"a": 1}, "an object"), (None, "nothing"), (7, "a number"), (True, "true or false")],
)
async def test_what_is_no_list_fails_the_step_and_says_so(site: Drive, given: Any, said: str) -> None:
    flow = await site.put("loop", each("load", over="inputs.box.list"), inputs={"box": {"type": "object"}})
    run = await site.start(flow, box={"list": given})
    ended = await site.ended(run)
    assert ended.status is RunStatus.FAILED
    message = f"`foreach` gave {said}, not a list."
    assert ended.error == {"code": "foreach_not_a_list", "message": message, "step": "load"}
    assert site.play.calls == []


async def test_a_list_that_is_too_long_fails_the_step_before_any_item_begins(site: Drive) -> None:
    flow = await site.put("loop", each("load"), inputs=INPUTS)
    run = await site.start(flow, list=[0] * (MAX_ITEMS + 1))
    assert (await site.ended(run)).error["code"] == "foreach_too_long"
    assert site.play.calls == []


@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_items_than_max_parallel_are_under_way(site: Drive, most: int) -> None:
    gates = [asyncio.Event() for _ in range(8)]
    for n, gate in enumerate(gates):
        site.play.script[f"load[{n}]"] = [gate]
    flow = await site.put("loop", each("load", max_parallel=most), inputs=INPUTS)
    run = await site.start(flow, list=list(range(8)))
    for done in range(8):
        async with asyncio.timeout(120), site.play.rang:
            await site.play.rang.wait_for(lambda done=done: len(site.play.calls) >= min(done + most, 8))
        await asyncio.sleep(0.05)
        assert [call.step for call in site.play.calls] == [f"load[{n}]" for n in range(min(done + most, 8))]
        gates[done].set()
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED


async def test_a_failed_item_fails_the_step_and_nothing_further_begins(site: Drive) -> None:
    site.play.script["load[1]"] = [BROKEN]
    flow = await site.put("loop", each("load", max_parallel=1), step("next", "load"), inputs=INPUTS)
    run = await site.start(flow, list=[0, 1, 2])
    ended = await site.ended(run)
    assert (ended.status, ended.error["code"]) == (RunStatus.FAILED, "broken")
    states = await site.states(run)
    assert (states["load[0]"], states["load[1]"], states["load"], states["next"]) == (
        "SUCCEEDED",
        "FAILED",
        "FAILED",
        "CANCELLED",
    )
    assert "load[2]" not in {call.step for call in site.play.calls}


async def test_with_continue_on_error_the_other_items_run_and_the_failed_one_is_null(site: Drive) -> None:
    site.play.script["load[1]"] = [BROKEN]
    flow = await site.put(
        "loop", each("load", continue_on_error=True, max_parallel=1), step("next", "load"), inputs=INPUTS
    )
    run = await site.start(flow, list=[0, 1, 2])
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await outputs(site, run, "load") == [{"ok": True}, None, {"ok": True}]


async def test_a_condition_on_the_item_skips_items_and_one_without_skips_the_step(site: Drive) -> None:
    none = each("none", condition="inputs.list | length > 9")
    flow = await site.put("loop", each("odd", condition="item is odd"), none, inputs=INPUTS)
    run = await site.start(flow, list=[1, 2, 3])
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await outputs(site, run, "odd") == [{"ok": True}, None, {"ok": True}]
    assert (await site.states(run))["none"] == "SKIPPED"
    assert sorted(call.step for call in site.play.calls) == ["odd[0]", "odd[2]"]


async def test_a_retried_run_does_the_failed_items_alone_again(site: Drive) -> None:
    site.play.script["load[1]"] = [BROKEN]
    site.play.script["load[3]"] = [BROKEN]
    flow = await site.put("loop", each("load"), step("next", "load"), inputs=INPUTS)
    run = await site.start(flow, list=list(range(5)))
    assert (await site.ended(run)).status is RunStatus.FAILED
    before = [call.step for call in site.play.calls]
    assert sorted(before) == [f"load[{n}]" for n in range(5)]
    async with site.db.transaction() as conn:
        await retry_run(conn, run, "ada")
    site.notify()
    await site.called("next")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert sorted(call.step for call in site.play.calls[5:]) == ["load[1]", "load[3]", "next"]
    assert await outputs(site, run, "load") == [{"ok": True}] * 5


async def test_transforms_delays_and_nested_groups_take_items_too(site: Drive) -> None:
    mappings = {"n": "{{ item * 2 }}"}
    double = {"id": "double", "type": "transform", "foreach": "inputs.list", "config": {"mappings": mappings}}
    wait = {
        "id": "wait",
        "type": "delay",
        "foreach": "inputs.list",
        "max_parallel": 2,
        "config": {"duration_ms": "{{ item }}"},
        "outputs": {"of": "{{ index }}"},
    }
    both = fan("both", branches={"left": [wait], "right": [each("load")]})
    flow = await site.put("loop", double, both, inputs=INPUTS)
    run = await site.start(flow, list=[1, 2, 3])
    ended = await site.ended(run)
    assert ended.status is RunStatus.SUCCEEDED, ended.error
    assert await outputs(site, run, "double") == [{"n": 2}, {"n": 4}, {"n": 6}]
    assert await outputs(site, run, "both.left.wait") == [{"of": 0}, {"of": 1}, {"of": 2}]
    assert len(await outputs(site, run, "both.right.load")) == 3


async def test_a_cancelled_run_ends_while_items_wait(site: Drive) -> None:
    from automata.store.orchestrator_queue import request_cancel

    site.play.script["load[0]"] = [asyncio.Event()]
    flow = await site.put("loop", each("load", max_parallel=1), inputs=INPUTS)
    run = await site.start(flow, list=[0, 1])
    await site.called("load[0]")
    async with site.db.transaction() as conn:
        await request_cancel(conn, [run])
    site.notify()
    assert (await site.ended(run)).status is RunStatus.CANCELLED
    assert (await site.states(run))["load"] == "CANCELLED"


async def test_a_thousand_items_reach_their_end(site: Drive) -> None:
    flow = await site.put("loop", each("load", outputs={"n": "{{ item }}"}), inputs=INPUTS)
    run = await site.start(flow, list=list(range(1000)))
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert [one["n"] for one in await outputs(site, run, "load")] == list(range(1000))
