"""The tasks of one run as people see them: reads for the API, the CLI and the console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from automata.engine.decision import FOREVER
from automata.engine.states import TaskStatus
from automata.store.database import Connection
from automata.store.sql import with_fragments


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A step that something was decided about; a `parallel` that runs has no row.

    `started_at` is that of the last attempt; when a group began, only the steps inside it know (group_starts.py).
    `due_at`: when a retry that waits (QUEUED) may start, a delay (RUNNING) ends, or a running task's lease does.
    """

    step: str
    status: TaskStatus
    attempt: int
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    worker: str | None
    outputs: Any
    error: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", TaskStatus(self.status))


@dataclass(frozen=True, slots=True)
class TaskAttemptRow:
    """An attempt that failed and was tried again at `retry_at`; the last attempt is the task itself."""

    step: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime
    retry_at: datetime | None
    worker: str | None
    error: Mapping[str, Any] | None


_TASKS = with_fragments(
    "SELECT step, status, attempt, queued_at, started_at, finished_at, NULL::timestamptz AS due_at, worker,"
    "   CASE WHEN %(outputs)s THEN outputs END AS outputs, error FROM tasks WHERE run_id = %(run)s"
    "   AND (%(step)s::text IS NULL OR step = %(step)s)"
    " UNION ALL"
    " SELECT step, CASE WHEN lane <> ${ADVANCE} AND fence IS NULL THEN 'QUEUED' ELSE 'RUNNING' END, attempt,"
    # What waits for time or for somebody began when it began to wait: no worker ever takes it.
    "   queued_at, coalesce(started_at, CASE WHEN lane = ${ADVANCE} THEN queued_at END), NULL,"
    "   CASE WHEN ready_at > now() AND ready_at < %(never)s THEN ready_at END, worker, NULL, NULL"
    " FROM task_queue AS queue WHERE run_id = %(run)s AND step NOT IN (${CREATED}, ${CANCEL})"
    "   AND (%(step)s::text IS NULL OR step = %(step)s)"
    "   AND NOT EXISTS (SELECT FROM tasks WHERE tasks.run_id = queue.run_id AND tasks.step = queue.step)"
)
_IN_ORDER = f"{_TASKS} ORDER BY queued_at NULLS LAST, finished_at NULLS LAST, step"
_BOUNDED = sql.SQL(
    "SELECT * FROM ({tasks}) AS task ORDER BY step LIKE '%%]', status NOT IN ('FAILED', 'RUNNING'),"
    " queued_at NULLS LAST, finished_at NULLS LAST, step LIMIT %(limit)s"
).format(tasks=sql.SQL(_TASKS))


async def list_tasks(
    conn: Connection, run_id: UUID, *, outputs: bool = True, limit: int | None = None, step: str | None = None
) -> list[TaskRow]:
    """In the order in which they were queued; `outputs` False leaves those out (None). `step`: that one alone.

    Of more than `limit` the items of a `foreach` are left out first, and of these those that failed last.
    """
    values = {"run": run_id, "outputs": outputs, "never": FOREVER, "step": step, "limit": limit}
    async with conn.cursor(row_factory=class_row(TaskRow)) as cursor:
        await cursor.execute(_IN_ORDER if limit is None else _BOUNDED, values)
        return await cursor.fetchall()


async def list_attempts(conn: Connection, run_id: UUID, step: str | None = None) -> list[TaskAttemptRow]:
    """The attempts before the last one, of a step or of all, in order."""
    async with conn.cursor(row_factory=class_row(TaskAttemptRow)) as cursor:
        await cursor.execute(
            "SELECT step, attempt, started_at, finished_at, retry_at, worker, error FROM task_attempts"
            " WHERE run_id = %s AND (%s::text IS NULL OR step = %s) ORDER BY step, attempt",
            [run_id, step, step],
        )
        return await cursor.fetchall()
