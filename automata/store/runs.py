"""Runs as people see them: reads for the API and the CLI. orchestrator_queue and worker_queue move them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.engine.states import RunStatus
from automata.errors import Invalid, Missing
from automata.store.flow_visibility import viewer_values
from automata.store.flows import find_flow
from automata.store.ids import as_uuid
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.run_selection import RunSelection, matching_ids, page_ids
from automata.store.scalars import fetch_column
from automata.store.sql import with_fragments
from automata.store.where import Where

Connection = AsyncConnection[Any]


def _of(expression: LiteralString, *, large: bool = False) -> Mapping[str, Any]:
    """What is selected for a field of RunRow, from `runs` and the tables of _JOINS."""
    return {"sql": with_fragments(expression), "large": large}


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run: the one list of its fields, each with its SQL. `list_runs` leaves those out that may be large.

    `started_at` is when its first step was queued, None while it is PENDING for the first time. `attempt` counts from
    1 and grows with each retry; `rerun_of` is the run that this one was started again from, `parent_run_id` the one
    whose step `parent_step` started it, None also where that is not the viewer's to see. `version` is the number of the
    version, `commit_sha` what that version came from. `cancelling`: its end was asked for and is not reached yet.
    """

    id: UUID = field(metadata=_of("runs.id"))
    flow_id: UUID = field(metadata=_of("runs.flow_id"))
    flow_name: str = field(metadata=_of("flows.name"))
    version_id: UUID = field(metadata=_of("runs.version_id"))
    version: int = field(metadata=_of("version.number"))
    commit_sha: str | None = field(metadata=_of("version.commit_sha"))
    status: RunStatus = field(
        metadata=_of("coalesce(result.status, CASE WHEN pending.step IS NULL THEN 'RUNNING' ELSE 'PENDING' END)")
    )
    cancelling: bool = field(
        metadata=_of(
            "result.status IS NULL"
            " AND EXISTS (SELECT FROM task_queue AS q WHERE q.run_id = runs.id AND q.step = ${CANCEL})"
        )
    )
    trigger: str = field(metadata=_of("runs.trigger"))
    created_at: datetime = field(metadata=_of("runs.created_at"))
    created_by: str | None = field(
        metadata=_of("CASE WHEN runs.parent_run_id IS NULL OR {parent_visible} THEN runs.created_by ELSE 'run' END")
    )
    started_at: datetime | None = field(
        metadata=_of(
            "CASE WHEN result.run_id IS NOT NULL THEN result.started_at"
            " WHEN earlier.attempt IS NOT NULL THEN earlier.started_at WHEN pending.step IS NULL THEN least("
            " (SELECT min(queued_at) FROM task_queue AS q"
            "   WHERE q.run_id = runs.id AND q.step NOT IN (${CREATED}, ${CANCEL})),"
            " (SELECT min(coalesce(queued_at, finished_at)) FROM tasks WHERE tasks.run_id = runs.id)) END"
        )
    )
    finished_at: datetime | None = field(metadata=_of("result.finished_at"))
    attempt: int = field(metadata=_of("1 + coalesce(earlier.attempt, 0)"))
    rerun_of: UUID | None = field(metadata=_of("runs.rerun_of"))
    parent_run_id: UUID | None = field(metadata=_of("CASE WHEN {parent_visible} THEN runs.parent_run_id END"))
    parent_step: str | None = field(metadata=_of("CASE WHEN {parent_visible} THEN runs.parent_step END"))
    schedule_id: UUID | None = field(metadata=_of("runs.schedule_id"))
    scheduled_for: datetime | None = field(metadata=_of("runs.scheduled_for"))
    idempotency_key: str | None = field(metadata=_of("runs.idempotency_key"))
    error: Mapping[str, Any] | None = field(metadata=_of("result.error"))
    inputs: Mapping[str, Any] | None = field(default=None, metadata=_of("runs.inputs", large=True))
    outputs: Any = field(default=None, metadata=_of("result.outputs", large=True))

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", RunStatus(self.status))


def _select(*, large: bool) -> sql.SQL:
    columns = [f"{column.metadata['sql']} AS {column.name}" for column in fields(RunRow)]
    small = [f"{column.metadata['sql']} AS {column.name}" for column in fields(RunRow) if not column.metadata["large"]]
    return sql.SQL(f"SELECT {', '.join(columns if large else small)}")


_WHOLE, _LISTED = _select(large=True), _select(large=False)
_JOINS = sql.SQL(
    with_fragments(
        " JOIN flows ON flows.id = runs.flow_id JOIN flow_versions AS version ON version.id = runs.version_id"
        " LEFT JOIN run_results AS result ON result.run_id = runs.id"
        " LEFT JOIN task_queue AS pending ON pending.run_id = runs.id AND pending.step = ${CREATED}"
        " LEFT JOIN LATERAL (SELECT attempt, started_at FROM run_attempts WHERE run_attempts.run_id = runs.id"
        "   ORDER BY attempt DESC LIMIT 1) AS earlier ON true"
    )
)
_PARENT_VISIBLE = sql.SQL("EXISTS (SELECT FROM runs AS parent WHERE parent.id = runs.parent_run_id AND {visible})")


