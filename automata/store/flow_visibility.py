"""Whose flows a statement may see: a viewer who is limited by labels sees the flows that have all of them, no others.

Failure argument. The limit belongs to the task that answers a request, not to a call, so that no caller can forget it:
every statement that reads or changes something of a flow for a request has the condition of `visible_condition`. The
labels are those that the flow has now, whatever version a run uses, and the statement itself reads them: a flow that
loses one is gone with the next statement. Work that several viewers share inherits nothing: a batch answers each
question under the limit that came with it (operations/flow_lookups.py), and a figure is read once for each limit
(web/overview.py). A route that does not keep to the limit refuses a limited viewer before any statement
(http/authorization.py); the services have no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, LiteralString
from uuid import UUID

from psycopg import AsyncConnection, sql

from automata.store.json_codec import dumps
from automata.store.scalars import fetch_column

Connection = AsyncConnection[Any]

# A subquery of at most as many rows as there are flows, by the index flows_labels; the rows around it are walked in the
# same way as without a limit.
_IS_VISIBLE: LiteralString = (
    " IN (SELECT visible.id FROM flows AS visible WHERE visible.labels @> %(viewer_labels)s::jsonb)"
)

_viewer: ContextVar[str | None] = ContextVar("viewer_labels", default=None)


def set_viewer_labels(labels: Mapping[str, str]) -> None:
    """From here on this task, and those that it starts, see the flows with all of these labels; empty: all flows."""
    _viewer.set(dumps(dict(sorted(labels.items()))) if labels else None)


def viewer_labels() -> str | None:
    """The labels as JSON text; None: all flows are visible."""
    return _viewer.get()


def viewer_values() -> dict[str, Any]:
    """The value that the conditions of this module name."""
    return {"viewer_labels": _viewer.get()}


@contextmanager
def as_viewer(labels: str | None) -> Iterator[None]:
    """Answer for another viewer than the one for whom this task began; `labels` is what `viewer_labels()` was there."""
    before = _viewer.set(labels)
    try:
        yield
    finally:
        _viewer.reset(before)


def visible_condition(flow_id: LiteralString) -> LiteralString:
    """That the flow in column `flow_id` is visible, over `viewer_values()`; empty for a viewer of all flows."""
    return "" if _viewer.get() is None else flow_id + _IS_VISIBLE


def and_visible(flow_id: LiteralString) -> sql.SQL:
    """The same as ` AND ...`, for the end of other conditions."""
    condition = visible_condition(flow_id)
    return sql.SQL(f" AND {condition}" if condition else "")


async def visible_runs(conn: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the runs that are visible; a viewer of all gets all of them back, without a statement."""
    if not (condition := visible_condition("flow_id")):
        return list(ids)
    query = sql.SQL("SELECT id FROM runs WHERE id = ANY(%(ids)s::uuid[]) AND {}").format(sql.SQL(condition))
    return await fetch_column(conn, query, {"ids": list(ids), **viewer_values()})


async def visible_letters(conn: Connection, ids: Sequence[int]) -> list[int]:
    """The same for dead letters, whose ids must fit the column."""
    if not (condition := visible_condition("flow_id")):
        return list(ids)
    query = sql.SQL("SELECT id FROM dead_letters WHERE id = ANY(%(ids)s::bigint[]) AND {}").format(sql.SQL(condition))
    return await fetch_column(conn, query, {"ids": list(ids), **viewer_values()})
