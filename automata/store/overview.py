"""What the console's first page counts. Every statement walks an index, or a table that holds only what is to come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.store.flow_visibility import and_visible, viewer_labels, viewer_values
from automata.store.ids import CLOCKS_APART, first_id
from automata.store.scalars import fetch_value
from automata.store.sql import with_fragments

Connection = AsyncConnection[Any]

MAX_COUNTED = 10_000  # more are not counted: the page says "more than"
ACTIVE = "ACTIVE"


@dataclass(frozen=True, slots=True)
class RunCount:
    """How many runs of one bucket ended in one status, or are ACTIVE; buckets count from 0 at the tally's `since`."""

    bucket: int
    status: str
    count: int


@dataclass(frozen=True, slots=True)
class FlowFailures:
    """How many of a flow's runs failed, of how many, and the last one of these."""

    flow: str
    failed: int
    total: int
    last_run: UUID
    last_at: datetime


@dataclass(frozen=True, slots=True)
class LaneDepth:
    """One queue: what a worker holds, what is ready for one, and what waits for its time."""

    lane: str
    held: int
    ready: int
    later: int


@dataclass(frozen=True, slots=True)
class RecentRun:
    """One run in a flow's sparkline; `seconds` None while it moves."""

    flow_id: UUID
    id: UUID
    status: str
    seconds: float | None


async def count_runs(conn: Connection, since: datetime, bucket_sec: int) -> list[RunCount]:
    """Runs since `since` by the time they began in, the queue's by the time they were made."""
    query = sql.SQL(
        "SELECT greatest(0, floor(extract(epoch FROM started_at - %(since)s) / %(size)s))::int, status, count(*)::int"
        " FROM run_results WHERE run_id >= %(floor)s {ended} GROUP BY 1, 2"
        " UNION ALL SELECT greatest(0, floor(extract(epoch FROM runs.created_at - %(since)s) / %(size)s))::int,"
        "   %(active)s, count(*)::int"
        " FROM (SELECT DISTINCT run_id FROM task_queue WHERE run_id >= %(floor)s"
        "   AND NOT EXISTS (SELECT FROM run_results WHERE run_results.run_id = task_queue.run_id)) AS moving"
        " JOIN runs ON runs.id = moving.run_id WHERE true {moving} GROUP BY 1"
    ).format(ended=and_visible("run_results.flow_id"), moving=and_visible("runs.flow_id"))
    values = {"since": since, "size": bucket_sec, "floor": first_id(since - CLOCKS_APART), "active": ACTIVE}
    cursor = await conn.execute(query, values | viewer_values(), prepare=False)
    return [RunCount(*row) for row in await cursor.fetchall()]


async def failing_flows(conn: Connection, since: datetime, limit: int) -> list[FlowFailures]:
    """Flows with runs that failed since `since`, the most first."""
    async with conn.cursor(row_factory=class_row(FlowFailures)) as cursor:
        query = sql.SQL(
            "WITH worst AS MATERIALIZED (SELECT flow_id, count(*)::int AS failed, max(run_id::text)::uuid AS last_run"
            "   FROM run_results WHERE status = 'FAILED' AND run_id >= %(floor)s {visible}"
            "   GROUP BY flow_id ORDER BY 2 DESC, flow_id LIMIT %(limit)s)"
            " SELECT flows.name AS flow, worst.failed, worst.last_run, last.finished_at AS last_at,"
            "   (SELECT count(*)::int FROM runs WHERE runs.flow_id = worst.flow_id AND runs.id >= %(floor)s) AS total"
            " FROM worst JOIN flows ON flows.id = worst.flow_id JOIN run_results AS last ON last.run_id = last_run"
            " ORDER BY worst.failed DESC, flows.name"
        ).format(visible=and_visible("run_results.flow_id"))
        values = {"floor": first_id(since), "limit": limit, **viewer_values()}
        await cursor.execute(query, values, prepare=False)
        return await cursor.fetchall()


async def queue_depth(conn: Connection) -> list[LaneDepth]:
    """The queues that hold anything; that of the orchestrators last."""
    async with conn.cursor(row_factory=class_row(LaneDepth)) as cursor:
        query = sql.SQL(
            with_fragments(
                "SELECT lane, count(*) FILTER (WHERE fence IS NOT NULL)::int AS held,"
                " count(*) FILTER (WHERE fence IS NULL AND ready_at <= now())::int AS ready,"
                " count(*) FILTER (WHERE fence IS NULL AND ready_at > now())::int AS later"
                " FROM task_queue WHERE true {visible} GROUP BY lane ORDER BY lane = ${ADVANCE}, lane"
            )
        ).format(visible=_and_visible_runs())
        await cursor.execute(query, viewer_values())
        return await cursor.fetchall()


async def open_letters(conn: Connection) -> int:
    """At most MAX_COUNTED + 1."""
    query = sql.SQL(
        "SELECT count(*) FROM (SELECT FROM dead_letters WHERE state = 'open' {visible} LIMIT %(limit)s) AS open"
    ).format(visible=and_visible("flow_id"))
    return int(await fetch_value(conn, query, {"limit": MAX_COUNTED + 1, **viewer_values()}))


async def open_approvals(conn: Connection) -> int:
    """At most MAX_COUNTED + 1."""
    query = sql.SQL(
        with_fragments(
            "SELECT count(*) FROM (SELECT FROM task_queue WHERE lane = ${ADVANCE} AND ready_at > now()"
            " AND ${WAITS_FOR_APPROVAL} {visible} LIMIT %(limit)s) AS open"
        )
    ).format(visible=_and_visible_runs())
    return int(await fetch_value(conn, query, {"limit": MAX_COUNTED + 1, **viewer_values()}))


async def count_flows(conn: Connection) -> int:
    """Flows that are in use."""
    query = sql.SQL("SELECT count(*) FROM flows WHERE archived_at IS NULL {visible}").format(
        visible=and_visible("flows.id")
    )
    return int(await fetch_value(conn, query, viewer_values()))


def _and_visible_runs() -> sql.Composable:
    """The condition of a statement on the queue, which knows runs and no flows."""
    if viewer_labels() is None:
        return sql.SQL("")
    return sql.SQL(" AND EXISTS (SELECT FROM runs WHERE runs.id = task_queue.run_id {visible})").format(
        visible=and_visible("runs.flow_id")
    )


async def recent_runs(conn: Connection, flow_ids: Iterable[UUID], each: int) -> dict[UUID, list[RecentRun]]:
    """Up to `each` of the newest runs of every flow, oldest first."""
    async with conn.cursor(row_factory=class_row(RecentRun)) as cursor:
        await cursor.execute(
            "SELECT flow.id AS flow_id, run.id, coalesce(result.status, 'ACTIVE') AS status,"
            " extract(epoch FROM result.finished_at - result.started_at)::float8 AS seconds"
            " FROM unnest(%s::uuid[]) AS flow(id),"
            " LATERAL (SELECT id FROM runs WHERE flow_id = flow.id ORDER BY id DESC LIMIT %s) AS run"
            " LEFT JOIN run_results AS result ON result.run_id = run.id ORDER BY run.id",
            [list(flow_ids), each],
        )
        by_flow: dict[UUID, list[RecentRun]] = {}
        for run in await cursor.fetchall():
            by_flow.setdefault(run.flow_id, []).append(run)
        return by_flow
