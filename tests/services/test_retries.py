"""Runs that failed go on: what is done again, what is not, and what is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from automata.broker.contract import RUNS_PENDING
from automata.engine.states import RunStatus
from automata.errors import Conflict, Missing
from automata.store import worker_queue
from automata.store.deadletters import DeadLetterFilter, DeadLetterRow, list_letters, retry_letter
from automata.store.flows import archive_api_flow
from automata.store.ids import new_id
from automata.store.orchestrator_queue import request_cancel
from automata.store.run_retries import retry_run, retry_runs, run_attempts
from automata.store.run_tasks import list_attempts
from tests.drive import BROKEN, FLAKY, Drive, drive, fan, step

NO_PAUSE = {"max_attempts": 3, "initial_delay_ms": 0}


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url) as site:
        yield site


async def letters(site: Drive, run: UUID, state: Any = "open") -> list[DeadLetterRow]:
    async with site.db.connection() as conn:
        return (await list_letters(conn, DeadLetterFilter(run_id=run), state=state)).items


async def again(site: Drive, run: UUID) -> int:
    async with site.db.transaction() as conn:
        attempt = (await retry_run(conn, run, "ada")).attempt
    site.notify()
    return attempt


async def letter_again(site: Drive, run: UUID, name: str) -> None:
    (letter,) = [one for one in await letters(site, run) if one.step == name]
    async with site.db.transaction() as conn:
        await retry_letter(conn, letter.id, "ada")
    site.notify()


async def test_a_run_goes_on_at_the_step_that_failed_and_repeats_nothing_else(site: Drive) -> None:
    site.play.script["b"] = [BROKEN]
    flow = await site.put("line", step("a"), step("b", "a"), step("c", "b"))
    run = await site.start(flow)
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert await site.states(run) == {"a": "SUCCEEDED", "b": "FAILED", "c": "CANCELLED"}
    await letter_again(site, run, "b")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert {name: site.play.made(name) for name in "abc"} == {"a": [1], "b": [1, 2], "c": [1]}
    assert await letters(site, run) == []
    (closed,) = await letters(site, run, "retried")
    assert (closed.step, closed.attempts, closed.resolved_by) == ("b", 1, "ada")


async def test_attempts_count_on_and_the_policy_begins_anew(site: Drive) -> None:
    site.play.script["a"] = [FLAKY] * 5
    flow = await site.put("flaky", step("a", retry=NO_PAUSE, config={"n": "{{ run.attempt }}"}))
    run = await site.start(flow)
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert await again(site, run) == 2
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert site.play.made("a") == [1, 2, 3, 4, 5, 6]
    assert [call.config["n"] for call in site.play.calls] == [1, 1, 1, 2, 2, 2]
    assert {call.key for call in site.play.calls} == {f"{run}:a"}, "the key of a step is the same for ever"
    async with site.db.connection() as conn:
        earlier = await list_attempts(conn, run)
        (ended,) = await run_attempts(conn, run)
    assert [(one.attempt, (one.error or {})["code"]) for one in earlier] == [(n, "flaky") for n in range(1, 6)]
    assert (ended.attempt, ended.status, ended.retried_by, ended.steps) == (1, "FAILED", "ada", None)
    assert (await site.tasks(run))["a"].attempt == 6


async def test_a_transform_sees_the_attempt_of_its_run(site: Drive) -> None:
    site.play.script["a"] = [BROKEN]
    mapped = {
        "id": "t",
        "type": "transform",
        "depends_on": ["a"],
        "config": {"mappings": {"n": "{{ run.attempt }}"}},
    }
    run = await site.start(await site.put("attempts", step("a"), mapped, outputs={"n": "{{ steps.t.outputs.n }}"}))
    await site.ended(run)
    await again(site, run)
    assert (await site.ended(run)).outputs == {"n": 2}


async def test_on_failure_runs_again_only_when_the_run_fails_again(site: Drive) -> None:
    site.play.script["a"] = [BROKEN, BROKEN]
    flow = await site.put("watched", step("a"), on_failure=step("tell", config={"why": "{{ error.code }}"}))
    run = await site.start(flow)
    assert (await site.ended(run)).status is RunStatus.FAILED
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.FAILED
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("a"), site.play.made("tell")) == ([1, 2, 3], [1, 2])
    assert await site.states(run) == {"a": "SUCCEEDED"}


async def test_a_failure_inside_of_nested_parallels_is_retried_where_it_is(site: Drive) -> None:
    site.play.script["out.l.in.p.x"] = [BROKEN]
    hold = asyncio.Event()
    inner = fan("in", branches={"p": [step("w"), step("x"), step("y")], "q": [step("z")]})
    outer = fan("out", branches={"l": [step("v"), inner], "r": [step("u")]})
    site.play.script["out.l.in.q.z"] = [hold]
    run = await site.start(await site.put("nested", outer, step("last", "out")))
    await site.called("out.l.in.p.x")
    hold.set()
    assert (await site.ended(run)).status is RunStatus.FAILED
    before = await site.states(run)
    assert (before["out"], before["out.l.in"], before["last"]) == ("FAILED", "FAILED", "CANCELLED")
    await letter_again(site, run, "out.l.in.p.x")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert set((await site.states(run)).values()) == {"SUCCEEDED"}
    made = {call.step.split(".")[-1]: site.play.made(call.step) for call in site.play.calls}
    assert made == {"v": [1], "w": [1], "x": [1, 2], "y": [1], "z": [1], "u": [1], "last": [1]}


async def two_failures(site: Drive) -> UUID:
    hold = asyncio.Event()
    site.play.script["a"], site.play.script["b"] = [hold, BROKEN], [hold, BROKEN]
    run = await site.start(await site.put("two", step("a"), step("b"), step("after", "a"), step("join", "a", "b")))
    await site.called("a")
    await site.called("b")
    hold.set()
    assert (await site.ended(run)).status is RunStatus.FAILED
    return run


async def test_a_dead_letter_is_retried_alone_though_another_step_has_failed(site: Drive) -> None:
    run = await two_failures(site)
    assert {one.step for one in await letters(site, run)} == {"a", "b"}
    await letter_again(site, run, "a")
    ended = await site.ended(run)
    assert (ended.status, (ended.error or {})["step"]) == (RunStatus.FAILED, "b")
    assert (site.play.made("a"), site.play.made("b"), site.play.made("after")) == ([1, 2], [1], [])
    assert await site.states(run) == {"a": "SUCCEEDED", "b": "FAILED", "after": "CANCELLED", "join": "CANCELLED"}
    await letter_again(site, run, "b")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("b"), site.play.made("after"), site.play.made("join")) == ([1, 2], [1], [1])


async def test_retrying_the_run_retries_all_that_failed(site: Drive) -> None:
    run = await two_failures(site)
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("a"), site.play.made("b"), site.play.made("join")) == ([1, 2], [1, 2], [1])
    assert await letters(site, run) == []


async def test_a_contained_failure_has_no_letter_and_is_retried_with_its_run_only(site: Drive) -> None:
    site.play.script["soft"], site.play.script["hard"] = [BROKEN], [BROKEN]
    steps = step("soft", continue_on_error=True), step("mid", "soft"), step("hard", "mid")
    run = await site.start(await site.put("soft", *steps))
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert [letter.step for letter in await letters(site, run)] == ["hard"]
    await letter_again(site, run, "hard")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("soft"), site.play.made("mid")) == ([1], [1])
    assert await letters(site, run) == []

    site.play.script["soft"], site.play.script["hard"] = [BROKEN], [BROKEN]
    run = await site.start(await site.put("soft", *steps))
    await site.ended(run)
    site.play.calls.clear()
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("soft"), site.play.made("mid"), site.play.made("hard")) == ([2], [], [2])


async def test_a_failure_inside_a_group_that_went_on_opens_the_group_again(site: Drive) -> None:
    site.play.script["g.one.soft"], site.play.script["hard"] = [BROKEN], [BROKEN]
    group = fan("g", branches={"one": [step("soft", continue_on_error=True), step("then")]})
    run = await site.start(await site.put("opened", group, step("hard", "g")))
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert (await site.states(run))["g"] == "SUCCEEDED"
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("g.one.soft"), site.play.made("g.one.then")) == ([1, 2], [1])


async def test_a_letter_inside_a_group_whose_other_branch_has_failed_too(site: Drive) -> None:
    hold = asyncio.Event()
    for name in ("g.l.a", "g.r.b"):
        site.play.script[name] = [hold, BROKEN]
    branches = {"l": [step("a"), step("a2")], "r": [step("b"), step("b2")]}
    run = await site.start(await site.put("pair", fan("g", branches=branches), step("z", "g")))
    await site.called("g.l.a")
    await site.called("g.r.b")
    hold.set()
    await site.ended(run)
    await letter_again(site, run, "g.l.a")
    assert (await site.ended(run)).status is RunStatus.FAILED
    states = await site.states(run)
    assert (states["g.l.a"], states["g.l.a2"], states["g.r.b"], states["g"]) == (
        "SUCCEEDED",
        "CANCELLED",
        "FAILED",
        "FAILED",
    )
    await letter_again(site, run, "g.r.b")
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (site.play.made("g.l.a"), site.play.made("g.l.a2"), site.play.made("g.r.b")) == ([1, 2], [1], [1, 2])


async def test_a_cancelled_run_goes_on_at_what_it_left_undone(site: Drive) -> None:
    hold = asyncio.Event()
    site.play.script["b"] = [hold]
    run = await site.start(await site.put("cut", step("a"), step("b", "a"), step("c", "b")))
    await site.called("b")
    async with site.db.connection() as conn:
        await request_cancel(conn, [run])
    site.broker.notify(RUNS_PENDING)
    assert (await site.ended(run)).status is RunStatus.CANCELLED
    hold.set()
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert {name: site.play.made(name) for name in "abc"} == {"a": [1], "b": [1, 2], "c": [1]}


async def test_a_retried_run_keeps_its_version_though_its_flow_changed_and_was_archived(site: Drive) -> None:
    site.play.script["a"] = [BROKEN]
    run = await site.start(await site.put("gone", step("a", config={"v": "old"})))
    await site.ended(run)
    await site.put("gone", step("a", config={"v": "new"}))
    async with site.db.transaction() as conn:
        await archive_api_flow(conn, "gone")
    await again(site, run)
    ended = await site.ended(run)
    assert (ended.status, ended.version) == (RunStatus.SUCCEEDED, 1)
    assert [call.config["v"] for call in site.play.calls] == ["old", "old"]


async def test_of_many_that_retry_one_run_one_is_accepted(site: Drive) -> None:
    hold = asyncio.Event()
    site.play.script["a"] = [BROKEN, hold]
    run = await site.start(await site.put("once", step("a")))
    await site.ended(run)
    (letter,) = await letters(site, run)

    async def try_run() -> str:
        async with site.db.transaction() as conn:
            return str((await retry_run(conn, run)).attempt)

    async def try_letter() -> str:
        async with site.db.transaction() as conn:
            return str((await retry_letter(conn, letter.id)).attempt)

    outcomes = await asyncio.gather(*(kind() for kind in [try_run, try_letter] * 8), return_exceptions=True)
    won = [one for one in outcomes if isinstance(one, str)]
    assert won == ["2"], outcomes
    assert {one.code for one in outcomes if isinstance(one, Conflict)} <= {"run_not_failed", "dead_letter_resolved"}
    site.notify()
    await site.called("a", 2)
    hold.set()
    await site.ended(run)
    assert site.play.made("a") == [1, 2]
    assert await site.value("SELECT count(*) FROM run_attempts WHERE run_id = %s", run) == 1


async def test_a_retry_that_is_killed_half_way_leaves_the_run_as_it_was(site: Drive) -> None:
    site.play.script["a"] = [BROKEN]
    run = await site.start(await site.put("half", step("a"), step("b", "a")))
    await site.ended(run)

    async def die() -> None:
        async with site.db.transaction() as conn:
            await retry_run(conn, run)
            await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Exception, match="not reachable"):
        await die()
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert await site.states(run) == {"a": "FAILED", "b": "CANCELLED"}
    assert [one.state for one in await letters(site, run)] == ["open"]
    await again(site, run)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED


async def test_what_did_not_fail_is_not_retried(site: Drive) -> None:
    hold = asyncio.Event()
    site.play.script["a"] = [hold]
    run = await site.start(await site.put("well", step("a")))
    await site.called("a")
    for says in ("RUNNING", "succeeded"):
        async with site.db.transaction() as conn:
            with pytest.raises(Conflict, match=says):
                await retry_run(conn, run)
            assert await retry_runs(conn, [run]) == []
        hold.set()
        await site.ended(run)
    async with site.db.transaction() as conn:
        with pytest.raises(Missing):
            await retry_run(conn, new_id())


async def test_a_late_result_of_the_attempt_before_is_refused(site: Drive) -> None:
    """A worker that slept through a cancel and a retry must not complete the step of the new attempt."""
    hold = asyncio.Event()
    site.play.script["a"] = [hold]
    run = await site.start(await site.put("slept", step("a")))
    await site.called("a")
    fence = await site.value("SELECT fence FROM task_queue WHERE run_id = %s AND step = 'a'", run)
    async with site.db.connection() as conn:
        await request_cancel(conn, [run])
    site.broker.notify(RUNS_PENDING)
    await site.ended(run)
    await again(site, run)
    await site.called("a", 2)
    async with site.db.transaction() as conn:
        assert await worker_queue.complete(conn, [worker_queue.TaskResult(run, "a", fence, "SUCCEEDED", "{}")]) == set()
    hold.set()
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert (await site.tasks(run))["a"].attempt == 2


async def test_a_transform_that_failed_has_a_letter_and_its_group_has_none(site: Drive) -> None:
    bad = {"id": "t", "type": "transform", "config": {"mappings": {"x": "{{ inputs.n.y }}"}}}
    run = await site.start(await site.put("bad", fan("g", branches={"b": [bad]}), inputs={"n": {"type": "object"}}))
    assert (await site.ended(run)).status is RunStatus.FAILED
    assert [(one.step, one.code, one.attempts) for one in await letters(site, run)] == [("g.b.t", "template_error", 1)]
    await again(site, run)
    await site.ended(run)
    assert [(one.step, one.attempts) for one in await letters(site, run)] == [("g.b.t", 2)]
