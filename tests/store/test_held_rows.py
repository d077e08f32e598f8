"""Rows of the queue that change while a statement waits for them: what is still ours is written, all else is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from automata.store import orchestrator_queue, worker_queue
from automata.store.database import Connection, Database
from automata.store.new_runs import NewRun, create_runs
from automata.store.orchestrator_queue import EnqueueRow, RunWrites
from automata.store.queue_sentinels import ADVANCE
from automata.store.worker_queue import TaskResult, TaskRetry
from tests.emptying import empty

VERSION = uuid4()
Held = tuple[UUID, str, UUID]
Act = Callable[[Connection, Held], Awaitable[Any]]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(database_url, max_size=4) as db:
        async with db.connection() as conn:
            await empty(conn, "runs, run_results, tasks, task_attempts, task_queue")
        yield db


@pytest.fixture
async def held(db: Database) -> Held:
    """The one row of the queue: a task that a worker has claimed."""
    return (await claimed(db, 1))[0]


async def claimed(db: Database, count: int) -> list[Held]:
    async with db.transaction() as conn:
        runs = await create_runs(conn, [NewRun(uuid4(), VERSION, {}) for _ in range(count)])
        await orchestrator_queue.take_wakeups(conn, count)
        rows = [EnqueueRow(run.id, "a", "default", None, VERSION) for run in runs]
        await orchestrator_queue.apply_writes(conn, RunWrites(enqueue=rows))
    async with db.connection() as conn:
        return [
            (claim.run.id, claim.step, claim.fence)
            for claim in await worker_queue.claim(conn, "default", count, 30, "w")
        ]


async def value(db: Database, query: str) -> Any:
    async with db.connection() as conn:
        row = await (await conn.execute(query.encode())).fetchone()
    return row and row[0]


async def until_somebody_waits(db: Database) -> None:
    """Until a statement of this database waits for a row."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(60):
        while not await value(db, waiting):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def in_transaction(db: Database, act: Act, held: Held) -> Any:
    async with db.transaction() as conn:
        return await act(conn, held)


async def complete(conn: Connection, held: Held) -> Any:
    return await worker_queue.complete(conn, [TaskResult(*held, "SUCCEEDED")])


async def complete_and_advance(conn: Connection, held: Held) -> Any:
    """As a completer beside an orchestrator does: what is not accepted in the first way is offered in the second."""
    results = [TaskResult(*held, "SUCCEEDED")]
    ended_at = await worker_queue.complete_under_lock(conn, results)
    return {held[:2]} if held[2] in ended_at else await worker_queue.complete(conn, results)


async def retry(conn: Connection, held: Held) -> Any:
    return await worker_queue.retry(conn, [TaskRetry(*held, 1000, None)])


async def release(conn: Connection, held: Held) -> Any:
    await worker_queue.release(conn, [held])


async def drop(conn: Connection, held: Held) -> Any:
    await orchestrator_queue.drop_tasks(conn, [(*held[:2], True)])


async def wake(conn: Connection, held: Held) -> Any:
    await orchestrator_queue.apply_writes(conn, RunWrites(wake=[held[:2]]))


@pytest.mark.parametrize("act", [complete, complete_and_advance, retry, release, drop])
async def test_a_row_that_was_renewed_while_it_was_waited_for_is_written(act: Act, db: Database, held: Held) -> None:
    async with db.transaction() as conn:
        assert await worker_queue.renew(conn, [held], 60) == {held[2]}
        acting = asyncio.create_task(in_transaction(db, act, held))
        await until_somebody_waits(db)
    assert await acting in (None, {held[:2]})
    assert await value(db, "SELECT count(*) FROM task_queue WHERE fence IS NOT NULL") == 0


@pytest.mark.parametrize("act", [complete, complete_and_advance, retry, release])
async def test_a_row_that_was_lost_while_it_was_waited_for_is_left(act: Act, db: Database, held: Held) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE task_queue SET fence = gen_random_uuid(), worker = 'other'")
        acting = asyncio.create_task(in_transaction(db, act, held))
        await until_somebody_waits(db)
    assert not await acting
    assert await value(db, "SELECT worker FROM task_queue WHERE fence IS NOT NULL") == "other"
    assert await value(db, "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM task_attempts)") == 0


async def test_a_parent_that_was_put_off_while_it_was_waited_for_is_woken(db: Database, held: Held) -> None:
    async with db.transaction() as conn:
        await conn.execute("UPDATE task_queue SET lane = %s, fence = NULL", [ADVANCE])
    async with db.transaction() as conn:
        await conn.execute("UPDATE task_queue SET ready_at = now() + interval '1 hour'")
        acting = asyncio.create_task(in_transaction(db, wake, held))
        await until_somebody_waits(db)
    await acting
    assert await value(db, "SELECT ready_at < now() FROM task_queue")


async def test_a_batch_locks_its_own_runs_and_no_others_even_by_a_plan_for_an_empty_queue(database_url: str) -> None:
    settings = {"plan_cache_mode": "force_generic_plan"}
    async with await Database.open(database_url, max_size=1, settings=settings) as db:
        async with db.connection() as conn:
            await empty(conn, "runs, run_results, tasks, task_attempts, task_queue")
            await conn.execute("VACUUM ANALYZE task_queue")
            for _ in range(5):  # from here on it is prepared, and its plan is kept
                await worker_queue.complete_under_lock(conn, [TaskResult(uuid4(), "a", uuid4(), "SUCCEEDED")])
        rows = await claimed(db, 200)
        async with db.transaction() as conn:
            batch = [TaskResult(*row, "SUCCEEDED") for row in rows[:20]]
            assert len(await worker_queue.complete_under_lock(conn, batch)) == 20
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            row = await (await conn.execute(locks)).fetchone()
    assert row == (20,)
