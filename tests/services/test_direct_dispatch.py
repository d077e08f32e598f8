"""Results that move their runs at once, in the orchestrator of the worker's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from automata.engine.states import TaskStatus
from automata.errors import Unavailable
from automata.services.completer import Completer
from automata.services.executor import FinishedAttempt
from automata.services.leases import Leases
from automata.services.plan_cache import PlanCache
from automata.services.run_advancer import RunAdvancer
from automata.settings import Settings
from automata.steps.registry import instant_rules
from automata.store import orchestrator_queue, worker_queue
from automata.store.orchestrator_queue import RunSnapshot, RunWrites
from automata.store.worker_queue import Claim, TaskResult
from tests.drive import BROKEN, Drive, drive, fan, step, transform


def _by(claim: Claim, who: str) -> TaskResult:
    return TaskResult(claim.run.id, claim.step, claim.fence, TaskStatus.SUCCEEDED, f'{{"by": "{who}"}}')


def _completer(it: Drive) -> Completer:
    settings, advancer = Settings(), RunAdvancer(it.db, it.broker, PlanCache(it.db), instant_rules())
    return Completer(it.db, it.broker, Leases(it.db, settings), settings, advancer)


async def _claimed(it: Drive, lease_sec: float) -> dict[str, Claim]:
    async with asyncio.timeout(120):
        while True:
            async with it.db.connection() as conn:
                claims = await worker_queue.claim(conn, "elsewhere", 10, lease_sec, "w")
            if claims:
                return {item.step: item for item in claims}
            await asyncio.sleep(0.01)


async def test_a_late_result_is_read_by_no_step_though_its_batch_moves_the_run(database_url: str) -> None:
    """The late one and an accepted one of the same run are handed in together."""
    async with drive(database_url, poll_sec=60) as it:
        first, second = step("a", queue="elsewhere"), step("b", queue="elsewhere")
        last = step("c", "a", "b", condition="{{ steps.a.outputs.by == 'second' }}")
        run = await it.start(await it.put("late", first, second, last))
        late, good = await _claimed(it, 0), await _claimed(it, 30)
        completer = _completer(it)
        async with it.db.connection() as conn:
            await worker_queue.complete(conn, [_by(good["a"], "second")])
        results = [_by(late["a"], "late"), _by(good["b"], "second")]
        accepted = await completer.commit([FinishedAttempt(result) for result in results])
        assert accepted <= {(run, "b")}
        it.notify()
        assert (await it.ended(run)).status == "SUCCEEDED"
        assert (await it.states(run))["c"] == "SUCCEEDED"


def _loads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs each load from the database was for."""
    seen: list[int] = []
    load = orchestrator_queue.load_snapshots

    async def counted(conn: Any, ids: Sequence[UUID]) -> list[RunSnapshot]:
        seen.append(len(ids))
        return await load(conn, ids)

    monkeypatch.setattr(orchestrator_queue, "load_snapshots", counted)
    return seen


async def test_a_run_of_one_step_after_another_is_loaded_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(database_url, poll_sec=60) as it:
        it.play.script["b"] = [{"n": 7}]
        between = transform("m", {"n": "{{ steps.b.outputs.n + 1 }}"}, "b")
        last = step("c", "m", condition="{{ steps.m.outputs.n == 8 and steps.a.outputs.ok }}")
        flow = await it.put("chain", step("a"), step("b", "a"), between, last)
        seen = _loads(monkeypatch)
        run = await it.ended(await it.start(flow))
        assert (run.status, seen) == ("SUCCEEDED", [1])
        assert run.started_at == min(row.queued_at for row in (await it.tasks(run.id)).values() if row.queued_at)
        assert set((await it.states(run.id)).values()) == {"SUCCEEDED"}


async def test_an_error_reaches_the_end_of_a_run_that_is_not_loaded_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with drive(database_url, poll_sec=60) as it:
        it.play.script["a"], it.play.script["b"] = [BROKEN], [BROKEN]
        flow = await it.put("broken", step("a", continue_on_error=True), step("b", "a"), step("c", "b"))
        seen = _loads(monkeypatch)
        run = await it.ended(await it.start(flow))
        assert (run.status, run.error and run.error["step"], seen) == ("FAILED", "b", [1])
        assert await it.states(run.id) == {"a": "FAILED", "b": "FAILED", "c": "CANCELLED"}


async def test_branches_meet_though_each_is_a_chain(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While two pieces move, neither may take a picture along: it would show the other one as running for ever."""
    async with drive(database_url, poll_sec=60) as it:
        b1, a2 = asyncio.Event(), asyncio.Event()
        it.play.script["both.b.b1"], it.play.script["both.a.a2"] = [b1], [a2]
        both = {"a": [step("a1"), step("a2", "a1")], "b": [step("b1"), step("b2", "b1")]}
        run = await it.start(await it.put("meet", fan("both", branches=both), step("c", "both"), step("d", "c")))
        await it.called("both.a.a2")  # begun while b1 moved
        b1.set()
        async with asyncio.timeout(120):
            while (await it.states(run)).get("both.b.b2") != "SUCCEEDED":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        seen = _loads(monkeypatch)
        a2.set()
        assert (await it.ended(run)).status == "SUCCEEDED"
        assert seen == [1]  # the end of the group was decided by what the database said; what follows is a chain


async def test_what_was_known_holds_when_a_transaction_has_to_be_tried_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try settles the transform and hands the next step over, and is rolled back at its end."""
    async with drive(database_url, poll_sec=60) as it:
        flow = await it.put("again", step("a"), transform("m", {"n": 1}, "a"), step("b", "m"))
        apply, failures = orchestrator_queue.apply_writes, [Unavailable("the database is away")]

        async def failing(conn: Any, changes: RunWrites) -> bool:
            done = await apply(conn, changes)
            if changes.settle and failures:
                raise failures.pop()
            return done

        monkeypatch.setattr(orchestrator_queue, "apply_writes", failing)
        run = await it.ended(await it.start(flow))
        assert (run.status, failures) == ("SUCCEEDED", [])
        assert await it.states(run.id) == dict.fromkeys(("a", "m", "b"), "SUCCEEDED")
        assert it.play.made("b") == [1]


async def test_a_cancel_between_two_steps_of_a_known_run_is_carried_out(database_url: str) -> None:
    """The result that carries the picture comes after the cancel: it is refused, and starts nothing."""
    async with drive(database_url, poll_sec=60) as it:
        hold = asyncio.Event()
        it.play.script["b"] = [hold]
        run = await it.start(await it.put("cancel", step("a"), step("b", "a"), step("c", "b")))
        await it.called("b")
        async with it.db.transaction() as conn:
            assert await orchestrator_queue.request_cancel(conn, [run]) == {run}
        it.notify()
        assert (await it.ended(run)).status == "CANCELLED"
        hold.set()
        await asyncio.sleep(0.1)
        assert await it.states(run) == {"a": "SUCCEEDED", "b": "CANCELLED", "c": "CANCELLED"}
        assert it.play.made("c") == []
