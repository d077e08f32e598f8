"""The worker's side of the queue: claim, renew, complete, retry, release.

Failure argument. A claim hands out a random fence and makes the row ready again when the lease ends. Completing
needs the fence, so of two workers that ran the same task (one slept past its lease) exactly one is accepted. A
claim that a database crash forgets is claimed again under another fence; a result is committed with the disk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row

from automata.store.arrays import array_params
from automata.store.held_rows import execute_until_written
from automata.store.json_codec import dumps_or_none
from automata.store.orchestrator_queue import RunSnapshot, code_of, load_outputs
from automata.store.sql import statement
from automata.store.waiting_codec import TaskReads, decode_reads


# Values, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class RunInfo:
    """What templates may read of the run of a claimed task. `contained`: a run above goes on when this one fails.

    `changed`: steps that a later version changed, with the attempt of the run from which on they are as they are.
    """

    id: UUID
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: dict[str, Any]
    attempt: int
    traceparent: str | None = None
    contained: bool = False
    changed: Mapping[str, int] | None = None


@dataclass(slots=True)
class Claim:
    """`losses`: how many workers were lost with this task. `reads`: step -> (status, outputs).

    `item`: (index, value) for a step of a `foreach`. `earlier`: how many of its attempts came before the run was
    retried; the retry policy does not count them. `known`: see services/direct_dispatch.py.
    """

    run: RunInfo
    step: str
    fence: UUID
    attempt: int
    losses: int
    version_id: UUID
    earlier: int
    now: datetime
    reads: dict[str, tuple[str, Any]]
    item: tuple[int, Any] | None = None
    known: RunSnapshot | None = None


@dataclass(slots=True)
class TaskResult:
    """`outputs` is JSON text already: the worker encoded it when it checked that it can be stored.

    `known` is what came with the claim. `letter` False: a failure opens no dead letter, as the flow goes on.
    """

    run_id: UUID
    step: str
    fence: UUID
    status: str
    outputs: str | None = None
    error: Any = None
    known: RunSnapshot | None = None
    letter: bool = True


@dataclass(slots=True)
class TaskRetry:
    """A failed attempt that is to be tried again `delay_ms` milliseconds from now."""

    run_id: UUID
    step: str
    fence: UUID
    delay_ms: int
    error: Any


class ClaimRow(NamedTuple):
    """A row of claim_tasks.sql."""

    run_id: UUID
    step: str
    fence: UUID
    attempt: int
    losses: int
    version_id: UUID
    reads: list[str]
    earlier: int
    now: datetime


async def claim(conn: AsyncConnection[Any], lane: str, limit: int, lease_sec: float, worker: str) -> list[Claim]:
    """Up to `limit` tasks, leased for `lease_sec`; `conn` is in autocommit: the claim is committed at once."""
    async with conn.transaction():
        await conn.execute("SET LOCAL synchronous_commit = off")
        cursor = conn.cursor(row_factory=args_row(ClaimRow))
        await cursor.execute(
            statement("claim_tasks"), {"lane": lane, "limit": limit, "lease": lease_sec, "worker": worker}
        )
        rows = await cursor.fetchall()
    if not rows:
        return []
    runs = await _claimed_runs(conn, {row.run_id for row in rows})
    reads = [decode_reads(row.reads) for row in rows]
    # A fan-out's tasks read the same outputs: fetched once for the batch, not once a task.
    wanted = list({(row.run_id, step) for row, read in zip(rows, reads, strict=True) for step in read.steps})
    outputs = await load_outputs(conn, wanted) if wanted else {}
    return [_claim(row, runs[row.run_id], read, outputs) for row, read in zip(rows, reads, strict=True)]


def _claim(row: ClaimRow, run: RunInfo, read: TaskReads, outputs: Mapping[tuple[UUID, str], tuple[str, Any]]) -> Claim:
    known = {step: outputs[row.run_id, step] for step in read.steps if (row.run_id, step) in outputs}
    return Claim(
        run, row.step, row.fence, row.attempt, row.losses, row.version_id, row.earlier, row.now, known, read.item
    )


async def _claimed_runs(conn: AsyncConnection[Any], ids: Collection[UUID]) -> dict[UUID, RunInfo]:
    cursor = conn.cursor(row_factory=args_row(RunInfo))
    await cursor.execute(statement("load_claimed_runs"), {"ids": list(ids)})
    return {run.id: run for run in await cursor.fetchall()}


async def complete(conn: AsyncConnection[Any], results: Sequence[TaskResult]) -> set[tuple[UUID, str]]:
    """Write results; returns the accepted ones. The rest lost their lease or were cancelled: drop them."""
    params = array_params(_ResultRow._fields, [_result_row(item) for item in results])
    rows = await execute_until_written(conn, "complete_tasks", params)
    return {(run_id, step) for run_id, step, _ in rows}


async def complete_under_lock(conn: AsyncConnection[Any], results: Sequence[TaskResult]) -> dict[UUID, datetime]:
    """Like `complete`, with the run's lock taken and no wake-up left: advance these runs before the transaction ends.

    Returns the fences of the accepted ones, each with the transaction's time. The others were not accepted here,
    because another orchestrator holds the run, or at all: `complete` knows.
    """
    rows = sorted((_result_row(item) for item in results), key=lambda row: (row.run_id, row.step))
    cursor = await conn.execute(statement("complete_tasks_under_lock"), array_params(_ResultRow._fields, rows))
    return dict(await cursor.fetchall())


class _ResultRow(NamedTuple):
    """The parameters of complete_tasks.sql and complete_tasks_under_lock.sql, in order."""

    run_id: UUID
    step: str
    fence: UUID
    status: str
    outputs: str | None
    error: str | None
    code: str | None


def _result_row(item: TaskResult) -> _ResultRow:
    code = code_of(item.error) if item.status == "FAILED" and item.letter else None
    return _ResultRow(item.run_id, item.step, item.fence, item.status, item.outputs, dumps_or_none(item.error), code)


async def retry(conn: AsyncConnection[Any], retries: Sequence[TaskRetry]) -> set[tuple[UUID, str]]:
    """Put failed attempts back for later; returns the accepted ones."""
    rows = [(item.run_id, item.step, item.fence, item.delay_ms, dumps_or_none(item.error)) for item in retries]
    params = array_params(("run_id", "step", "fence", "delay_ms", "error"), rows)
    return {(run_id, step) for run_id, step, _ in await execute_until_written(conn, "retry_tasks", params)}


async def renew(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]], lease_sec: float) -> set[UUID]:
    """Extend leases; returns the fences that still hold."""
    cursor = await conn.execute(
        statement("renew_leases"), array_params(("run_id", "step", "fence"), held) | {"lease": lease_sec}
    )
    return {fence for (fence,) in await cursor.fetchall()}


async def still_held(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]]) -> set[UUID]:
    """The fences of claims that are neither lost nor cancelled; renews nothing."""
    cursor = await conn.execute(statement("still_held"), array_params(("run_id", "step", "fence"), held))
    return {fence for (fence,) in await cursor.fetchall()}


async def release(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]]) -> None:
    """Give tasks back unfinished (a drain)."""
    await execute_until_written(conn, "release_tasks", array_params(("run_id", "step", "fence"), held))
