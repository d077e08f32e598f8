"""Runs and their tasks as people see them: reads for the API and the CLI. What moves a run is in queue and tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.engine.decision import FOREVER
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import Invalid, Missing
from automata.store.flows import all_of, as_uuid, find_flow
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.visibility import Conditions, viewer_labels, visible_condition

Connection = AsyncConnection[Any]

# By the `id` of what leads: that of the newest 1,000 rows before one, a few milliseconds' worth to pass.
_NEAR = {
    "runs.id": "(SELECT r.id FROM runs AS r WHERE r.id < %s ORDER BY 1 DESC OFFSET 999 LIMIT 1)",
    "lead.run_id": "(SELECT r.run_id FROM run_results AS r WHERE r.run_id < %s ORDER BY 1 DESC OFFSET 999 LIMIT 1)",
}
_LAST = UUID(int=2**128 - 1)

# A run's id holds the clock of the process that made it, `created_at` the database's: the id narrows the range, by so
# much too little, and the time decides.
CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run. `list_runs` leaves `inputs` and `outputs` out (None): they may be large.

    `started_at` is when its first step was queued, None while it is PENDING for the first time. `attempt` counts from
    1 and grows with each retry; `rerun_of` is the run that this one was started again from. `version` is the number of
    the version, `commit_sha` what that version came from. `cancelling`: its end was asked for and is not reached yet.
    """

    id: UUID
    flow_id: UUID
    flow_name: str
    version_id: UUID
    version: int
    commit_sha: str | None
    status: RunStatus
    cancelling: bool
    trigger: str
    created_at: datetime
    created_by: str | None
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    rerun_of: UUID | None
    schedule_id: UUID | None
    scheduled_for: datetime | None
    idempotency_key: str | None
    error: Mapping[str, Any] | None
    inputs: Mapping[str, Any] | None = None
    outputs: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", RunStatus(self.status))


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A step that something was decided about; a `parallel` that runs has no row.

    `due_at`: when a retry that waits (QUEUED) may start, a delay (RUNNING) ends, or a running task's lease does.
    """

    step: str
    status: TaskStatus
    attempt: int
    queued_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    worker: str | None
    outputs: Any
    error: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", TaskStatus(self.status))


@dataclass(frozen=True, slots=True)
class TaskAttemptRow:
    """An attempt that failed and was tried again at `retry_at`; the last attempt is the task itself."""

    step: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime
    retry_at: datetime | None
    worker: str | None
    error: Mapping[str, Any] | None


_COLUMNS = sql.SQL(
    "SELECT runs.id, runs.flow_id, flows.name AS flow_name, runs.version_id, version.number AS version,"
    " version.commit_sha, runs.trigger, runs.created_at, {by} AS created_by, runs.schedule_id, runs.scheduled_for,"
    " runs.idempotency_key, runs.rerun_of, result.finished_at, result.error,"
    " 1 + coalesce(earlier.attempt, 0) AS attempt,"
    " coalesce(result.status, CASE WHEN pending.step IS NULL THEN 'RUNNING' ELSE 'PENDING' END) AS status,"
    " result.status IS NULL AND EXISTS (SELECT FROM task_queue AS q WHERE q.run_id = runs.id AND q.step = '!cancel')"
    "   AS cancelling,"
    " CASE WHEN result.run_id IS NOT NULL THEN result.started_at WHEN earlier.attempt IS NOT NULL"
    "   THEN earlier.started_at WHEN pending.step IS NULL THEN least("
    "   (SELECT min(queued_at) FROM task_queue AS q WHERE q.run_id = runs.id AND q.step NOT IN ('', '!cancel')),"
    "   (SELECT min(coalesce(queued_at, finished_at)) FROM tasks WHERE tasks.run_id = runs.id)) END AS started_at"
)
_TABLES = sql.SQL(
    " JOIN flows ON flows.id = runs.flow_id JOIN flow_versions AS version ON version.id = runs.version_id"
    " LEFT JOIN run_results AS result ON result.run_id = runs.id"
    " LEFT JOIN task_queue AS pending ON pending.run_id = runs.id AND pending.step = ''"
    " LEFT JOIN LATERAL (SELECT attempt, started_at FROM run_attempts AS made WHERE made.run_id = runs.id"
    "   ORDER BY attempt DESC LIMIT 1) AS earlier ON true"
)


# A flow that is a step of a foreign one does not tell of that one's runs.
_BY = sql.SQL(
    "CASE WHEN runs.parent_run_id IS NULL OR EXISTS (SELECT FROM runs AS above WHERE above.id = runs.parent_run_id"
    " AND {mine}) THEN runs.created_by ELSE 'run' END"
)


def _columns() -> tuple[sql.Composed, list[Any]]:
    filters = visible_condition("above.flow_id")
    by = _BY.format(mine=all_of(filters)) if filters else sql.SQL("runs.created_by")
    return _COLUMNS.format(by=by), [value for _, value in filters]


async def get_run(conn: Connection, run_id: str | UUID) -> RunRow:
    """One run with inputs and outputs. Raises Missing."""
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        if id := as_uuid(run_id):
            payload = sql.SQL(", runs.inputs, result.outputs FROM runs")
            filters: Conditions = [("runs.id = %s", id), *visible_condition("runs.flow_id")]
            columns, values = _columns()
            query = columns + payload + _TABLES + sql.SQL(" WHERE ") + all_of(filters)
            await cursor.execute(query, [*values, *(value for _, value in filters)])
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
    query, values = list_statement(_status(status), flow_id, trigger, since, until, decode_run_cursor(after), limit + 1)
    async with conn.cursor(row_factory=class_row(RunRow)) as cursor:
        # Planned anew each time: a plan for any values would not know how far back the range lies.
        await cursor.execute(query, values, prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (str(row.id),))


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


async def matching_runs(conn: Connection, filter: RunFilter, below: UUID | None, limit: int) -> list[UUID]:
    """Up to `limit` runs, the newest first, older than `below`. Raises Missing for an unknown flow."""
    ids, values = await _chosen(conn, filter, below)
    cursor = await conn.execute(ids + sql.SQL(" ORDER BY 1 DESC LIMIT %s"), [*values, limit], prepare=False)
    return [row[0] for row in await cursor.fetchall()]


async def count_matching(conn: Connection, filter: RunFilter, below: UUID | None = None) -> dict[str, int]:
    """How many there are, by flow. Raises Missing for an unknown flow."""
    ids, values = await _chosen(conn, filter, below)
    query = sql.SQL(
        "SELECT flows.name, count(*) FROM ({ids}) AS chosen JOIN runs USING (id) JOIN flows ON flows.id = runs.flow_id"
        " GROUP BY 1 ORDER BY 2 DESC, 1"
    ).format(ids=ids)
    return dict(await (await conn.execute(query, values, prepare=False)).fetchall())


async def _chosen(conn: Connection, filter: RunFilter, below: UUID | None) -> tuple[sql.Composed, list[Any]]:
    flow_id = (await find_flow(conn, filter.flow)).id if filter.flow else None
    lead = _LEADS[filter.status] if filter.status else _ACTIVE
    return _ids(lead, _of(lead, flow_id), filter.trigger, filter.since, filter.until, below)


_TASKS = sql.SQL(
    "SELECT step, status, attempt, queued_at, started_at, finished_at, NULL::timestamptz AS due_at, worker,"
    "   CASE WHEN %(outputs)s THEN outputs END AS outputs, error FROM tasks WHERE run_id = %(run)s"
    "   AND (%(step)s::text IS NULL OR step = %(step)s)"
    " UNION ALL"
    " SELECT step, CASE WHEN lane <> '@advance' AND fence IS NULL THEN 'QUEUED' ELSE 'RUNNING' END, attempt,"
    "   queued_at, started_at, NULL,"
    "   CASE WHEN ready_at > now() AND ready_at < %(never)s THEN ready_at END, worker, NULL, NULL"
    " FROM task_queue AS queue WHERE run_id = %(run)s AND step NOT IN ('', '!cancel')"
    "   AND (%(step)s::text IS NULL OR step = %(step)s)"
    "   AND NOT EXISTS (SELECT FROM tasks WHERE tasks.run_id = queue.run_id AND tasks.step = queue.step)"
)
_IN_ORDER = sql.SQL("{tasks} ORDER BY queued_at NULLS LAST, finished_at NULLS LAST, step").format(tasks=_TASKS)
_MOST = sql.SQL(
    "SELECT * FROM ({tasks}) AS task ORDER BY step LIKE '%%]', status NOT IN ('FAILED', 'RUNNING'),"
    " queued_at NULLS LAST, finished_at NULLS LAST, step LIMIT %(most)s"
).format(tasks=_TASKS)


async def list_tasks(
    conn: Connection, run_id: UUID, *, outputs: bool = True, most: int | None = None, step: str | None = None
) -> list[TaskRow]:
    """In the order in which they were queued; `outputs` False leaves those out (None). `step`: that one alone.

    Of more than `most` the items of a `foreach` are left out first, and of these those that failed last.
    """
    values = {"run": run_id, "outputs": outputs, "never": FOREVER, "step": step, "most": most}
    async with conn.cursor(row_factory=class_row(TaskRow)) as cursor:
        await cursor.execute(_IN_ORDER if most is None else _MOST, values)
        return await cursor.fetchall()


async def list_attempts(conn: Connection, run_id: UUID, step: str | None = None) -> list[TaskAttemptRow]:
    """The attempts before the last one, of a step or of all, in order."""
    async with conn.cursor(row_factory=class_row(TaskAttemptRow)) as cursor:
        await cursor.execute(
            "SELECT step, attempt, started_at, finished_at, retry_at, worker, error FROM task_attempts"
            " WHERE run_id = %s AND (%s::text IS NULL OR step = %s) ORDER BY step, attempt",
            [run_id, step, step],
        )
        return await cursor.fetchall()


def list_statement(
    status: RunStatus | None,
    flow_id: UUID | None,
    trigger: str | None,
    since: datetime | None,
    until: datetime | None,
    below: UUID | None,
    limit: int,
) -> tuple[sql.Composed, list[Any]]:
    """The statement of `list_runs`: the ids of the page, walked in an index's order, then what to show of them."""
    # With a flow its own index leads; else the succeeded are walked past the unfinished ones that are newer.
    lead = _LEADS[status] if status else _ANY
    by_flow = lead if status is not RunStatus.SUCCEEDED else replace(lead, id="runs.id")
    if flow_id is None and viewer_labels() is not None and by_flow.id == "runs.id":
        ids, values = _of_each(lead, by_flow, trigger, since, until, below, limit)
    else:
        lead = by_flow if flow_id else lead
        ids, values = _ids(lead, _of(lead, flow_id), trigger, since, until, below)
    columns, shown = _columns()
    query = sql.SQL(
        "WITH page AS MATERIALIZED ({ids} ORDER BY 1 DESC LIMIT %s)"
        " {columns} FROM page JOIN runs USING (id) {tables} ORDER BY page.id DESC"
    ).format(ids=ids, columns=columns, tables=_TABLES)
    return query, [*values, limit, *shown]


