"""The queue against a real PostgreSQL: who gets what, who is refused, what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from automata.errors import Conflict
from automata.store import orchestrator_queue, worker_queue
from automata.store.database import Database
from automata.store.ids import new_fence
from automata.store.json_codec import dumps_or_none
from automata.store.new_runs import NewRun, create_runs
from automata.store.orchestrator_queue import EnqueueRow, FinishRow, RunWrites, SettleRow
from automata.store.queue_sentinels import ADVANCE, CANCEL, CREATED
from automata.store.waiting_codec import TaskReads, encode
from automata.store.worker_queue import Claim, TaskResult, TaskRetry
from tests.emptying import empty

FLOW, VERSION = uuid4(), uuid4()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(database_url, max_size=4) as db:
        async with db.connection() as conn:
            await empty(conn, "runs, run_results, tasks, task_attempts, task_queue")
        yield db


async def a_minute_passes(db: Database) -> None:
    """For what waits for a time within it; the database's clock is nothing that a test can move."""
    async with db.connection() as conn:
        within = "ready_at < now() + interval '1 minute'"
        await conn.execute(f"UPDATE task_queue SET ready_at = ready_at - interval '1 minute' WHERE {within}")


async def start(db: Database, count: int = 1, **more: Any) -> list[UUID]:
    async with db.transaction() as conn:
        made = await create_runs(conn, [NewRun(FLOW, VERSION, {"n": n}, **more) for n in range(count)])
    return [run.id for run in made]


async def enqueue(db: Database, run: UUID, *steps: str, reads: str = "") -> None:
    """What an orchestrator does with a new run: takes its wake-up, queues its steps."""
    async with db.transaction() as conn:
        await orchestrator_queue.take_wakeups(conn, 100)
        await orchestrator_queue.apply_writes(
            conn, RunWrites(enqueue=[EnqueueRow(run, step, "default", None, VERSION, reads) for step in steps])
        )


async def claim(db: Database, limit: int = 10, lease: float = 30) -> list[Claim]:
    async with db.connection() as conn:
        return await worker_queue.claim(conn, "default", limit, lease, "worker")


async def value(db: Database, query: str) -> Any:
    async with db.connection() as conn:
        row = await (await conn.execute(query.encode())).fetchone()
    return row and row[0]


async def test_the_same_key_and_request_gives_the_run_of_the_first_time(db: Database) -> None:
    async with db.transaction() as conn:
        first = await create_runs(conn, [NewRun(FLOW, VERSION, {"a": 1}, idempotency_key="k")])
        again = await create_runs(conn, [NewRun(FLOW, uuid4(), {"a": 1}, idempotency_key="k")])
    assert (again[0].id, again[0].created) == (first[0].id, False)
    assert await value(db, "SELECT count(*) FROM runs") == 1
    assert await value(db, "SELECT count(*) FROM task_queue") == 1


async def test_the_same_key_with_another_request_is_a_conflict(db: Database) -> None:
    async with db.transaction() as conn:
        await create_runs(conn, [NewRun(FLOW, VERSION, {"a": 1}, idempotency_key="k")])
        with pytest.raises(Conflict, match="used before"):
            await create_runs(conn, [NewRun(FLOW, VERSION, {"a": 2}, idempotency_key="k")])


async def test_fifty_concurrent_requests_with_one_key_make_one_run(db: Database) -> None:
    async def once() -> UUID:
        return (await start(db, idempotency_key="same"))[0]

    assert len(set(await asyncio.gather(*(once() for _ in range(50))))) == 1
    assert await value(db, "SELECT count(*) FROM runs") == 1


async def test_a_fire_time_has_one_run_however_often_it_is_asked_for(db: Database) -> None:
    fire = {"schedule_id": uuid4(), "scheduled_for": datetime(2026, 1, 1, tzinfo=UTC)}
    (first,) = await start(db, **fire)
    await start(db, **fire)
    async with db.transaction() as conn:
        made = await create_runs(conn, [NewRun(FLOW, VERSION, {}, **fire)])  # type: ignore[arg-type]
    assert [(item.id, item.created) for item in made] == [(first, False)]
    assert await value(db, "SELECT count(*) FROM runs") == 1
    assert await value(db, "SELECT count(*) FROM task_queue") == 1


