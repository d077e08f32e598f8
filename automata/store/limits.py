"""Whom a statement answers: somebody who is limited by labels knows of the flows that bear all of them, and no others.

Failure argument. The limit belongs to the task that answers a request, not to a call, so that no caller can forget it:
every statement that reads or changes something of a flow for a request has the condition of `mine`. The labels are
those that the flow bears now, whatever version a run goes by, and are read by the statement itself: a flow that loses
one is gone with the next statement. Work that several askers share inherits nothing: a line answers each question under
the limit that came with it (operations/lookups.py), a figure is read once for each limit (web/overview.py). A route
that keeps to no limit refuses whoever has one before any statement (http/authorization.py); the services have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql

from automata.store.codec import dumps

Connection = AsyncConnection[Any]
Filters = list[tuple[str, Any]]  # conditions with one placeholder each, and its value

# Of no more rows than there are flows, by the index flows_labels; the rows around it are walked as ever.
_IN = " IN (SELECT mine.id FROM flows AS mine WHERE mine.labels @> %s::jsonb)"
_IN_NAMED = _IN.replace("%s", "%(labels)s")

_limit: ContextVar[str | None] = ContextVar("limit", default=None)


def limit_to(labels: Mapping[str, str]) -> None:
    """From here on this task, and those that it starts, know of flows with all of these labels; empty: of all."""
    _limit.set(dumps(dict(sorted(labels.items()))) if labels else None)


def limited_to() -> str | None:
    """The labels as JSON text; None: all flows."""
    return _limit.get()


@contextmanager
def under(limit: str | None) -> Iterator[None]:
    """Answer for somebody else than whoever began this task: `limit` is what `limited_to()` said to them."""
    before = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(before)


def mine(flow_id: str) -> Filters:
    """The condition of a statement whose column `flow_id` names a flow; none for whoever knows of all."""
    labels = _limit.get()
    return [] if labels is None else [(flow_id + _IN, labels)]


def also(flow_id: str) -> sql.SQL:
    """The same as ` AND ...` for a statement with named values: `%(labels)s` is what `limited_to()` says."""
    return sql.SQL("" if _limit.get() is None else " AND " + flow_id + _IN_NAMED)


async def own_runs(conn: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Those of the runs that whoever asks knows of; all of them, unasked, for whoever knows of every flow."""
    if limited_to() is None:
        return list(ids)
    ((condition, labels),) = mine("flow_id")
    query = sql.SQL("SELECT id FROM runs WHERE id = ANY(%s::uuid[]) AND {}").format(sql.SQL(condition))
    return [row[0] for row in await (await conn.execute(query, [list(ids), labels])).fetchall()]


async def own_letters(conn: Connection, ids: Sequence[int]) -> list[int]:
    """The same for dead letters, whose ids the database can be asked about."""
    if limited_to() is None:
        return list(ids)
    ((condition, labels),) = mine("flow_id")
    query = sql.SQL("SELECT id FROM dead_letters WHERE id = ANY(%s::bigint[]) AND {}").format(sql.SQL(condition))
    return [row[0] for row in await (await conn.execute(query, [list(ids), labels])).fetchall()]
