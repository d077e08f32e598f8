"""Dead letters: steps whose attempts are spent. They are written with the step's end (sql/complete_tasks.sql,
sql/finish_tasks.sql), and wait for a person: to be retried (store/run_retries.py) or discarded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.engine.states import RunStatus
from automata.errors import Conflict, Missing
from automata.store.flow_visibility import visible_letters
from automata.store.flows import find_flow
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.run_retries import ReopenedRun, not_failed, retry_steps
from automata.store.runs import get_run
from automata.store.scalars import fetch_column
from automata.store.where import Where

Connection = AsyncConnection[Any]
State = Literal["open", "retried", "discarded"]

MAX_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """`error` is the last one and holds the masked `request`, where there was one; `run_status` is the run's now.

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


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Which dead letters; None leaves a member open. `since` is included, `until` is not."""

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


async def retry_letter(conn: Connection, id: int, by: str | None = None) -> ReopenedRun:
    """Have the run go on at the letter's step. Notify `runs.pending` after the commit.

    Raises Missing; Conflict `dead_letter_resolved` when the letter is not open, `run_not_failed` when its run moves,
    succeeded all the same, or was cancelled.
    """
    if reopened := await retry_steps(conn, [id], by):
        return reopened[0]
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
    """Retry up to `limit` open letters past the id `after`, the oldest first, in one transaction."""
    ids = await _open_ids(conn, filter, after, limit)
    return replace(await retry_letters(conn, ids, by), after=_next(ids, limit))


async def discard_batch(
    conn: Connection, filter: DeadLetterFilter, after: int, limit: int, by: str | None = None
) -> DeadLetterBatch:
    """Discard up to `limit` open letters past the id `after`, the oldest first, in one transaction."""
    ids = await _open_ids(conn, filter, after, limit)
    return replace(await discard_letters(conn, ids, by), after=_next(ids, limit))


async def retry_letters(conn: Connection, ids: Sequence[int], by: str | None = None) -> DeadLetterBatch:
    """Have the runs of these letters go on at their steps; those in no state for it are left."""
    reopened = await retry_steps(conn, ids, by) if ids else []
    done = sum(len(run.letters) for run in reopened)
    return DeadLetterBatch(len(ids), done, tuple(run.run_id for run in reopened))


async def discard_letters(conn: Connection, ids: Sequence[int], by: str | None = None) -> DeadLetterBatch:
    """Close these letters; those that are closed already are left."""
    return DeadLetterBatch(len(ids), len(await _discard(conn, ids, by)) if ids else 0)


async def _open_ids(conn: Connection, filter: DeadLetterFilter, after: int, limit: int) -> list[int]:
    where = await _where(conn, filter, "open")
    where.add("letter.id > %(after)s", after=after)
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
    where.add_given("letter.flow_id = %(flow_id)s", flow_id=flow_id)
    where.add_given("letter.code = %(code)s", code=filter.code)
    where.add_given("letter.run_id = %(run_id)s", run_id=filter.run_id)
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