async def test_two_orchestrators_never_hold_one_run(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a", "b")
    claims = await claim(db)
    async with db.connection() as conn:
        await worker_queue.complete(conn, [_result(claims[0])])
    async with db.transaction() as first:
        assert [item.step for item in (await orchestrator_queue.take_wakeups(first, 10))[0]] == [claims[0].step]
        async with db.connection() as conn:
            await worker_queue.complete(conn, [_result(claims[1])])
        async with db.transaction() as second:
            assert await orchestrator_queue.take_wakeups(second, 10) == ([], 1)
    async with db.transaction() as third:
        assert [item.step for item in (await orchestrator_queue.take_wakeups(third, 10))[0]] == [claims[1].step]


async def test_an_orchestrator_that_dies_leaves_the_wake_ups(db: Database) -> None:
    await start(db, 3)

    async def die() -> None:
        async with db.transaction() as conn:
            assert len((await orchestrator_queue.take_wakeups(conn, 10))[0]) == 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await die()
    async with db.transaction() as conn:
        assert len((await orchestrator_queue.take_wakeups(conn, 10))[0]) == 3


async def test_a_task_is_claimed_by_one_worker(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, *(f"s{n}" for n in range(40)))
    shares = await asyncio.gather(*(claim(db, 10) for _ in range(8)))
    steps = [item.step for share in shares for item in share]
    assert len(steps) == len(set(steps))
    steps += [item.step for item in await claim(db, 100)]
    assert sorted(steps) == sorted(f"s{n}" for n in range(40))


async def test_a_late_result_is_refused_and_the_second_worker_s_is_accepted(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    (late,) = await claim(db, lease=0)
    (second,) = await claim(db)
    assert second.fence != late.fence
    assert (second.losses, second.attempt) == (1, 1)
    async with db.connection() as conn:
        assert await worker_queue.complete(conn, [_result(late, {"by": "late"})]) == set()
        assert await worker_queue.complete(conn, [_result(second, {"by": "second"})]) == {(run, "a")}
        assert await worker_queue.complete(conn, [_result(second, {"by": "again"})]) == set()
    assert await value(db, "SELECT outputs->>'by' FROM tasks") == "second"


async def test_a_result_that_moves_its_run_needs_its_fence(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    (late,) = await claim(db, lease=0)
    (second,) = await claim(db)
    async with db.connection() as conn:
        assert await worker_queue.complete_under_lock(conn, [_result(late, {"by": "late"})]) == {}
        accepted = await worker_queue.complete_under_lock(conn, [_result(late, {}), _result(second, {"by": "second"})])
        assert accepted.keys() == {second.fence}
        assert await worker_queue.complete_under_lock(conn, [_result(second, {"by": "again"})]) == {}
    assert await value(db, "SELECT outputs->>'by' FROM tasks") == "second"
    assert await value(db, "SELECT count(*) FROM task_queue") == 0, "no wake-up: the run goes on at once"


async def test_a_result_moves_no_run_that_an_orchestrator_has_in_hand(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a", "b")
    first, second = await claim(db)
    async with db.connection() as conn:
        await worker_queue.complete(conn, [_result(first)])
    async with db.transaction() as holder:
        assert len((await orchestrator_queue.take_wakeups(holder, 10))[0]) == 1
        async with db.transaction() as conn:
            assert await worker_queue.complete_under_lock(conn, [_result(second)]) == {}
            assert await worker_queue.complete(conn, [_result(second)]) == {(run, second.step)}
    async with db.transaction() as conn:
        assert [item.step for item in (await orchestrator_queue.take_wakeups(conn, 10))[0]] == [second.step]


async def test_work_that_is_handed_over_is_claimed_from_the_start_and_found_when_its_lease_ends(db: Database) -> None:
    (run,) = await start(db)
    fence = new_fence()
    async with db.transaction() as conn:
        await orchestrator_queue.take_wakeups(conn, 10)
        hand = [(run, "a", "default", VERSION, "", fence)]
        assert await orchestrator_queue.apply_writes(conn, RunWrites(hand=hand, hand_to=("here", 30)))
        assert not await orchestrator_queue.apply_writes(conn, RunWrites(hand=hand, hand_to=("there", 30))), (
            "it was queued already"
        )
    assert await claim(db) == []
    await a_minute_passes(db)
    (found,) = await claim(db)
    assert (found.losses, found.attempt) == (1, 1)
    async with db.connection() as conn:
        assert await worker_queue.complete(conn, [TaskResult(run, "a", fence, "SUCCEEDED", "{}")]) == set()


async def test_a_renewed_lease_holds_and_a_lost_one_is_told(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a", "b")
    held = await claim(db, lease=30)
    rows = [(run, item.step, item.fence) for item in held]
    async with db.connection() as conn:
        assert await worker_queue.renew(conn, rows[:1], 3000) == {rows[0][2]}
        await a_minute_passes(db)
        (again,) = await claim(db)
        assert again.step == held[1].step
        assert await worker_queue.renew(conn, rows, 3000) == {rows[0][2]}


async def test_an_empty_lane_has_nothing_due(db: Database) -> None:
    async with db.connection() as conn:
        assert await orchestrator_queue.seconds_to_next_due(conn, "nobody's") is None


async def test_a_retry_waits_in_the_queue_and_keeps_its_attempt(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    (first,) = await claim(db)
    async with db.connection() as conn:
        again = TaskRetry(run, "a", first.fence, 30_000, {"message": "no"})
        assert await worker_queue.retry(conn, [again]) == {(run, "a")}
        assert await worker_queue.retry(conn, [again]) == set()
        assert await claim(db) == []
        due = await orchestrator_queue.seconds_to_next_due(conn, "default")
    assert due is not None
    assert 0 < due <= 30
    await a_minute_passes(db)
    (second,) = await claim(db)
    assert (second.attempt, second.losses) == (2, 0)
    assert await value(db, "SELECT error->>'message' FROM task_attempts WHERE attempt = 1") == "no"


async def test_a_drained_worker_gives_back_at_once(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    (item,) = await claim(db)
    async with db.connection() as conn:
        await worker_queue.release(conn, [(run, "a", item.fence)])
    (again,) = await claim(db)
    assert (again.attempt, again.losses) == (1, 0)


async def test_drop_cancels_what_waits_and_leaves_what_runs_unless_forced(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a", "b")
    (running,) = await claim(db, 1)
    (waiting,) = {"a", "b"} - {running.step}
    async with db.transaction() as conn:
        await orchestrator_queue.drop_tasks(conn, [(run, "a", False), (run, "b", False)])
        (seen,) = await orchestrator_queue.load_snapshots(conn, [run])
        assert {step: state[0] for step, state in seen.states.items()} == {
            waiting: "CANCELLED",
            running.step: "RUNNING",
        }
        await orchestrator_queue.drop_tasks(conn, [(run, running.step, True)])
    async with db.connection() as conn:
        assert await worker_queue.complete(conn, [_result(running)]) == set()
    assert await value(db, "SELECT count(*) FROM task_queue") == 0


async def test_a_finished_run_leaves_nothing_that_moves_and_comes_back_no_more(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    async with db.transaction() as conn:
        result = FinishRow(run, FLOW, "CANCELLED", None, None, {"code": "cancelled"})
        await orchestrator_queue.apply_writes(conn, RunWrites(finish=[result]))
        await orchestrator_queue.apply_writes(
            conn, RunWrites(finish=[FinishRow(*result[:2], "FAILED", None, None, None)])
        )
        assert await orchestrator_queue.load_snapshots(conn, [run]) == []
        assert await orchestrator_queue.request_cancel(conn, [run]) == set()
    assert await value(db, "SELECT status FROM run_results") == "CANCELLED"
    assert await value(db, "SELECT count(*) FROM task_queue") == 0


async def test_asking_twice_to_cancel_leaves_one_wake_up(db: Database) -> None:
    (run,) = await start(db)
    for _ in range(2):
        async with db.transaction() as conn:
            assert await orchestrator_queue.request_cancel(conn, [run]) == {run}
    async with db.transaction() as conn:
        taken, _ = await orchestrator_queue.take_wakeups(conn, 10)
    assert sorted(item.step for item in taken) == sorted([CREATED, CANCEL])


async def test_a_postponed_wake_up_comes_later_and_is_counted(db: Database) -> None:
    await start(db)
    async with db.transaction() as conn:
        taken, _ = await orchestrator_queue.take_wakeups(conn, 10)
        await orchestrator_queue.postpone(conn, taken)
    async with db.transaction() as conn:
        assert await orchestrator_queue.take_wakeups(conn, 10) == ([], 0)
        due = await orchestrator_queue.seconds_to_next_due(conn, ADVANCE)
    assert due is not None
    assert 0.5 < due <= 1
    assert await value(db, "SELECT losses FROM task_queue") == 1


async def test_odd_values_survive_or_are_made_storable(db: Database) -> None:
    (run,) = await start(db)
    await enqueue(db, run, "a")
    (item,) = await claim(db)
    odd = {"nul": "a\x00b", "big": 2**70, "surrogate": "x\ud800y", "deep": [[[[1]]]], "float": 1e308}
    async with db.connection() as conn:
        assert await worker_queue.complete(conn, [_result(item, odd)]) == {(run, "a")}
        found = await orchestrator_queue.load_outputs(conn, [(run, "a")])
    _, outputs = found[run, "a"]
    assert outputs["nul"] == "a\x00b"
    assert outputs["surrogate"] == "x?y"
    assert outputs["big"] == pytest.approx(2**70)


async def test_a_claim_brings_the_outputs_that_the_step_reads(db: Database) -> None:
    (run,) = await start(db)
    async with db.transaction() as conn:
        (seen,) = await orchestrator_queue.load_snapshots(conn, [run])
        settled = [SettleRow(run, step, "SUCCEEDED", seen.now, {"v": step}, None) for step in ("x", "y", "z")]
        await orchestrator_queue.apply_writes(conn, RunWrites(settle=settled))
    await enqueue(db, run, "a", reads=encode(TaskReads("xz")))
    (item,) = await claim(db)
    assert item.reads == {"x": ("SUCCEEDED", {"v": "x"}), "z": ("SUCCEEDED", {"v": "z"})}
    assert item.run.inputs == {"n": 0}


def _result(item: Claim, outputs: Any = None) -> TaskResult:
    return TaskResult(item.run.id, item.step, item.fence, "SUCCEEDED", dumps_or_none(outputs))
