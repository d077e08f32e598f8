"""When a `parallel` or a `foreach` began, which only the steps inside it know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from automata.store.database import Connection
from automata.store.scalars import fetch_column
from automata.store.sql import with_fragments

# An item stands for all of its step: `load[` says when the first of them was queued.
_STARTS = with_fragments(
    "SELECT CASE WHEN step LIKE '%%]' THEN rtrim(step, '0123456789]') ELSE step END, min(began) FROM ("
    " SELECT step, queued_at AS began FROM tasks WHERE run_id = %(run)s"
    " UNION ALL SELECT step, queued_at FROM task_queue WHERE run_id = %(run)s AND step NOT IN (${CREATED}, ${CANCEL})"
    # A retried run queues its failed steps anew, and they began when they were first tried.
    " UNION ALL SELECT step, started_at FROM task_attempts WHERE run_id = %(run)s"
    ") AS begun GROUP BY 1"
)


async def group_starts(conn: Connection, run_id: UUID) -> dict[str, datetime]:
    """When each group of a run began that has begun: as soon as the first step inside it was queued.

    Every path around a step counts as a group here, also a branch of a `parallel`. What was written with the group
    itself is not asked: whoever ends a group knows the steps that ended with it, and not when the others began.
    """
    cursor = await conn.execute(_STARTS, {"run": run_id})
    starts: dict[str, datetime] = {}
    for step, began in await cursor.fetchall():
        for group in _around(step) if began else ():
            starts[group] = min(began, starts.get(group, began))
    return starts


def _around(step: str) -> Iterator[str]:
    """The paths around a step: `a`, `a.b` of `a.b.c`; `a.b` also of an item `a.b[0]`, here `a.b[`."""
    return (step[:place] for place, char in enumerate(step) if char in ".[")


async def settled_steps(conn: Connection, run_id: UUID, steps: Sequence[str]) -> set[str]:
    """Those of `steps` that have a final state."""
    return set(
        await fetch_column(conn, "SELECT step FROM tasks WHERE run_id = %s AND step = ANY(%s)", [run_id, list(steps)])
    )