def _of(lead: _Lead, flow_id: UUID | None) -> Conditions:
    return visible_condition(lead.flow_id) if flow_id is None else [(f"{lead.flow_id} = %s", flow_id)]


def _of_each(
    lead: _Lead,
    by_flow: _Lead,
    trigger: str | None,
    since: datetime | None,
    until: datetime | None,
    below: UUID | None,
    limit: int,
) -> tuple[sql.Composed, list[Any]]:
    """The runs of flows that may be seen: a page's worth of the newest of all, else of each such flow.

    The way past the runs of all would read them all where few are meant, a page's worth of each flow far too many where
    most are: so the first is walked for the runs of _NEAR, and the second only where these hold no whole page.
    """
    # To both tables, as the other bounds.
    newest = [(f"{column} >= {_NEAR[lead.id]}", below or _LAST) for column in {lead.id: None, "runs.id": None}]
    near, near_values = _ids(lead, [*visible_condition(lead.flow_id), *newest], trigger, since, until, below)
    of_flow = replace(by_flow, chosen=f"{by_flow.chosen} AND runs.flow_id = flows.id")
    each, each_values = _ids(of_flow, [], trigger, since, until, below)
    filters = visible_condition("flows.id")
    query = sql.SQL(
        "WITH near AS MATERIALIZED ({near} ORDER BY 1 DESC LIMIT %s),"
        " held AS (SELECT count(*) >= %s AS whole FROM near)"
        " SELECT near.id FROM near WHERE (SELECT whole FROM held)"
        " UNION ALL SELECT one.id FROM flows CROSS JOIN LATERAL ({each} ORDER BY 1 DESC LIMIT %s) AS one"
        " WHERE NOT (SELECT whole FROM held) AND {mine}"
    ).format(near=near, each=each, mine=all_of(filters))
    return query, [*near_values, limit, limit, *each_values, limit, *(value for _, value in filters)]


