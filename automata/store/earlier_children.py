"""Runs that a step started in an earlier attempt of its own run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import args_row

from automata.store.arrays import array_params
from automata.store.database import Connection
from automata.store.scalars import fetch_column, fetch_value
from automata.store.sql import with_fragments


class EarlierChild(NamedTuple):
    """The last run that `step` of `parent_id` started. `status` and `ended_at` None: it moves.

    `cancelling`: its end was asked for and is not reached yet.
    """

    parent_id: UUID
    step: str
    id: UUID
    flow_id: UUID
    version_id: UUID
    inputs: Mapping[str, Any]
    created_at: datetime
    status: str | None
    ended_at: datetime | None
    cancelling: bool


_LAST = with_fragments(
    "SELECT DISTINCT ON (runs.parent_run_id, runs.parent_step) runs.parent_run_id, runs.parent_step, runs.id,"
    " runs.flow_id, runs.version_id, runs.inputs, runs.created_at, result.status, result.finished_at,"
    " EXISTS (SELECT FROM task_queue AS queue WHERE queue.run_id = runs.id AND queue.step = ${CANCEL})"
    " FROM unnest(%(run_id)s::uuid[], %(step)s::text[]) AS wanted(run_id, step)"
    " JOIN runs ON runs.parent_run_id = wanted.run_id AND runs.parent_step = wanted.step"
    " LEFT JOIN run_results AS result ON result.run_id = runs.id"
    " ORDER BY runs.parent_run_id, runs.parent_step, runs.created_at DESC, runs.id DESC"
)


async def earlier_children(conn: Connection, steps: Sequence[tuple[UUID, str]]) -> dict[tuple[UUID, str], EarlierChild]:
    """The last child of each step, by run and step; nothing for a step that has started none."""
    cursor = conn.cursor(row_factory=args_row(EarlierChild))
    await cursor.execute(_LAST, array_params(("run_id", "step"), steps))
    return {(child.parent_id, child.step): child for child in await cursor.fetchall()}


async def last_end(conn: Connection, run_id: UUID, steps: Collection[str]) -> datetime | None:
    """When the last of these steps of a run has come to its end; None when none has."""
    query = "SELECT max(finished_at) FROM tasks WHERE run_id = %s AND step = ANY(%s)"
    end: datetime | None = await fetch_value(conn, query, [run_id, list(steps)])
    return end


async def close_letters_below(conn: Connection, runs: Sequence[UUID]) -> list[int]:
    """Discard the open dead letters of these runs, which nobody waits for any more, and of those below them."""
    return await fetch_column(
        conn,
        "WITH RECURSIVE below AS (SELECT unnest(%s::uuid[]) AS id"
        "  UNION ALL SELECT runs.id FROM below JOIN runs ON runs.parent_run_id = below.id"
        "), closing AS MATERIALIZED ("
        "  SELECT dead_letters.id FROM dead_letters JOIN below ON below.id = run_id WHERE state = 'open'"
        "  ORDER BY dead_letters.id FOR UPDATE OF dead_letters)"
        " UPDATE dead_letters AS letter SET state = 'discarded', resolved_at = now(), resolved_by = 'run'"
        " FROM closing WHERE letter.id = closing.id RETURNING letter.id",
        [list(runs)],
    )
