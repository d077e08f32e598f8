"""Dead letters: read, retried and discarded, one by one or many at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal, cast
from uuid import UUID

from automata.broker.contract import RUNS_PENDING
from automata.errors import Missing
from automata.operations.bulk import BulkResult
from automata.operations.context import AppContext
from automata.operations.run_secrets import Mask, run_mask, run_masks
from automata.store import deadletters as store
from automata.store.audit import AuditEvent, record_change
from automata.store.database import Connection
from automata.store.deadletters import (
    MAX_ID,
    DeadLetterBatch,
    DeadLetterFilter,
    DeadLetterRow,
    ParentRow,
    State,
    failed_parents,
    get_letter,
    list_letters,
)
from automata.store.flow_visibility import visible_runs
from automata.store.pagination import Page, decode, encode

Action = Literal["retry", "discard"]


def parse_letter_id(text: str) -> int:
    """Raises Missing for what is no dead letter's id."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Missing(f"There is no dead letter {text[:30]!r}.", hint="A dead letter's id is a number.")
    return int(text)


async def list_dead_letters(
    context: AppContext, filter: DeadLetterFilter, state: str, cursor: str | None, limit: int
) -> Page[dict[str, Any]]:
    """A page of letters as `read_dead_letter` shows them, the newest first; `cursor` has been checked.

    Raises Missing for an unknown flow, Invalid.
    """
    chosen = None if state == "all" else cast(State, state)
    async with context.db.connection() as conn:
        page = await list_letters(conn, filter, state=chosen, after=cursor, limit=limit)
        parents = await failed_parents(conn, [row.run_id for row in page.items])
    masks = await run_masks(context, [row.run_id for row in page.items])
    return Page([_letter(row, parents.get(row.run_id, ()), masks[row.run_id]) for row in page.items], page.next)


async def read_dead_letter(context: AppContext, id: int) -> dict[str, Any]:
    """One letter with its last error and request, secrets masked. Raises Missing."""
    async with context.db.connection() as conn:
        row = await get_letter(conn, id)
        parents = await failed_parents(conn, [row.run_id])
    return _letter(row, parents.get(row.run_id, ()), await run_mask(context, row.run_id))


async def retry_dead_letter(context: AppContext, id: int, by: str | None) -> UUID:
    """Have the run go on at a letter's step, and the runs above; the run's id. Raises Missing, Conflict."""
    async with context.db.transaction() as conn:
        reopened = await store.retry_letter(conn, id, by)
        await record_change(conn, AuditEvent("letter.retry", f"letter/{id}", None, {"run": str(reopened.run_id)}))
    context.broker.notify(RUNS_PENDING, [str(reopened.run_id)])
    return reopened.run_id


async def discard_dead_letter(context: AppContext, id: int, by: str | None) -> None:
    """Close a letter; its run stays as it is. Raises Missing, Conflict."""
    async with context.db.transaction() as conn:
        await store.discard_letter(conn, id, by)
        await record_change(conn, AuditEvent("letter.discard", f"letter/{id}"))


async def change_dead_letters(context: AppContext, action: Action, ids: Sequence[int], by: str | None) -> BulkResult:
    """Retry or discard letters; those that are in no state for it are left."""
    change = store.retry_letters if action == "retry" else store.discard_letters
    return await _change(context, action, {"letters": list(ids)}, lambda conn: change(conn, ids, by))


async def change_matching_dead_letters(
    context: AppContext, action: Action, filter: DeadLetterFilter, cursor: str | None, limit: int, by: str | None
) -> BulkResult:
    """One transaction's worth of the open letters that a filter finds, the oldest first; `cursor` has been checked."""
    after = min(int(decode(cursor, 1)[0]), MAX_ID) if cursor else 0
    chosen = {name: value for name, value in asdict(filter).items() if value is not None}
    change = store.retry_batch if action == "retry" else store.discard_batch
    which = {"filter": chosen, "after": after}
    return await _change(context, action, which, lambda conn: change(conn, filter, after, limit, by))


async def _change(
    context: AppContext,
    action: Action,
    which: dict[str, Any],
    change: Callable[[Connection], Awaitable[DeadLetterBatch]],
) -> BulkResult:
    """Change letters and record which were meant, and what became of them."""
    async with context.db.transaction() as conn:
        batch = await change(conn)
        outcome = {"done": batch.done, "of": batch.chosen, "runs": batch.runs}
        await record_change(conn, AuditEvent(f"letter.{action}", "letters", which, outcome))
        visible = await visible_runs(conn, batch.runs)
    context.broker.notify(RUNS_PENDING, [str(id) for id in batch.runs])
    return BulkResult(batch.chosen, batch.done, visible, encode([str(batch.after)]) if batch.after else None)


def _letter(row: DeadLetterRow, parents: Sequence[ParentRow], mask: Mask) -> dict[str, Any]:
    error = dict(row.error or {})
    request = error.pop("request", None)
    return {
        "id": row.id,
        "state": row.state,
        "flow": row.flow_name,
        "flow_id": row.flow_id,
        "version": row.version,
        "run_id": row.run_id,
        "run_status": row.run_status,
        "step": row.step or None,
        "parents": [{"run_id": run.run_id, "flow": run.flow_name, "step": run.step} for run in parents],
        "attempts": row.attempts,
        "code": row.code,
        "error": mask(error),
        "request": mask(request),
        "created_at": row.created_at,
        "resolved_at": row.resolved_at,
        "resolved_by": row.resolved_by,
    }