def _ids(
    lead: _Lead,
    flows: Conditions,
    trigger: str | None,
    since: datetime | None,
    until: datetime | None,
    below: UUID | None,
) -> tuple[sql.Composed, list[Any]]:
    floor, ceiling = since and first_id(since - CLOCKS_APART), until and first_id(until + CLOCKS_APART)
    # To both tables: PostgreSQL carries an equality across a join, but not a range.
    filters: Conditions = [
        (f"{column} {compare} %s", bound)
        for column in {lead.id: None, "runs.id": None}
        for compare, bound in (("<", below), ("<", ceiling), (">=", floor))
        if bound
    ]
    if since:
        filters.append(("runs.created_at >= %s", since))
    if until:
        filters.append(("runs.created_at < %s", until))
    filters += flows
    if trigger:
        filters.append(("runs.trigger = %s", trigger))
    query = sql.SQL("SELECT {distinct} {id} AS id {chosen} AND {filters}").format(
        distinct=sql.SQL("DISTINCT" if lead.repeats else ""),
        id=sql.SQL(lead.id),
        chosen=sql.SQL(lead.chosen),
        filters=all_of(filters),
    )
    return query, [value for _, value in filters]


@dataclass(frozen=True, slots=True)
class _Lead:
    """What a page is walked along."""

    chosen: LiteralString  # FROM ... WHERE ..., as text: a parameter would hide the partial index from the planner
    id: LiteralString = "lead.run_id"
    flow_id: LiteralString = "runs.flow_id"
    repeats: bool = False


