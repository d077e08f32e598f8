"""Approvals: the word that lets a step go on, or ends it."""

from __future__ import annotations

from automata.broker.contract import RUNS_PENDING
from automata.errors import Missing
from automata.operations.context import AppContext
from automata.store import approvals as store
from automata.store.audit import AuditEvent, record_change
from automata.store.ids import as_uuid


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
