"""Dead letters: steps whose attempts are spent. They are written with the step's end (sql/complete_tasks.sql,
sql/finish_tasks.sql), and wait for a person: to be retried (store/run_retries.py) or discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, LiteralString, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.engine.states import RunStatus
from automata.errors import Conflict, Missing
from automata.store.flow_visibility import visible_condition, visible_letters
from automata.store.flows import find_flow
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.run_retries import ReopenedRun, not_failed, retry_steps, runs_above, runs_of_letters
from automata.store.runs import get_run
from automata.store.scalars import fetch_column
from automata.store.where import Where

Connection = AsyncConnection[Any]
State = Literal["open", "retried", "discarded"]

MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """`error` is the last one and holds the masked `request`, where there was one; `run_status` is the run's now.

    `step` is empty for a run that failed by none of its steps.

    `inputs` are the run's, for masking; they are None in lists where the version declares no secret input.
    """

    id: int
    run_id: UUID
    run_status: RunStatus | None
    flow_id: UUID
    flow_name: str
    version_id: UUID
    version: int
    step: str
    attempts: int
    code: str
    error: Mapping[str, Any] | None
    state: State
    created_at: datetime
    resolved_at: datetime | None
    resolved_by: str | None
    inputs: Mapping[str, Any] | None


class ParentRow(NamedTuple):
    """A run above that failed with a run, at the step that had waited for it."""

    run_id: UUID
    flow_name: str
    step: str


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters; None leaves a member open. `since` is included, `until` is not.

    `flow` and `run_id` are the letter's own, or of a run above.
    """

    flow: str | None = None
    code: str | None = None
    run_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __bool__(self) -> bool:
        return any((self.flow, self.code, self.run_id, self.since, self.until))


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """How many open dead letters of one flow have one code."""

    flow: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class DeadLetterBatch:
    """What became of one batch: `done` letters of `chosen`, the rest was not in a state for it.

    `runs` go on. `after` is where the next batch begins, None when there is none.
    """

    chosen: int
    done: int
    runs: tuple[UUID, ...] = ()
    after: int | None = None


_SELECT = sql.SQL(
    "SELECT letter.id, letter.run_id, letter.flow_id, flows.name AS flow_name, letter.version_id,"
    " version.number AS version, letter.step, letter.attempts, letter.code, letter.error, letter.state,"
    " letter.created_at, letter.resolved_at, letter.resolved_by, result.status AS run_status,"
    " CASE WHEN version.spec -> 'inputs' @? '$.*.secret ? (@ == true)' THEN runs.inputs END AS inputs"
    " FROM dead_letters AS letter JOIN flows ON flows.id = letter.flow_id"
    " JOIN flow_versions AS version ON version.id = letter.version_id JOIN runs ON runs.id = letter.run_id"
    " LEFT JOIN run_results AS result ON result.run_id = letter.run_id"
)


# A run that waited for another has no letter of its own: that of the run below is meant where the run, or its flow, is.
_OF_FLOW_ABOVE: LiteralString = (
    "EXISTS (WITH RECURSIVE above AS ("
    " SELECT run.parent_run_id AS id FROM runs AS run WHERE run.id = letter.run_id AND run.parent_run_id IS NOT NULL"
    " UNION ALL SELECT run.parent_run_id FROM above JOIN runs AS run USING (id) WHERE run.parent_run_id IS NOT NULL)"
    " SELECT FROM above JOIN runs AS run USING (id) WHERE run.flow_id = %(flow_id)s)"
)
_NAMED_RUN: LiteralString = "WITH RECURSIVE below AS (SELECT run.id FROM runs AS run WHERE "
_RUNS_BELOW: LiteralString = (
    " UNION ALL SELECT run.id FROM below JOIN runs AS run ON run.parent_run_id = below.id) SELECT id FROM below"
)


def _runs_below() -> LiteralString:
    """A run that the viewer may see, with those below it: of another one nothing is found that is the viewer's own."""
    visible = visible_condition("run.flow_id")
    condition: LiteralString = f"run.id = %(run_id)s AND {visible}" if visible else "run.id = %(run_id)s"
    return "".join((_NAMED_RUN, condition, _RUNS_BELOW))


