"""What attempts said: a row an attempt that said something, written with its outcome, gone with its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from automata.store.database import Connection
from automata.store.pages import Page, bad_cursor, clamp, decode, page
from automata.store.queue import columns

MAX_ATTEMPT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TaskLog:
    """`lines` is a JSON list as text on its way in, and its value on its way out (automata/steps/attempt_log.py)."""

    run_id: UUID
    step: str
    attempt: int
    lines: Any


async def keep(conn: Connection, logs: Sequence[TaskLog]) -> None:
    """Store logs. Where one attempt was made twice, because a lease was lost, the later one stands."""
    last = {(one.run_id, one.step, one.attempt): one.lines for one in logs}
    if not last:
        return
    await conn.execute(
        "INSERT INTO task_logs (run_id, step, attempt, lines)"
        " SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(attempt)s::int[], %(lines)s::json[])"
        " ON CONFLICT (run_id, step, attempt) DO UPDATE SET lines = excluded.lines",
        columns(("run_id", "step", "attempt", "lines"), [(*key, last[key]) for key in sorted(last)]),
    )


async def list_logs(
    conn: Connection, run_id: UUID, *, step: str | None = None, after: str | None = None, limit: int | None = None
) -> Page[TaskLog]:
    """By step and attempt; `after` is the cursor of the page before. Empty for a run that is unknown."""
    limit = clamp(limit)
    seen, attempt = _seen(after) if after else ("", 0)
    async with conn.cursor(row_factory=class_row(TaskLog)) as cursor:
        await cursor.execute(
            "SELECT run_id, step, attempt, lines FROM task_logs"
            " WHERE run_id = %(run)s AND (%(step)s::text IS NULL OR step = %(step)s)"
            " AND (step, attempt) > (%(seen)s, %(attempt)s) ORDER BY step, attempt LIMIT %(limit)s",
            {"run": run_id, "step": step, "seen": seen, "attempt": attempt, "limit": limit + 1},
        )
        return page(await cursor.fetchall(), limit, lambda row: (row.step, str(row.attempt)))


def _seen(cursor: str) -> tuple[str, int]:
    step, attempt = decode(cursor, 2)
    if not attempt.isascii() or not attempt.isdigit() or int(attempt[:11]) > MAX_ATTEMPT or not step.isprintable():
        raise bad_cursor()
    return step, int(attempt)
