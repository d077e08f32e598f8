"""Many runs at once: cancelled or retried, those that are named or those that a filter finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from automata.broker.contract import RUNS_PENDING
from automata.operations.bulk import BulkResult
from automata.operations.context import AppContext
from automata.store import run_retries
from automata.store.audit import AuditEvent, record_change
from automata.store.database import Connection
from automata.store.flow_visibility import visible_runs
from automata.store.orchestrator_queue import request_cancel
from automata.store.pagination import encode
from automata.store.runs import RunFilter, decode_run_cursor, matching_runs

Action = Literal["cancel", "retry"]
# What an action by a filter reaches, as `contained` of matching_runs and count_matching. A failure that a flow
# contains is none to mend: the run above has gone on without it.
CONTAINED: Mapping[Action, bool | None] = {"cancel": None, "retry": False}


async def change_runs(context: AppContext, action: Action, ids: Sequence[UUID], by: str | None) -> BulkResult:
    """Cancel or retry runs; those that are in no state for it are left."""
    async with context.db.transaction() as conn:
        reached = await _change(conn, action, ids, by)
    return _result(context, ids, reached)


async def change_matching_runs(
    context: AppContext, action: Action, filter: RunFilter, cursor: str | None, limit: int, by: str | None
) -> BulkResult:
    """One transaction's worth of the runs that a filter finds, the newest first; `cursor` has been checked."""
    async with context.db.transaction() as conn:
        matching = await matching_runs(conn, filter, decode_run_cursor(cursor), limit, contained=CONTAINED[action])
        chosen = [*matching, *await _above(conn, filter, matching)] if action == "retry" else matching
        reached = await _change(conn, action, chosen, by)
    return _result(context, chosen, reached, encode([str(matching[-1])]) if len(matching) == limit else None)


async def _above(conn: Connection, filter: RunFilter, found: Sequence[UUID]) -> list[UUID]:
    """Those above the runs that the filter finds too: in a later transaction they would be on their way."""
    above = set(await run_retries.runs_above(conn, found)) - set(found)
    return await matching_runs(conn, filter, None, len(above), among=list(above)) if above else []


async def _cancel(conn: Connection, ids: Sequence[UUID], by: str | None) -> set[UUID]:
    return await request_cancel(conn, ids)


async def _retry(conn: Connection, ids: Sequence[UUID], by: str | None) -> set[UUID]:
    """The runs that go on; of those above that nobody named, the visible ones."""
    reopened = {run.run_id for run in await run_retries.retry_runs(conn, ids, by)}
    return reopened & {*ids, *await visible_runs(conn, list(reopened))}


_CHANGES: dict[Action, Callable[[Connection, Sequence[UUID], str | None], Awaitable[set[UUID]]]] = {
    "cancel": _cancel,
    "retry": _retry,
}


async def _change(conn: Connection, action: Action, ids: Sequence[UUID], by: str | None) -> set[UUID]:
    reached = await _CHANGES[action](conn, ids, by)
    await record_change(conn, *(AuditEvent(f"run.{action}", f"run/{id}") for id in sorted(reached)))
    return reached


def _result(
    context: AppContext, chosen: Sequence[UUID], reached: set[UUID], next_cursor: str | None = None
) -> BulkResult:
    context.broker.notify(RUNS_PENDING, [str(id) for id in reached])
    return BulkResult(len(chosen), len(reached & set(chosen)), sorted(reached), next_cursor)