async def list_letters(
    conn: Connection,
    filter: DeadLetterFilter,
    *,
    state: State | None = "open",
    after: str | None = None,
    limit: int | None = None,
) -> Page[DeadLetterRow]:
    """The newest first; `after` is the cursor of the page before. Raises Missing for an unknown flow, Invalid."""
    limit = clamp(limit)
    where = await _where(conn, filter, state)
    where.add_given("letter.id < %(below)s", below=None if after is None else _last_seen(after))
    query = _SELECT + sql.SQL(" WHERE {} ORDER BY letter.id DESC LIMIT %(limit)s").format(where.clause())
    async with conn.cursor(row_factory=class_row(DeadLetterRow)) as cursor:
        await cursor.execute(query, where.values | {"limit": limit + 1}, prepare=False)
        return page(await cursor.fetchall(), limit, lambda row: (str(row.id),))


async def get_letter(conn: Connection, id: int) -> DeadLetterRow:
    """Raises Missing."""
    async with conn.cursor(row_factory=class_row(DeadLetterRow)) as cursor:
        if 0 < id <= MAX_ID:
            where = Where()
            where.add("letter.id = %(id)s", id=id)
            where.add_visible("letter.flow_id")
            await cursor.execute(_SELECT + sql.SQL(" WHERE ") + where.clause(), where.values)
            if row := await cursor.fetchone():
                return row
    raise Missing(f"There is no dead letter {str(id)[:30]}.")


async def failed_parents(conn: Connection, runs: Sequence[UUID]) -> dict[UUID, list[ParentRow]]:
    """The visible runs above that failed with each of these runs, the nearest first."""
    where = Where()
    where.add_visible("parent.flow_id")
    query = sql.SQL(
        "WITH RECURSIVE above AS ("
        " SELECT run.id AS run_id, run.parent_run_id AS id, run.parent_step AS step, 1 AS distance"
        " FROM runs AS run JOIN tasks ON tasks.run_id = run.parent_run_id AND tasks.step = run.parent_step"
        " WHERE run.id = ANY(%(runs)s::uuid[]) AND tasks.status = 'FAILED'"
        " UNION ALL SELECT above.run_id, run.parent_run_id, run.parent_step, distance + 1"
        " FROM above JOIN runs AS run USING (id)"
        " JOIN tasks ON tasks.run_id = run.parent_run_id AND tasks.step = run.parent_step"
        " WHERE tasks.status = 'FAILED')"
        " SELECT above.run_id, parent.id, flows.name, above.step FROM above JOIN runs AS parent USING (id)"
        " JOIN flows ON flows.id = parent.flow_id WHERE {} ORDER BY distance"
    ).format(where.clause())
    parents: dict[UUID, list[ParentRow]] = {}
    cursor = await conn.execute(query, where.values | {"runs": list(runs)})
    for run_id, *parent in await cursor.fetchall():
        parents.setdefault(run_id, []).append(ParentRow(*parent))
    return parents


async def retry_letter(conn: Connection, id: int, by: str | None = None) -> ReopenedRun:
    """Have the run go on at the letter's step, and those above with it. Notify `runs.pending` after the commit.

    Raises Missing; Conflict `dead_letter_resolved` when the letter is not open, `run_not_failed` when its run moves,
    succeeded all the same, or was cancelled.
    """
    for reopened in await retry_steps(conn, [id], by):
        if id in reopened.letters:
            return reopened
    letter = await get_letter(conn, id)
    if letter.state != "open":
        raise _resolved(letter)
    raise not_failed(await get_run(conn, letter.run_id))


async def discard_letter(conn: Connection, id: int, by: str | None = None) -> None:
    """Close a letter without trying again; its run stays as it is. Raises Missing, Conflict `dead_letter_resolved`."""
    if not await _discard(conn, [id], by):
        raise _resolved(await get_letter(conn, id))


async def count_open(conn: Connection, filter: DeadLetterFilter) -> list[DeadLetterGroup]:
    """What a bulk command would find, by flow and code, the largest first."""
    where = await _where(conn, filter, "open")
    query = sql.SQL(
        "SELECT flows.name AS flow, letter.code, count(*) AS count"
        " FROM dead_letters AS letter JOIN flows ON flows.id = letter.flow_id WHERE {}"
        " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
    ).format(where.clause())
    async with conn.cursor(row_factory=class_row(DeadLetterGroup)) as cursor:
        await cursor.execute(query, where.values, prepare=False)
        return await cursor.fetchall()