_UNFINISHED: LiteralString = "NOT EXISTS (SELECT FROM run_results AS r WHERE r.run_id = lead.run_id)"
_ANY = _Lead("FROM runs WHERE true", id="runs.id")
_RESULTS: LiteralString = "FROM run_results AS lead JOIN runs ON runs.id = lead.run_id WHERE lead.status ="
_QUEUE: LiteralString = "FROM task_queue AS lead JOIN runs ON runs.id = lead.run_id WHERE"
_ACTIVE = _Lead(f"{_QUEUE} {_UNFINISHED}", repeats=True)
_LEADS = {
    RunStatus.PENDING: _Lead(f"{_QUEUE} lead.step = '' AND {_UNFINISHED}"),
    RunStatus.RUNNING: _Lead(
        f"{_QUEUE} lead.step <> '' AND {_UNFINISHED}"
        " AND NOT EXISTS (SELECT FROM task_queue AS q WHERE q.run_id = lead.run_id AND q.step = '')",
        repeats=True,
    ),
    RunStatus.SUCCEEDED: _Lead(f"{_RESULTS} 'SUCCEEDED'"),
    RunStatus.FAILED: _Lead(f"{_RESULTS} 'FAILED'", flow_id="lead.flow_id"),
    RunStatus.CANCELLED: _Lead(f"{_RESULTS} 'CANCELLED'", flow_id="lead.flow_id"),
}


def _status(given: RunStatus | str | None) -> RunStatus | None:
    try:
        return RunStatus(given) if given else None
    except ValueError:
        raise Invalid(
            f"{str(given)[:50]!r} is not a status of a run.",
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


def first_id(moment: datetime) -> UUID:
    """The least UUIDv7 of a moment: its first 48 bits are milliseconds since 1970."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
