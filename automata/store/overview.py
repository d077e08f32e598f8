"""What the console's first page counts. Every statement walks an index, or a table that holds only what is to come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.store.limits import also, limited_to
from automata.store.queue import ADVANCE, APPROVAL
from automata.store.runs import CLOCKS_APART, first_id

Connection = AsyncConnection[Any]

MAX_LETTERS = 10_000  # more are not counted: the page says "more than"
ACTIVE = "ACTIVE"


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs of one bucket ended in one status, or are ACTIVE; buckets count from 0 at the tally's `since`."""

    bucket: int
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class FlowFailures:
    flow: str
    failed: int
    total: int
    last_run: UUID
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """One queue: what a worker holds, what is ready for one, and what waits for its time."""

    lane: str
    held: int
    ready: int
    later: int


@dataclass(frozen=True, slots=True)
class Mark:
    """One run in a flow's sparkline; `seconds` None while it moves."""

    flow_id: UUID
    id: UUID
    status: str
    seconds: float | None


async def tally(conn: Connection, since: datetime, bucket_sec: int) -> list[Count]:
    """Runs since `since` by the time they began in, the queue's by the time they were made."""
    query = sql.SQL(
        "SELECT greatest(0, floor(extract(epoch FROM started_at - %(since)s) / %(size)s))::int, status, count(*)::int"
        " FROM run_results WHERE run_id >= %(floor)s {ended} GROUP BY 1, 2"
        " UNION ALL SELECT greatest(0, floor(extract(epoch FROM runs.created_at - %(since)s) / %(size)s))::int,"
        "   %(active)s, count(*)::int"
        " FROM (SELECT DISTINCT run_id FROM task_queue WHERE run_id >= %(floor)s"
        "   AND NOT EXISTS (SELECT FROM run_results WHERE run_results.run_id = task_queue.run_id)) AS moving"
        " JOIN runs ON runs.id = moving.run_id WHERE true {moving} GROUP BY 1"
    ).format(ended=also("run_results.flow_id"), moving=also("runs.flow_id"))
    values = {"since": since, "size": bucket_sec, "floor": first_id(since - CLOCKS_APART), "active": ACTIVE}
    cursor = await conn.execute(query, {**values, "labels": limited_to()}, prepare=False)
    return [Count(*row) for row in await cursor.fetchall()]


async def failing(conn: Connection, since: datetime, limit: int) -> list[FlowFailures]:
    """Flows with runs that failed since `since`, the most first."""
    async with conn.cursor(row_factory=class_row(FlowFailures)) as cursor:
        query = sql.SQL(
            "WITH worst AS MATERIALIZED (SELECT flow_id, count(*)::int AS failed, max(run_id::text)::uuid AS last_run"
            "   FROM run_results WHERE status = 'FAILED' AND run_id >= %(floor)s {mine}"
            "   GROUP BY flow_id ORDER BY 2 DESC, flow_id LIMIT %(limit)s)"
            " SELECT flows.name AS flow, worst.failed, worst.last_run, last.finished_at AS last_at,"
            "   (SELECT count(*)::int FROM runs WHERE runs.flow_id = worst.flow_id AND runs.id >= %(floor)s) AS total"
            " FROM worst JOIN flows ON flows.id = worst.flow_id JOIN run_results AS last ON last.run_id = last_run"
            " ORDER BY worst.failed DESC, flows.name"
        ).format(mine=also("run_results.flow_id"))
        values = {"floor": first_id(since), "limit": limit, "labels": limited_to()}
        await cursor.execute(query, values, prepare=False)
        return await cursor.fetchall()


async def queue_depth(conn: Connection) -> list[Depth]:
    """The queues that hold anything; `@advance`, the orchestrator's own, last."""
    async with conn.cursor(row_factory=class_row(Depth)) as cursor:
        query = sql.SQL(
            "SELECT lane, count(*) FILTER (WHERE fence IS NOT NULL)::int AS held,"
            " count(*) FILTER (WHERE fence IS NULL AND ready_at <= now())::int AS ready,"
            " count(*) FILTER (WHERE fence IS NULL AND ready_at > now())::int AS later"
            " FROM task_queue WHERE true {mine} GROUP BY lane ORDER BY starts_with(lane, '@'), lane"
        ).format(mine=_of_runs())
        await cursor.execute(query, {"labels": limited_to()})
        return await cursor.fetchall()


async def open_letters(conn: Connection) -> int:
    """At most MAX_LETTERS + 1."""
    query = sql.SQL(
        "SELECT count(*) FROM (SELECT FROM dead_letters WHERE state = 'open' {mine} LIMIT %(most)s) AS found"
    ).format(mine=also("flow_id"))
    cursor = await conn.execute(query, {"most": MAX_LETTERS + 1, "labels": limited_to()})
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def open_approvals(conn: Connection) -> int:
    """At most MAX_LETTERS + 1."""
    query = sql.SQL(
        "SELECT count(*) FROM (SELECT FROM task_queue WHERE lane = %(lane)s AND ready_at > now()"
        " AND reads[1] = %(kind)s {mine} LIMIT %(most)s) AS found"
    ).format(mine=_of_runs())
    values = {"lane": ADVANCE, "kind": APPROVAL, "most": MAX_LETTERS + 1, "labels": limited_to()}
    cursor = await conn.execute(query, values)
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def count_flows(conn: Connection) -> int:
    """Flows that are in use."""
    query = sql.SQL("SELECT count(*) FROM flows WHERE archived_at IS NULL {mine}").format(mine=also("flows.id"))
    row = await (await conn.execute(query, {"labels": limited_to()})).fetchone()
    return int(row[0]) if row else 0


def _of_runs() -> sql.Composable:
    """The condition of a statement on the queue, which knows runs and no flows."""
    if limited_to() is None:
        return sql.SQL("")
    return sql.SQL(" AND EXISTS (SELECT FROM runs WHERE runs.id = task_queue.run_id {mine})").format(
        mine=also("runs.flow_id")
    )


async def last_runs(conn: Connection, flow_ids: Iterable[UUID], each: int) -> dict[UUID, list[Mark]]:
    """Up to `each` of the newest runs of every flow, oldest first."""
    async with conn.cursor(row_factory=class_row(Mark)) as cursor:
        await cursor.execute(
            "SELECT flow.id AS flow_id, run.id, coalesce(result.status, 'ACTIVE') AS status,"
            " extract(epoch FROM result.finished_at - result.started_at)::float8 AS seconds"
            " FROM unnest(%s::uuid[]) AS flow(id),"
            " LATERAL (SELECT id FROM runs WHERE flow_id = flow.id ORDER BY id DESC LIMIT %s) AS run"
            " LEFT JOIN run_results AS result ON result.run_id = run.id ORDER BY run.id",
            [list(flow_ids), each],
        )
        found: dict[UUID, list[Mark]] = {}
        for mark in await cursor.fetchall():
            found.setdefault(mark.flow_id, []).append(mark)
        return found