async def retry_batch(
    conn: Connection, filter: DeadLetterFilter, after: int, limit: int, by: str | None = None
) -> DeadLetterBatch:
    """Retry up to `limit` open letters past the id `after`, the oldest first, in one transaction.

    Those that the filter finds of the same runs, and of the runs above, are retried with them: in a later transaction
    these runs would be on their way.
    """
    ids = await _open_ids(conn, filter, after, limit)
    runs = await runs_of_letters(conn, ids)
    together = await _open_ids(conn, filter, after, None, [*runs, *await runs_above(conn, runs)]) if runs else []
    return replace(await retry_letters(conn, together, by), after=_next(ids, limit))


async def discard_batch(
    conn: Connection, filter: DeadLetterFilter, after: int, limit: int, by: str | None = None
) -> DeadLetterBatch:
    """Discard up to `limit` open letters past the id `after`, the oldest first, in one transaction."""
    ids = await _open_ids(conn, filter, after, limit)
    return replace(await discard_letters(conn, ids, by), after=_next(ids, limit))


async def retry_letters(conn: Connection, ids: Sequence[int], by: str | None = None) -> DeadLetterBatch:
    """Have the runs of these letters go on at their steps; those in no state for it are left."""
    reopened = await retry_steps(conn, ids, by) if ids else []
    done = {letter for run in reopened for letter in run.letters} & set(ids)
    return DeadLetterBatch(len(ids), len(done), tuple(run.run_id for run in reopened))


async def discard_letters(conn: Connection, ids: Sequence[int], by: str | None = None) -> DeadLetterBatch:
    """Close these letters; those that are closed already are left."""
    return DeadLetterBatch(len(ids), len(await _discard(conn, ids, by)) if ids else 0)


async def _open_ids(
    conn: Connection, filter: DeadLetterFilter, after: int, limit: int | None, runs: Sequence[UUID] | None = None
) -> list[int]:
    """`runs`: of these alone; `limit` None: all."""
    where = await _where(conn, filter, "open")
    where.add("letter.id > %(after)s", after=after)
    where.add_given("letter.run_id = ANY(%(runs)s::uuid[])", runs=runs)
    query = sql.SQL("SELECT letter.id FROM dead_letters AS letter WHERE {} ORDER BY letter.id LIMIT %(limit)s")
    values = where.values | {"limit": limit}
    return await fetch_column(conn, query.format(where.clause()), values, prepare=False)


async def _discard(conn: Connection, ids: Sequence[int], by: str | None) -> list[int]:
    return await fetch_column(
        conn,
        "WITH open_letters AS MATERIALIZED ("
        "  SELECT id FROM dead_letters WHERE id = ANY(%s::bigint[]) AND state = 'open' ORDER BY id FOR UPDATE)"
        " UPDATE dead_letters AS letter SET state = 'discarded', resolved_at = now(), resolved_by = %s"
        " FROM open_letters WHERE letter.id = open_letters.id RETURNING letter.id",
        [await visible_letters(conn, [id for id in ids if 0 < id <= MAX_ID]), by],
    )


async def _where(conn: Connection, filter: DeadLetterFilter, state: State | None) -> Where:
    flow_id = (await find_flow(conn, filter.flow)).id if filter.flow else None
    where = Where()
    where.add_given("letter.state = %(state)s", state=state)
    where.add_given(f"(letter.flow_id = %(flow_id)s OR {_OF_FLOW_ABOVE})", flow_id=flow_id)
    where.add_given("letter.code = %(code)s", code=filter.code)
    where.add_given(f"letter.run_id IN ({_runs_below()})", run_id=filter.run_id)
    where.add_given("letter.created_at >= %(since)s", since=filter.since)
    where.add_given("letter.created_at < %(until)s", until=filter.until)
    where.add_visible("letter.flow_id")
    return where


def _next(ids: Sequence[int], limit: int) -> int | None:
    return ids[-1] if len(ids) == limit else None


def _last_seen(cursor: str) -> int:
    (id,) = decode(cursor, 1)
    if not id.isascii() or not id.isdigit() or len(id) > 18:
        raise bad_cursor()
    return int(id)


def _resolved(letter: DeadLetterRow) -> Conflict:
    who = f" by {letter.resolved_by}" if letter.resolved_by else ""
    return Conflict(
        f"The dead letter {letter.id} was {letter.state}{who} already.",
        code="dead_letter_resolved",
        hint=f"See the run: `automata run show {letter.run_id}`.",
        details={"state": letter.state, "run_id": str(letter.run_id)},
    )
