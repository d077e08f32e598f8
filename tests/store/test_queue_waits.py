"""What a row waits for, on its way through the queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from automata.store import orchestrator_queue, worker_queue
from automata.store.database import Database
from automata.store.new_runs import NewRun, create_runs
from automata.store.orchestrator_queue import EnqueueRow, RunWrites
from automata.store.queue_sentinels import ADVANCE
from automata.store.waiting_codec import ApprovalWait, ChildRunWait, TaskReads, Wait, encode
from automata.store.worker_queue import TaskResult

VERSION = uuid4()

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def db(database_url: str, anyio_backend: str) -> AsyncIterator[Database]:
    async with await Database.open(database_url) as db:
        async with db.connection() as conn:
            await conn.execute("TRUNCATE runs, run_results, tasks, task_attempts, task_queue")
        yield db


@pytest.fixture
async def run(db: Database) -> UUID:
    """A run whose first wake-up is taken."""
    async with db.transaction() as conn:
        (created,) = await create_runs(conn, [NewRun(uuid4(), VERSION, {})])
        await orchestrator_queue.take_wakeups(conn, 1)
    return created.id


@pytest.mark.parametrize("steps", [["flow"], ["flow", "fetch"], ["approval", "fetch"], ["slot", "fetch"]])
async def test_a_completed_task_waits_for_nothing_whatever_the_steps_that_it_read_are_called(
    steps: list[str], db: Database, run: UUID
) -> None:
    async with db.transaction() as conn:
        row = EnqueueRow(run, "last", "default", None, VERSION, encode(TaskReads(steps)))
        await orchestrator_queue.apply_writes(conn, RunWrites(enqueue=[row]))
    async with db.connection() as conn:
        (claim,) = await worker_queue.claim(conn, "default", 1, 30, "worker")
        assert await worker_queue.complete(conn, [TaskResult(run, "last", claim.fence, "SUCCEEDED")]) == {(run, "last")}
    async with db.transaction() as conn:
        (wakeup,), _ = await orchestrator_queue.take_wakeups(conn, 1)
    assert (wakeup.step, wakeup.wait) == ("last", None)


@pytest.mark.parametrize("wait", [ApprovalWait("Ship it?"), ChildRunWait(uuid4(), for_end=True), None])
async def test_a_wake_up_that_is_put_back_waits_for_what_it_waited_for(
    wait: Wait | None, db: Database, run: UUID
) -> None:
    async with db.transaction() as conn:
        row = EnqueueRow(run, "ask", ADVANCE, None, VERSION, encode(wait))
        await orchestrator_queue.apply_writes(conn, RunWrites(enqueue=[row]))
    async with db.transaction() as conn:
        taken, _ = await orchestrator_queue.take_wakeups(conn, 1)
        await orchestrator_queue.postpone(conn, taken)
        await conn.execute("UPDATE task_queue SET ready_at = now()")
    async with db.transaction() as conn:
        (again,), _ = await orchestrator_queue.take_wakeups(conn, 1)
    assert (again.step, again.wait, again.losses) == ("ask", wait, 1)
