"""Runs that ended badly go on: the same run, the same version, from where it failed.

Failure argument. A retry is one statement (sql/reopen_runs.sql): the end of the run is taken back, what failed is
cleared and the wake-up is written together, or nothing is. Of two that retry one run, the second waits for the row
of its result, finds it gone, and gets a Conflict. Workers with an old claim are refused by their fence, as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from automata.engine.states import RunStatus
from automata.errors import Conflict
from automata.store.flow_visibility import visible_letters, visible_runs
from automata.store.runs import RunRow, get_run
from automata.store.sql import statement

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class ReopenedRun:
    """A run that goes on in its `attempt`-th attempt; `letters` are the dead letters that this closed."""

    run_id: UUID
    attempt: int
    letters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunAttemptRow:
    """An attempt before the last one: how it ended, and who had the run go on. `steps` None: all that had failed."""

    attempt: int
    status: str
    started_at: datetime
    finished_at: datetime
    error: Any
    steps: list[str] | None
    retried_at: datetime
    retried_by: str | None


async def retry_run(conn: Connection, run_id: UUID, by: str | None = None) -> ReopenedRun:
    """Have a FAILED or CANCELLED run go on at every step that failed or was cancelled. Notify `runs.pending` after.

    Raises Missing; Conflict `run_not_failed` while it moves, when it succeeded, or when someone else was first.
    """
    reopened = await retry_runs(conn, [run_id], by)
    if not reopened:
        raise not_failed(await get_run(conn, run_id))
    return reopened[0]


async def retry_runs(conn: Connection, ids: Sequence[UUID], by: str | None = None) -> list[ReopenedRun]:
    """Like `retry_run` for many; those that cannot be retried are not among the answers."""
    return await _reopen(conn, ids, (), (RunStatus.FAILED, RunStatus.CANCELLED), by)


async def retry_steps(conn: Connection, letters: Sequence[int], by: str | None = None) -> list[ReopenedRun]:
    """Have FAILED runs go on at the steps of open dead letters; other failures of theirs stay as they are."""
    return await _reopen(conn, (), letters, (RunStatus.FAILED,), by)


async def run_attempts(conn: Connection, run_id: UUID) -> list[RunAttemptRow]:
    """The attempts before the last one, in order."""
    async with conn.cursor(row_factory=class_row(RunAttemptRow)) as cursor:
        await cursor.execute(
            "SELECT attempt, status, started_at, finished_at, error, steps, retried_at, retried_by FROM run_attempts"
            " WHERE run_id = %s ORDER BY attempt",
            [run_id],
        )
        return await cursor.fetchall()


def not_failed(run: RunRow) -> Conflict:
    """Why a run cannot go on."""
    if run.status is RunStatus.SUCCEEDED:
        message, hint = f"The run {run.id} succeeded.", "Start a new one with the same inputs: `automata run rerun`."
    elif run.status is RunStatus.CANCELLED:
        message = f"The run {run.id} was cancelled."
        hint = "`automata run retry` has it go on at all that it left undone."
    else:
        message, hint = f"The run {run.id} is {run.status}.", "Wait for its end; someone may have retried it just now."
    return Conflict(message, code="run_not_failed", hint=hint, details={"status": run.status})


async def _reopen(
    conn: Connection, runs: Sequence[UUID], letters: Sequence[int], statuses: Sequence[RunStatus], by: str | None
) -> list[ReopenedRun]:
    values = {
        "runs": await visible_runs(conn, runs),
        "letters": await visible_letters(conn, letters),
        "statuses": [str(status) for status in statuses],
        "by": by,
    }
    cursor = await conn.execute(statement("reopen_runs"), values, prepare=False)
    return [ReopenedRun(run_id, attempt, tuple(closed)) for run_id, attempt, closed in await cursor.fetchall()]
