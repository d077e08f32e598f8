"""A revision of each watched run, which differs when the run has moved on; many runs in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from automata.store.database import Connection

MAX_QUEUED = 200  # rows of the queue that count; of a wider fan-out the ended steps tell enough


@dataclass(frozen=True, slots=True)
class RunMark:
    """Another `mark` means that something changed; `over`: the run has ended."""

    mark: str
    over: bool


async def run_marks(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, RunMark]:
    """Of each run, whether it is there or not."""
    cursor = await conn.execute(
        "SELECT run.id, concat_ws(' ', result.finished_at, done.steps, done.last, queued.mark),"
        " result.run_id IS NOT NULL"
        " FROM unnest(%s::uuid[]) AS run(id)"
        " LEFT JOIN run_results AS result ON result.run_id = run.id"
        " CROSS JOIN LATERAL (SELECT count(*) AS steps, max(finished_at) AS last FROM tasks"
        "   WHERE tasks.run_id = run.id) AS done"
        " CROSS JOIN LATERAL (SELECT md5(string_agg(concat_ws(' ', step, attempt, fence IS NULL), ',' ORDER BY step))"
        "   AS mark FROM (SELECT step, attempt, fence FROM task_queue WHERE task_queue.run_id = run.id"
        "     ORDER BY step LIMIT %s) AS first) AS queued",
        [list(ids), MAX_QUEUED],
    )
    return {id: RunMark(mark, over) for id, mark, over in await cursor.fetchall()}
