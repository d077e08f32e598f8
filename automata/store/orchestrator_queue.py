"""The orchestrator's side of the queue: wake-ups are taken, runs are loaded, decisions are applied.

Failure argument. Everything between `take_wakeups` and the end of the transaction is one transaction: an orchestrator
that dies leaves the wake-ups where they were. The run's advisory lock, taken with the wake-up, keeps a second
orchestrator from deciding on an older picture of the same run. A decision that is applied twice changes nothing:
every insert says ON CONFLICT DO NOTHING on the task's or the run's own key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row

from automata.store.arrays import array_params, array_text
from automata.store.flow_visibility import visible_runs
from automata.store.held_rows import execute_until_written
from automata.store.json_codec import dumps_or_none
from automata.store.scalars import fetch_column, fetch_value
from automata.store.sql import statement
from automata.store.waiting_codec import ChildRunWait, Wait, decode_wait, encode


# Values, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class WakeUp:
    """A row of the queue that asks for its run to be advanced. `wait`: what its step waited for besides time."""

    run_id: UUID
    step: str
    queued_at: datetime | None
    losses: int
    wait: Wait | None = None


@dataclass(slots=True)
class RunSnapshot:
    """A run as the engine must see it. `states`: step -> (status, error, since).

    `attempt` counts from 1; `resumed` are the steps that a later attempt was asked for at `resumed_at`, empty for all;
    `retried_by` had it go on at `retried_at`. `contained`: a run above goes on when this one fails.
    """

    id: UUID
    flow_id: UUID
    version_id: UUID
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Mapping[str, Any]
    now: datetime
    began: datetime | None
    states: dict[str, tuple[str, Any, datetime | None]]
    parent: tuple[UUID, str] | None = None
    depth: int = 0
    attempt: int = 1
    resumed: frozenset[str] = frozenset()
    resumed_at: datetime | None = None
    traceparent: str | None = None
    contained: bool = False
    retried_at: datetime | None = None
    retried_by: str | None = None


class EnqueueRow(NamedTuple):
    """Work for a lane. `ready_at` None: at once. `reads`: what `waiting.encode` says."""

    run_id: UUID
    step: str
    lane: str
    ready_at: datetime | None
    version_id: UUID
    reads: str = ""


class DispatchRow(NamedTuple):
    """Work that the worker of this process gets with the commit, claimed under `fence`."""

    run_id: UUID
    step: str
    lane: str
    version_id: UUID
    reads: str
    fence: UUID


class SettleRow(NamedTuple):
    """A final state of a step that no worker brings. `since` is when it began.

    `letter` False: its failure opens no dead letter. The flow goes on all the same, or another letter stands for it.
    """

    run_id: UUID
    step: str
    status: str
    since: datetime | None
    outputs: Any
    error: Any
    letter: bool = True


class FinishRow(NamedTuple):
    """The end of a run; it began now where `started_at` is None."""

    run_id: UUID
    flow_id: UUID
    status: str
    started_at: datetime | None
    outputs: Any
    error: Any


class RunLetterRow(NamedTuple):
    """The dead letter of a run that failed by none of its steps, after its `attempts`-th attempt."""

    run_id: UUID
    flow_id: UUID
    version_id: UUID
    attempts: int
    error: Any


@dataclass(slots=True)
class RunWrites:
    """What one advance of a batch writes.

    `wake`: (run, step) that wait for a run that ends here. `retried`: the runs among them that are not in their first
    attempt. `hand_to`: the name of the worker of this process, and the seconds of its lease.
    """

    enqueue: list[EnqueueRow] = field(default_factory=list)
    settle: list[SettleRow] = field(default_factory=list)
    finish: list[FinishRow] = field(default_factory=list)
    letters: list[RunLetterRow] = field(default_factory=list)
    wake: list[tuple[UUID, str]] = field(default_factory=list)
    retried: list[UUID] = field(default_factory=list)
    hand: list[DispatchRow] = field(default_factory=list)
    hand_to: tuple[str, float] = ("", 0.0)


class WakeUpRow(NamedTuple):
    """A row of take_wakeups.sql. `is_ours` False: another orchestrator holds the run, and the row stays."""

    run_id: UUID
    step: str
    queued_at: datetime
    losses: int
    is_ours: bool
    reads: list[str]


class SnapshotRow(NamedTuple):
    """A row of load_snapshots.sql. `done_*` are arrays over the settled steps, `moving_*` over those in the queue."""

    id: UUID
    flow_id: UUID
    version_id: UUID
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Mapping[str, Any]
    now: datetime
    done_steps: list[str] | None
    done_statuses: list[str]
    done_errors: list[Any]
    done_began: datetime | None
    moving_steps: list[str] | None
    moving_statuses: list[str]
    moving_since: list[datetime]
    moving_began: datetime | None
    parent_run_id: UUID | None
    parent_step: str | None
    depth: int
    retried_attempt: int | None
    retried_steps: list[str] | None
    retried_began: datetime | None
    traceparent: str | None
    contained: bool
    retried_at: datetime | None
    retried_by: str | None


async def request_cancel(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> set[UUID]:
    """Ask for the end of runs; returns those that were still active. Notify `runs.pending` after the commit."""
    return set(await fetch_column(conn, statement("request_cancel"), {"ids": await visible_runs(conn, ids)}))


async def take_wakeups(conn: AsyncConnection[Any], limit: int) -> tuple[list[WakeUp], int]:
    """Up to `limit` wake-ups with their runs locked, and how many runs another orchestrator holds."""
    cursor = conn.cursor(row_factory=args_row(WakeUpRow))
    await cursor.execute(statement("take_wakeups"), {"limit": limit})
    rows = await cursor.fetchall()
    taken = [
        WakeUp(row.run_id, row.step, row.queued_at, row.losses, decode_wait(row.reads) if row.reads else None)
        for row in rows
        if row.is_ours
    ]
    return taken, len(rows) - len(taken)


async def load_snapshots(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> list[RunSnapshot]:
    """Runs that are not finished, with the state of each step that has one."""
    cursor = conn.cursor(row_factory=args_row(SnapshotRow))
    await cursor.execute(statement("load_snapshots"), {"ids": array_text(ids)})
    return [_snapshot(row) for row in await cursor.fetchall()]


def _snapshot(row: SnapshotRow) -> RunSnapshot:
    states: dict[str, tuple[str, Any, datetime | None]] = {}
    if row.moving_steps:
        for step, status, since in zip(row.moving_steps, row.moving_statuses, row.moving_since, strict=True):
            states[step] = (status, None, since)
    if row.done_steps:  # a settled step may still have its wake-up in the queue: the final state is the true one
        for step, status, error in zip(row.done_steps, row.done_statuses, row.done_errors, strict=True):
            states[step] = (status, error, None)
    began = filter(None, (row.done_began, row.moving_began, row.retried_began))
    return RunSnapshot(
        row.id,
        row.flow_id,
        row.version_id,
        row.trigger,
        row.scheduled_for,
        row.created_at,
        row.inputs,
        row.now,
        min(began, default=None),
        states,
        (row.parent_run_id, row.parent_step) if row.parent_run_id and row.parent_step is not None else None,
        row.depth,
        1 + (row.retried_attempt or 0),
        frozenset(row.retried_steps or ()),
        row.retried_began,
        row.traceparent,
        row.contained,
        row.retried_at,
        row.retried_by,
    )


async def load_outputs(
    conn: AsyncConnection[Any], wanted: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], tuple[str, Any]]:
    """(run, step) -> (status, outputs) of settled steps; of a FAILED one its error."""
    cursor = await conn.execute(statement("load_outputs"), array_params(("run_ids", "steps"), wanted))
    return {(run_id, step): (status, outputs) for run_id, step, status, outputs in await cursor.fetchall()}


async def drop_tasks(conn: AsyncConnection[Any], rows: Sequence[tuple[UUID, str, bool]]) -> list[UUID]:
    """Cancel queued work; with True as third member also what runs. What a worker claimed meanwhile stays.

    Returns the runs that dropped steps waited for, whose end nobody wants any more.
    """
    dropped = await execute_until_written(conn, "drop_tasks", array_params(("run_id", "step", "force"), rows))
    return child_runs_waited_for(decode_wait(reads) for _, _, _, reads in dropped)


def child_runs_waited_for(waits: Iterable[Wait | None]) -> list[UUID]:
    """The child runs whose end is waited for."""
    return [wait.run_id for wait in waits if isinstance(wait, ChildRunWait) and wait.for_end]


async def child_results(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> dict[UUID, tuple[str, Any, Any]]:
    """(status, outputs, error) of those that are finished."""
    cursor = await conn.execute(
        "SELECT run_id, status, outputs, error FROM run_results WHERE run_id = ANY(%s)", [list(ids)]
    )
    return {id: (status, outputs, error) for id, status, outputs, error in await cursor.fetchall()}


async def apply_writes(conn: AsyncConnection[Any], writes: RunWrites) -> bool:
    """Write decisions, in one round trip. Finishing comes last: it sweeps what the batch may have queued.

    False when some of `hand` was in the queue already: it is not the worker's then.
    """
    handed = woken = None
    async with conn.pipeline():
        if writes.settle:
            await conn.execute(statement("finish_tasks"), _settle_params(writes.settle) | {"retried": writes.retried})
        if writes.enqueue:
            params = array_params(EnqueueRow._fields, writes.enqueue)
            await conn.execute(statement("enqueue"), params | {"retried": writes.retried})
        if writes.hand:
            worker, lease_sec = writes.hand_to
            params = array_params(DispatchRow._fields, writes.hand)
            handed = await conn.execute(statement("enqueue_claimed"), params | {"worker": worker, "lease": lease_sec})
        if writes.finish:
            await conn.execute(statement("finish_runs"), _finish_params(writes.finish))
        if writes.letters:
            await conn.execute(statement("open_run_letters"), _letter_params(writes.letters))
        if writes.wake:
            woken = await conn.execute(statement("wake_parents"), array_params(("run_id", "step"), writes.wake))
    if woken and not all(is_written for _, _, is_written in await woken.fetchall()):
        await execute_until_written(conn, "wake_parents", array_params(("run_id", "step"), writes.wake))
    return handed is None or handed.rowcount == len(writes.hand)


def _settle_params(rows: Sequence[SettleRow]) -> dict[str, str]:
    values = [(*row[:4], dumps_or_none(row.outputs), dumps_or_none(row.error), _own_code(row)) for row in rows]
    return array_params((*SettleRow._fields[:-1], "code"), values)


def _letter_params(rows: Sequence[RunLetterRow]) -> dict[str, str]:
    values = [(*row[:4], dumps_or_none(row.error), code_of(row.error)) for row in rows]
    return array_params((*RunLetterRow._fields, "code"), values)


def _finish_params(rows: Sequence[FinishRow]) -> dict[str, str]:
    values = [(*row[:4], dumps_or_none(row.outputs), dumps_or_none(row.error)) for row in rows]
    return array_params(FinishRow._fields, values)


def _own_code(row: SettleRow) -> str | None:
    """What a dead letter is filed under; None when there is none, as for the error of a step inside of this one."""
    own = row.status == "FAILED" and row.letter and (row.error or {}).get("step") == row.step
    return code_of(row.error) if own else None


def code_of(error: Any) -> str:
    """The code of an error as text that PostgreSQL keeps: step types of other packages choose it."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return str(code or "failed").replace("\x00", "").encode(errors="replace").decode()[:100]


async def postpone(conn: AsyncConnection[Any], wakeups: Sequence[WakeUp]) -> None:
    """Put wake-ups back after their run could not be advanced: 1, 2, 4 … seconds later."""
    rows = [(item.run_id, item.step, item.queued_at, item.losses, encode(item.wait)) for item in wakeups]
    await conn.execute(
        statement("postpone_wakeups"), array_params(("run_id", "step", "queued_at", "losses", "reads"), rows)
    )


async def seconds_to_next_due(conn: AsyncConnection[Any], lane: str) -> float | None:
    """Seconds until the next row of a lane is ready, 0 when one is, None when there is none."""
    seconds = await fetch_value(conn, statement("seconds_to_next_due"), {"lane": lane})
    return None if seconds is None else float(seconds)
