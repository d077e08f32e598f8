"""Runs that ended badly go on: the same run, the same version, from where it failed.

A step of type `flow` and the run that it waited for fail together, and go on together: who retries the run below has
the runs above wait for it again, who retries a run above has the run below go on (services/continued_runs.py). No
second run is started beside the first: every call has the key of its first try, and what was done is not done again.

Failure argument. A retry is one statement (sql/reopen_runs.sql): the ends of the run and of those above it are taken
back, what failed is cleared and the wake-ups are written together, or nothing is. Of two that retry one run, the second
waits for the row of its result, finds it gone, and gets a Conflict. A worker with an old claim is refused by its fence.

Whether a run above has failed with this one, or is about to, is decided under its advisory lock, which an orchestrator
holds while it advances it. So a retry sees the failure of the run above or that run sees the retry, never neither:
- it has ended FAILED by the step: it goes on at the step, and so on upwards;
- it still waits: it has looked too early, and looks again;
- it moves, with the step FAILED: before it fails it looks at the run below, and goes on instead;
- it was CANCELLED, or has gone on without the step (`continue_on_error`): it does not wait, and the run goes on alone.
Locks of runs are taken first, in the order of ids, then rows; an orchestrator waits for no lock of a run. So nobody
waits in a circle. The run itself needs no lock: who reopens a run that has a parent holds the lock of the parent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from automata.engine.states import RunStatus
from automata.errors import Conflict
from automata.store.flow_visibility import visible_letters, visible_runs
from automata.store.json_codec import dumps, dumps_or_none
from automata.store.runs import RunRow, get_run
from automata.store.scalars import fetch_column
from automata.store.sql import statement

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class ReopenedRun:
    """A run that goes on in its `attempt`-th attempt; `letters` are the dead letters that this closed."""

    run_id: UUID
    attempt: int
    letters: tuple[int, ...]


class FailingRun(NamedTuple):
    """A run that would end FAILED now, and has another attempt instead, at `steps`; `by` had it go on the last time."""

    run_id: UUID
    started_at: datetime
    error: Any
    steps: Sequence[str]
    by: str | None


@dataclass(frozen=True, slots=True)
class RunAttemptRow:
    """An attempt before the last one: how it ended, and who had the run go on. `steps` None: all that had failed.

    `version` is the number of the version that it went by.
    """

    attempt: int
    version: int
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
    for reopened in await retry_runs(conn, [run_id], by):
        if reopened.run_id == run_id:
            return reopened
    raise not_failed(await get_run(conn, run_id))


async def retry_runs(conn: Connection, ids: Sequence[UUID], by: str | None = None) -> list[ReopenedRun]:
    """Like `retry_run` for many; those that cannot be retried are not among the answers, runs above that go on are."""
    visible = await visible_runs(conn, ids)
    await _lock(conn, await runs_above(conn, visible))
    return await _reopen(conn, _ENDED_BADLY, by, runs=visible, climb=True)


async def retry_steps(conn: Connection, letters: Sequence[int], by: str | None = None) -> list[ReopenedRun]:
    """Have FAILED runs go on at the steps of open dead letters; other failures of theirs stay as they are.

    Runs above that go on are among the answers.
    """
    visible = await visible_letters(conn, letters)
    await _lock(conn, await runs_above(conn, await runs_of_letters(conn, visible)))
    return await _reopen(conn, (RunStatus.FAILED,), by, letters=visible, climb=True)


async def use_version(
    conn: Connection, run_id: UUID, version_id: UUID, inputs: Mapping[str, Any], changed: Collection[str]
) -> None:
    """Have a run that was reopened in this transaction go by another version, with the inputs that this one takes.

    Nothing moves in it yet, so nobody has the other version at hand; its earlier attempts keep theirs. `changed`: the
    steps that mean another thing now, whose calls are other calls and have idempotency keys of their own.
    """
    values = {"run": run_id, "version": version_id, "inputs": dumps(inputs), "changed": sorted(changed)}
    for query in (
        "UPDATE run_attempts SET changed = %(changed)s::text[] WHERE run_id = %(run)s AND attempt ="
        " (SELECT max(attempt) FROM run_attempts AS attempts WHERE attempts.run_id = %(run)s)",
        "UPDATE run_attempts SET version_id = runs.version_id FROM runs"
        " WHERE run_id = %(run)s AND runs.id = %(run)s AND run_attempts.version_id IS NULL",
        "UPDATE runs SET version_id = %(version)s, inputs = %(inputs)s::json WHERE id = %(run)s",
        "UPDATE task_queue SET version_id = %(version)s WHERE run_id = %(run)s",
    ):
        await conn.execute(query, values)


async def continue_children(conn: Connection, ids: Sequence[UUID], by: str | None) -> None:
    """Have runs go on whose parents wait for them again. The caller holds the locks of the parents, which move."""
    await _reopen(conn, _ENDED_BADLY, by, runs=ids)


async def go_on_instead(conn: Connection, runs: Sequence[FailingRun]) -> None:
    """Another attempt of runs that are about to fail; the caller holds their locks, and ends none of them.

    Nothing moves in them. Wake-ups that are left are of steps that have ended, as they are when a run ends.
    """
    await conn.execute("DELETE FROM task_queue WHERE run_id = ANY(%s::uuid[])", [[run.run_id for run in runs]])
    for by in {run.by for run in runs}:
        await _reopen(conn, (), by, failing=[run for run in runs if run.by == by])


async def runs_above(conn: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """The runs whose steps started these, and so on upwards; in order."""
    query = (
        "WITH RECURSIVE above AS ("
        "  SELECT parent_run_id AS id FROM runs WHERE id = ANY(%s::uuid[]) AND parent_run_id IS NOT NULL"
        "  UNION SELECT runs.parent_run_id FROM above JOIN runs USING (id) WHERE runs.parent_run_id IS NOT NULL"
        ") SELECT id FROM above ORDER BY id"
    )
    return await fetch_column(conn, query, [list(ids)]) if ids else []


async def run_attempts(conn: Connection, run_id: UUID) -> list[RunAttemptRow]:
    """The attempts before the last one, in order."""
    async with conn.cursor(row_factory=class_row(RunAttemptRow)) as cursor:
        await cursor.execute(
            "SELECT attempt, version.number AS version, status, started_at, finished_at, error, steps, retried_at,"
            " retried_by FROM run_attempts JOIN runs ON runs.id = run_id"
            " JOIN flow_versions AS version ON version.id = coalesce(run_attempts.version_id, runs.version_id)"
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


async def runs_of_letters(conn: Connection, letters: Sequence[int]) -> list[UUID]:
    """The runs of dead letters, each once."""
    query = "SELECT DISTINCT run_id FROM dead_letters WHERE id = ANY(%s::bigint[])"
    return await fetch_column(conn, query, [list(letters)]) if letters else []


_ENDED_BADLY = (RunStatus.FAILED, RunStatus.CANCELLED)


async def _lock(conn: Connection, runs: Sequence[UUID]) -> None:
    """Wait for the locks of runs, in their order, to the end of the transaction; no row may be locked before."""
    if runs:
        await conn.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(id::text, 0)) FROM unnest(%s::uuid[]) AS run(id)",
            [list(runs)],
        )


async def _reopen(
    conn: Connection,
    statuses: Sequence[RunStatus],
    by: str | None,
    *,
    runs: Sequence[UUID] = (),
    letters: Sequence[int] = (),
    failing: Sequence[FailingRun] = (),
    climb: bool = False,
) -> list[ReopenedRun]:
    values = {
        "runs": list(runs),
        "letters": list(letters),
        "at_run": [run.run_id for run in failing for _ in run.steps],
        "at_step": [step for run in failing for step in run.steps],
        "failing": [run.run_id for run in failing],
        "failing_started_at": [run.started_at for run in failing],
        "failing_error": [dumps_or_none(run.error) for run in failing],
        "statuses": [str(status) for status in statuses],
        "climb": climb,
        "by": by,
    }
    cursor = await conn.execute(statement("reopen_runs"), values, prepare=False)
    return [ReopenedRun(run_id, attempt, tuple(closed)) for run_id, attempt, closed in await cursor.fetchall()]
