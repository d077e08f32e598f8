"""Approvals: the word that lets a step go on, or ends it."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from automata.broker.contract import RUNS_PENDING
from automata.errors import Missing
from automata.operations.context import AppContext
from automata.operations.run_secrets import run_masks
from automata.store import approvals as store
from automata.store.approvals import ApprovalRow
from automata.store.audit import AuditEvent, record_change
from automata.store.ids import as_uuid


async def list_approvals(context: AppContext, limit: int = 500, run_id: UUID | None = None) -> list[ApprovalRow]:
    """Those that wait, of a run or of all, the oldest first; what is secret of their runs is masked in the prompts."""
    async with context.db.connection() as conn:
        rows = await store.list_open(conn, limit, run_id)
    masks = await run_masks(context, [row.run_id for row in rows])
    return [replace(row, prompt=str(masks[row.run_id](row.prompt))) for row in rows]


async def decide_approval(context: AppContext, run_id: str, step: str, approved: bool, by: str, comment: str) -> str:
    """Decide, and have the run go on; the step's full id. Raises as the store's function, Missing for what is no id."""
    run = as_uuid(run_id)
    if run is None or len(step) > 1000 or not step.isprintable():
        raise Missing(f"There is no run {run_id[:60]!r}." if run is None else "There is no such step.")
    async with context.db.transaction() as conn:
        full = await store.decide_approval(conn, run, step, approved, by, comment)
        deed = AuditEvent(
            "approval.decide", f"run/{run}", None, {"step": full, "approved": approved, "comment": comment}
        )
        await record_change(conn, deed)
    context.broker.notify(RUNS_PENDING, [str(run)])
    return full
