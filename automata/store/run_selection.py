"""Which runs a list, a filter or a bulk command means: their ids, walked in the order of an index, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql

from automata.engine.states import RunStatus
from automata.store.flow_visibility import viewer_labels
from automata.store.ids import CLOCKS_APART, first_id
from automata.store.sql import with_fragments
from automata.store.where import Where

# By the `id` of what leads: that of the newest 1,000 rows before one, a few milliseconds' worth to pass.
_RESULTS_BELOW: LiteralString = "SELECT r.run_id FROM run_results AS r WHERE r.run_id < %(near)s"
_NEAR: dict[LiteralString, LiteralString] = {
    "runs.id": "(SELECT r.id FROM runs AS r WHERE r.id < %(near)s ORDER BY 1 DESC OFFSET 999 LIMIT 1)",
    "lead.run_id": f"({_RESULTS_BELOW} ORDER BY 1 DESC OFFSET 999 LIMIT 1)",
}
_LAST = UUID(int=2**128 - 1)


@dataclass(frozen=True, slots=True)
class RunSelection:
    """What runs must be; None leaves a member open. `since` is included, `until` is not; `below`: of older ids.

    `among`: of these alone. `contained`: whether a run above goes on when this one fails.
    """

    flow_id: UUID | None = None
    status: RunStatus | None = None
    trigger: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    below: UUID | None = None
    among: Sequence[UUID] | None = None
    contained: bool | None = None


@dataclass(frozen=True, slots=True)
class _Lead:
    """The table along whose index the runs are walked.

    `chosen` is FROM ... WHERE ... as text: a parameter would hide the partial index from the planner. `repeats`: a run
    has several rows there.
    """

    chosen: LiteralString
    id: LiteralString = "lead.run_id"
    flow_id: LiteralString = "runs.flow_id"
    repeats: bool = False


_UNFINISHED: LiteralString = "NOT EXISTS (SELECT FROM run_results AS r WHERE r.run_id = lead.run_id)"
_RESULTS: LiteralString = "FROM run_results AS lead JOIN runs ON runs.id = lead.run_id WHERE lead.status ="
_QUEUE: LiteralString = "FROM task_queue AS lead JOIN runs ON runs.id = lead.run_id WHERE"
_ANY = _Lead("FROM runs WHERE true", id="runs.id")
_ACTIVE = _Lead(f"{_QUEUE} {_UNFINISHED}", repeats=True)
_BY_STATUS = {
    RunStatus.PENDING: _Lead(with_fragments(f"{_QUEUE} lead.step = ${{CREATED}} AND {_UNFINISHED}")),
    RunStatus.RUNNING: _Lead(
        with_fragments(
            f"{_QUEUE} lead.step <> ${{CREATED}} AND {_UNFINISHED}"
            " AND NOT EXISTS (SELECT FROM task_queue AS q WHERE q.run_id = lead.run_id AND q.step = ${CREATED})"
        ),
        repeats=True,
    ),
    RunStatus.SUCCEEDED: _Lead(f"{_RESULTS} 'SUCCEEDED'"),
    RunStatus.FAILED: _Lead(f"{_RESULTS} 'FAILED'", flow_id="lead.flow_id"),
    RunStatus.CANCELLED: _Lead(f"{_RESULTS} 'CANCELLED'", flow_id="lead.flow_id"),
}


def page_ids(selection: RunSelection, values: dict[str, Any]) -> sql.Composable:
    """A query of the ids of up to `%(limit)s` runs, the newest first; puts what it names into `values`."""
    # With a flow its own index leads; else the succeeded are walked past the unfinished ones that are newer.
    lead = _BY_STATUS[selection.status] if selection.status else _ANY
    by_flow = lead if selection.status is not RunStatus.SUCCEEDED else replace(lead, id="runs.id")
    if selection.flow_id is None and viewer_labels() is not None and by_flow.id == "runs.id":
        ids = _of_each_flow(lead, by_flow, selection, values)
    else:
        ids = _ids(by_flow if selection.flow_id else lead, selection, values)
    return sql.SQL("{} ORDER BY 1 DESC LIMIT %(limit)s").format(ids)


def matching_ids(selection: RunSelection, values: dict[str, Any]) -> sql.Composable:
    """A query of all ids, in no order; without a status of those that are not finished."""
    return _ids(_BY_STATUS[selection.status] if selection.status else _ACTIVE, selection, values)


def _ids(lead: _Lead, selection: RunSelection, values: dict[str, Any]) -> sql.Composable:
    where = Where()
    _add_bounds(where, lead, selection)
    if selection.flow_id is None:
        where.add_visible(lead.flow_id)
    else:
        where.add(f"{lead.flow_id} = %(flow_id)s", flow_id=selection.flow_id)
    return _select(lead, where, selection, values)


def _of_each_flow(lead: _Lead, by_flow: _Lead, selection: RunSelection, values: dict[str, Any]) -> sql.Composable:
    """The runs of visible flows: a page's worth of the newest of all, else of each such flow.

    The way past the runs of all would read them all where few are meant, a page's worth of each flow far too many where
    most are: so the first is walked for the runs of _NEAR, and the second only where these hold no whole page.
    """
    near, each, visible = Where(), Where(), Where()
    _add_bounds(near, lead, selection)
    near.add_visible(lead.flow_id)
    for column in _both(lead):
        near.add(f"{column} >= {_NEAR[lead.id]}", near=selection.below or _LAST)
    of_flow = replace(by_flow, chosen=f"{by_flow.chosen} AND runs.flow_id = flows.id")
    _add_bounds(each, of_flow, selection)
    visible.add_visible("flows.id")
    values |= visible.values
    return sql.SQL(
        "WITH near AS MATERIALIZED ({near} ORDER BY 1 DESC LIMIT %(limit)s),"
        " held AS (SELECT count(*) >= %(limit)s AS whole FROM near)"
        " SELECT near.id FROM near WHERE (SELECT whole FROM held)"
        " UNION ALL SELECT newest.id FROM flows CROSS JOIN LATERAL ({each} ORDER BY 1 DESC LIMIT %(limit)s) AS newest"
        " WHERE NOT (SELECT whole FROM held) AND {visible}"
    ).format(
        near=_select(lead, near, selection, values),
        each=_select(of_flow, each, selection, values),
        visible=visible.clause(),
    )


def _both(lead: _Lead) -> dict[LiteralString, None]:
    """The columns that a bound is put on: PostgreSQL carries an equality across a join, but not a range."""
    return {lead.id: None, "runs.id": None}


def _add_bounds(where: Where, lead: _Lead, selection: RunSelection) -> None:
    since, until = selection.since, selection.until
    floor, ceiling = since and first_id(since - CLOCKS_APART), until and first_id(until + CLOCKS_APART)
    for column in _both(lead):
        where.add_given(f"{column} < %(below)s", below=selection.below)
        where.add_given(f"{column} = ANY(%(among)s::uuid[])", among=selection.among)
        where.add_given(f"{column} < %(ceiling)s", ceiling=ceiling)
        where.add_given(f"{column} >= %(floor)s", floor=floor)
    where.add_given("runs.created_at >= %(since)s", since=since)
    where.add_given("runs.created_at < %(until)s", until=until)


def _select(lead: _Lead, where: Where, selection: RunSelection, values: dict[str, Any]) -> sql.Composable:
    where.add_given("runs.trigger = %(trigger)s", trigger=selection.trigger)
    where.add_given("runs.contained = %(contained)s", contained=selection.contained)
    values |= where.values
    return sql.SQL("SELECT {distinct} {id} AS id {chosen} AND {where}").format(
        distinct=sql.SQL("DISTINCT" if lead.repeats else ""),
        id=sql.SQL(lead.id),
        chosen=sql.SQL(lead.chosen),
        where=where.clause(),
    )