def _visible(select: sql.SQL) -> sql.Composable:
    """A flow that is a step of a foreign one says nothing of that one's runs. Names `viewer_values()`."""
    where = Where()
    where.add_visible("parent.flow_id")
    is_visible = _PARENT_VISIBLE.format(visible=where.clause()) if where.conditions else sql.SQL("true")
    return select.format(parent_visible=is_visible)


async def get_run(conn: Connection, run_id: str | UUID) -> RunRow:
    """One run with inputs and outputs. Raises Missing."""
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        if id := as_uuid(run_id):
            where = Where()
            where.add("runs.id = %(id)s", id=id)
            where.add_visible("runs.flow_id")
            query = sql.SQL("{columns} FROM runs{joins} WHERE {where}").format(
                columns=_visible(_WHOLE), joins=_JOINS, where=where.clause()
            )
            await cursor.execute(query, where.values)
            if row := await cursor.fetchone():
                return row
    raise Missing(f"There is no run {str(run_id)[:100]!r}.")


async def list_runs(
    conn: Connection,
    *,
    flow: str | UUID | None = None,
    status: RunStatus | str | None = None,
    trigger: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page[RunRow]:
    """The newest first. `since` and `until` (excluded) bound `created_at`; `after` is the cursor of the page before.

    Raises Missing for an unknown flow, Invalid for a status or cursor that cannot be.
    """
    limit = clamp(limit)
    flow_id = (await find_flow(conn, flow)).id if flow else None
    selection = RunSelection(flow_id, _status(status), trigger, since, until, decode_run_cursor(after))
    query, values = list_statement(selection, limit + 1)
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        # Planned each time: a plan for any values would not know how far back the range lies.
        await cursor.execute(query, values, prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (str(row.id),))


def list_statement(selection: RunSelection, limit: int) -> tuple[sql.Composed, dict[str, Any]]:
    """The statement of `list_runs`: the ids of the page, then what to show of them."""
    values = {"limit": limit, **viewer_values()}
    query = sql.SQL(
        "WITH page AS MATERIALIZED ({ids}) {columns} FROM page JOIN runs USING (id) {joins} ORDER BY page.id DESC"
    ).format(ids=page_ids(selection, values), columns=_visible(_LISTED), joins=_JOINS)
    return query, values


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; None leaves a member open. `since` is included, `until` is not, both of `created_at`."""

    flow: str | None = None
    status: RunStatus | None = None  # None: those that are not finished
    trigger: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return any((self.flow, self.status, self.trigger, self.since, self.until))


async def matching_runs(
    conn: Connection,
    filter: RunFilter,
    below: UUID | None,
    limit: int,
    *,
    among: Sequence[UUID] | None = None,
    contained: bool | None = None,
) -> list[UUID]:
    """Up to `limit` runs, the newest first, older than `below`. Raises Missing for an unknown flow.

    `contained`: only those whose failure a run above contains, or only the others.
    """
    values: dict[str, Any] = {"limit": limit}
    selection = replace(await _selection(conn, filter, below), among=among, contained=contained)
    ids = matching_ids(selection, values)
    query = sql.SQL("{} ORDER BY 1 DESC LIMIT %(limit)s").format(ids)
    return await fetch_column(conn, query, values, prepare=False)


async def count_matching(
    conn: Connection, filter: RunFilter, below: UUID | None = None, *, contained: bool | None = None
) -> dict[str, int]:
    """How many `matching_runs` would find, by flow. Raises Missing for an unknown flow."""
    values: dict[str, Any] = {}
    selection = replace(await _selection(conn, filter, below), contained=contained)
    query = sql.SQL(
        "SELECT flows.name, count(*) FROM ({ids}) AS matching JOIN runs USING (id)"
        " JOIN flows ON flows.id = runs.flow_id GROUP BY 1 ORDER BY 2 DESC, 1"
    ).format(ids=matching_ids(selection, values))
    return dict(await (await conn.execute(query, values, prepare=False)).fetchall())


async def _selection(conn: Connection, filter: RunFilter, below: UUID | None) -> RunSelection:
    flow_id = (await find_flow(conn, filter.flow)).id if filter.flow else None
    return RunSelection(flow_id, filter.status, filter.trigger, filter.since, filter.until, below)


def _status(status: RunStatus | str | None) -> RunStatus | None:
    try:
        return RunStatus(status) if status else None
    except ValueError:
        raise Invalid(
            f"{str(status)[:50]!r} is not a status of a run.",
            code="bad_status",
            hint=f"One of {', '.join(RunStatus)}.",
            pointer="/status",
        ) from None


def decode_run_cursor(cursor: str | None) -> UUID | None:
    """The last run of the page before."""
    if cursor is None:
        return None
    if id := as_uuid(decode(cursor, 1)[0]):
        return id
    raise bad_cursor()
