"""A run's tasks: every step that has a state, in the order of the flow's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from automata.engine.states import RUN_FINAL, TaskStatus
from automata.flow.plan import item_of
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version
from automata.operations.run_secrets import run_mask, shown_outputs
from automata.store.database import Connection
from automata.store.group_starts import group_starts, settled_steps
from automata.store.run_tasks import TaskAttemptRow, TaskRow, list_attempts, list_tasks
from automata.store.runs import get_run


async def list_run_tasks(
    context: AppContext, id: UUID, *, outputs: bool = True, limit: int | None = None, step: str | None = None
) -> list[dict[str, Any]]:
    """Tasks of a run, secrets masked: at most `limit`, or `step` alone, with places and attempts. Raises Missing."""
    async with context.db.connection() as conn:
        run = await get_run(conn, id)
    version = await context.versions.get(run.version_id)
    async with context.db.connection() as conn:
        rows = await list_tasks(conn, id, outputs=outputs, limit=limit, step=step)
        attempts = await list_attempts(conn, id, step)
        starts = await group_starts(conn, id) if version.has_groups else {}
        if starts and run.status not in RUN_FINAL:
            rows += await _running_groups(conn, id, version, starts, step)
    mask = await run_mask(context, id)
    earlier = {step: list(group) for step, group in groupby(attempts, key=lambda attempt: attempt.step)}
    rows.sort(key=lambda row: (version.place(row.step).index, item_of(row.step) or ("", -1)))
    return [mask(_task(row, version, earlier.get(row.step, ()), starts.get(row.step))) for row in rows]


def _task(
    row: TaskRow, version: Version, earlier: Sequence[TaskAttemptRow], group_start: datetime | None
) -> dict[str, Any]:
    """`group_start` is None for a step that is no group."""
    if group_start:
        row, earlier = _timed(row, earlier, group_start)
    place = version.place(row.step)
    began = (row.started_at, *(attempt.started_at for attempt in earlier))
    return {
        "step": row.step,
        "name": place.name,
        "type": place.type,
        "parent": place.parent,
        "plan": place.index,
        "status": row.status,
        "attempt": row.attempt,
        "queued_at": row.queued_at,
        "started_at": min(filter(None, began), default=None),
        "attempt_started_at": row.started_at,
        "finished_at": row.finished_at,
        "due_at": row.due_at,
        "worker": row.worker,
        "outputs": shown_outputs(version, row.step, row.outputs),
        "error": row.error,
        "attempts": [_attempt(attempt) for attempt in earlier],
    }


def _timed(
    row: TaskRow, earlier: Sequence[TaskAttemptRow], start: datetime
) -> tuple[TaskRow, Sequence[TaskAttemptRow]]:
    """A group and its attempts with their times: the first began at `start`, the others when their run was retried."""
    began, timed = start, []
    for attempt in earlier:
        timed.append(replace(attempt, started_at=began))
        began = attempt.retry_at or began
    return replace(row, queued_at=start, started_at=began, attempt=max(row.attempt, 1 + len(earlier))), timed


def _attempt(row: TaskAttemptRow) -> dict[str, Any]:
    return {
        "attempt": row.attempt,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "retry_at": row.retry_at,
        "worker": row.worker,
        "error": row.error,
    }


async def _running_groups(
    conn: Connection, id: UUID, version: Version, starts: Mapping[str, datetime], step: str | None
) -> list[TaskRow]:
    """A parallel or a foreach that runs has no row: it is running when something inside it has begun.

    Whether a group has a row is asked of the table, since a list may be cut before the row of a group that ended.
    """
    begun = [full for full in starts if full in version.places and step in (None, full)]
    settled = await settled_steps(conn, id, begun) if begun else ()
    return [_running_group(full, starts[full]) for full in begun if full not in settled]


def _running_group(step: str, began: datetime) -> TaskRow:
    return TaskRow(
        step=step,
        status=TaskStatus.RUNNING,
        attempt=1,
        queued_at=began,
        started_at=began,
        finished_at=None,
        due_at=None,
        worker=None,
        outputs=None,
        error=None,
    )
