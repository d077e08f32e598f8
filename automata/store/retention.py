"""Ended runs that are old are deleted, with all that belongs to them, in transactions of a bounded size.

Failure argument. The row of a run goes in the first transaction that touches it, so readers find the run whole or not
at all, and nothing can begin from half of it. Its result goes in the last one: the walk finds runs by their results, so
a batch that dies on the way is found again by the next walk, wherever that begins. The results are locked, so a run
that is being reopened is passed over; a run that has a result and no row cannot be reopened.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from psycopg import sql

from automata.store.database import Connection
from automata.store.ids import CLOCKS_APART
from automata.store.sql import statement

BEFORE_ALL = UUID(int=0)
MAX_RUNS = 1_000  # looked at by one transaction
MAX_ROWS = 20_000  # of their steps deleted by it: a run may have a million

# Tables with few rows a run, and tables with a row for each step. tests/store/test_retention.py compares them with the
# tables of the database.
RUN_TABLES = {"runs": "id", "task_queue": "run_id", "run_slots": "run_id", "run_attempts": "run_id"}
STEP_TABLES = ("tasks", "task_attempts", "approvals", "dead_letters", "recordings", "task_logs")


@dataclass(frozen=True, slots=True)
class PrunedBatch:
    """`after`: where the next batch begins, None at the end. `runs` were deleted, and `rows` of their steps."""

    after: UUID | None
    runs: int = 0
    rows: int = 0


async def prune_batch(
    conn: Connection, days: int, after: UUID = BEFORE_ALL, runs: int = MAX_RUNS, rows: int = MAX_ROWS
) -> PrunedBatch:
    """One batch of runs that ended more than `days` days ago by the database's clock, behind `after`."""
    cursor = await conn.execute(
        statement("take_old_runs"),
        {"days": days, "after": after, "limit": runs, "clocks_apart": CLOCKS_APART},
        prepare=False,
    )
    seen = await cursor.fetchall()
    doomed = [run for run, goes in seen if goes]
    gone = await _whole(conn, doomed) if doomed else 0
    deleted, done = await _parts(conn, doomed, rows) if doomed else (0, True)
    if not done:
        return PrunedBatch(after, gone, deleted)
    if doomed:
        await conn.execute("DELETE FROM run_results WHERE run_id = ANY(%s::uuid[])", [doomed])
    return PrunedBatch(seen[-1][0] if len(seen) == runs else None, gone, deleted)


async def _whole(conn: Connection, doomed: list[UUID]) -> int:
    """Runs that were still there."""
    counts = {}
    for table, column in RUN_TABLES.items():
        cursor = await conn.execute(
            sql.SQL("DELETE FROM {} WHERE {} = ANY(%s::uuid[])").format(sql.Identifier(table), sql.Identifier(column)),
            [doomed],
        )
        counts[table] = cursor.rowcount
    return counts["runs"]


async def _parts(conn: Connection, doomed: list[UUID], room: int) -> tuple[int, bool]:
    """How many rows went, at most `room`; and whether none is left."""
    deleted = 0
    for table in STEP_TABLES:
        name = sql.Identifier(table)
        cursor = await conn.execute(
            sql.SQL(
                "DELETE FROM {} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {} WHERE run_id = ANY(%s::uuid[]) LIMIT %s))"
            ).format(name, name),
            [doomed, room - deleted],
        )
        deleted += cursor.rowcount
        if deleted >= room:
            return deleted, False
    return deleted, True
