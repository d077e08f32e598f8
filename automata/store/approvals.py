"""Steps that wait for a person: which are open, and what was decided, once each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from automata.engine.decision import FOREVER
from automata.errors import Conflict, Missing
from automata.store.database import Connection
from automata.store.flow_visibility import and_visible, viewer_values, visible_runs
from automata.store.sql import with_fragments


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """`step` is the full id; `expires_at` None when it waits for ever."""

    run_id: UUID
    step: str
    flow_name: str
    prompt: str
    asked_at: datetime
    expires_at: datetime | None


_OPEN = with_fragments(
    "SELECT queue.run_id, queue.step, flows.name AS flow_name, queue.${APPROVAL_PROMPT} AS prompt,"
    " queue.queued_at AS asked_at, nullif(queue.ready_at, %(never)s) AS expires_at"
    " FROM task_queue AS queue JOIN runs ON runs.id = queue.run_id JOIN flows ON flows.id = runs.flow_id"
    " WHERE lane = ${ADVANCE} AND ready_at > now() AND ${WAITS_FOR_APPROVAL}"
    " AND (%(run)s::uuid IS NULL OR queue.run_id = %(run)s) {visible}"
    " ORDER BY queue.queued_at LIMIT %(limit)s"
)


async def list_open(conn: Connection, limit: int = 500, run_id: UUID | None = None) -> list[ApprovalRow]:
    """Those that wait, of a run or of all, the oldest first. Walks the queue, which holds only what moves."""
    async with conn.cursor(row_factory=class_row(ApprovalRow)) as cursor:
        await cursor.execute(
            sql.SQL(_OPEN).format(visible=and_visible("runs.flow_id")),
            {
                "limit": limit,
                "never": FOREVER,
                "run": run_id,
                **viewer_values(),
            },
            prepare=False,  # with the run known its own rows are walked, else the lane's
        )
        return await cursor.fetchall()


_DECIDE = with_fragments(
    "WITH woken AS ("
    "  UPDATE task_queue SET ready_at = now()"
    "  WHERE run_id = %(run)s AND (step = %(step)s OR step LIKE %(short)s) AND lane = ${ADVANCE}"
    "  AND ready_at > now() AND ${WAITS_FOR_APPROVAL} RETURNING run_id, step)"
    " INSERT INTO approvals (run_id, step, approved, decided_by, comment)"
    " SELECT run_id, step, %(approved)s, %(by)s, %(comment)s FROM woken ON CONFLICT DO NOTHING RETURNING step"
)


async def decide_approval(conn: Connection, run_id: UUID, step: str, approved: bool, by: str, comment: str) -> str:
    """Decide an open approval, once; returns the step's full id. Notify `runs.pending` after the commit.

    `step` may be its short id. Raises Missing when nothing of that name waits, Conflict when it was decided before.
    """
    if not await visible_runs(conn, [run_id]):
        raise _nothing_waits(run_id, step)
    cursor = await conn.execute(
        _DECIDE,
        {
            "run": run_id,
            "step": step,
            "short": "%." + step.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_"),
            "approved": approved,
            "by": by,
            "comment": comment,
        },
    )
    if row := await cursor.fetchone():
        (full_id,) = row
        return str(full_id)
    cursor = await conn.execute(
        "SELECT approved, decided_by FROM approvals WHERE run_id = %s AND (step = %s OR step LIKE %s)",
        [run_id, step, f"%.{step}"],
    )
    if row := await cursor.fetchone():
        was_approved, decided_by = row
        verb = "approved" if was_approved else "rejected"
        raise Conflict(f"The step {step} was {verb} by {decided_by} already.", code="already_decided")
    raise _nothing_waits(run_id, step)


def _nothing_waits(run_id: UUID, step: str) -> Missing:
    return Missing(f"No step {step} of the run {run_id} waits for an approval.", code="no_approval")


async def approval_decisions(
    conn: Connection, waiting: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], dict[str, Any]]:
    """What was decided, as the step's outputs."""
    cursor = await conn.execute(
        "SELECT run_id, step, approved, decided_by, comment FROM approvals"
        " WHERE (run_id, step) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))",
        [[run for run, _ in waiting], [step for _, step in waiting]],
    )
    rows = await cursor.fetchall()
    return {(run, step): {"approved": ok, "by": by, "comment": comment} for run, step, ok, by, comment in rows}
