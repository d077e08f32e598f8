"""A run's tasks: every step that has a state, in the order of the flow's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from automata.engine.states import RUN_FINAL, TaskStatus
from automata.flow.plan import item_of
from automata.flow.steptypes import GROUP
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version
from automata.operations.masking import masker
from automata.store.run_tasks import TaskAttemptRow, TaskRow, list_attempts, list_tasks
from automata.store.runs import get_run


async def list_run_tasks(
    context: AppContext, id: UUID, *, outputs: bool = True, limit: int | None = None, step: str | None = None
) -> list[dict[str, Any]]:
    """Tasks of a run, secrets masked: at most `limit`, or `step` alone, with places and attempts. Raises Missing."""
    async with context.db.connection() as conn:
        run = await get_run(conn, id)
        rows = await list_tasks(conn, id, outputs=outputs, limit=limit, step=step)
        attempts = await list_attempts(conn, id, step)
    version = await context.versions.get(run.version_id)
    if run.status not in RUN_FINAL and step is None:
        rows = [*rows, *_running_groups(version, rows)]
    mask = masker(version.secrets, run.inputs or {})
    earlier = {step: list(group) for step, group in groupby(attempts, key=lambda attempt: attempt.step)}
    rows.sort(key=lambda row: (version.place(row.step).index, item_of(row.step) or ("", -1)))
    return [mask(_task(row, version, earlier)) for row in rows]


def _task(row: TaskRow, version: Version, earlier: Mapping[str, Sequence[TaskAttemptRow]]) -> dict[str, Any]:
    place = version.place(row.step)
    return {
        "step": row.step,
        "name": place.name,
        "type": place.type,
        "parent": place.parent,
        "plan": place.index,
        "status": row.status,
        "attempt": row.attempt,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "due_at": row.due_at,
        "worker": row.worker,
        "outputs": row.outputs,
        "error": row.error,
        "attempts": [_attempt(one) for one in earlier.get(row.step, ())],
    }


def _attempt(row: TaskAttemptRow) -> dict[str, Any]:
    return {
        "attempt": row.attempt,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "retry_at": row.retry_at,
        "worker": row.worker,
        "error": row.error,
    }


def _running_groups(version: Version, rows: Sequence[TaskRow]) -> list[TaskRow]:
    """A parallel or a foreach that runs has no row: it is running when something inside it has one."""
    present = {row.step for row in rows}
    groups = [full for full, place in version.places.items() if place.type == GROUP and full not in present]
    inside = {full: [row for row in rows if row.step.startswith(f"{full}.")] for full in groups}
    for row in rows:
        if (item := item_of(row.step)) and item[0] not in present:
            inside.setdefault(item[0], []).append(row)
    return [_running_group(full, found) for full, found in inside.items() if found]


def _running_group(step: str, inside: Sequence[TaskRow]) -> TaskRow:
    began: datetime | None = min((row.queued_at for row in inside if row.queued_at), default=None)
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
