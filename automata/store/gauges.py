"""How things stand in the whole system, in a few reads whose cost does not grow with the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from automata.store.database import Connection
from automata.store.presence import ALIVE_SEC

# Counting is reading, so it ends somewhere: above this it does not matter how many more there are.
MAX_COUNTED = 100_000
MAX_QUEUES = 50
TIMEOUT = "2s"


@dataclass(frozen=True, slots=True)
class Gauges:
    """`tasks`: (queue, state) -> rows, state `ready`, `delayed` or `running`. Ages are seconds, 0.0 for none."""

    tasks: dict[tuple[str, str], int]
    oldest_ready: dict[str, float]
    processes: dict[str, int]
    dead_letters: int
    approvals: int
    notifications: int
    schedule_overdue: float


async def read_gauges(conn: Connection) -> Gauges:
    """`conn` is in a transaction. Raises Unavailable, also for a database that takes longer than TIMEOUT."""
    await conn.execute(f"SET LOCAL statement_timeout = '{TIMEOUT}'".encode())
    tasks, ages = await _queue(conn)
    (letters, approvals, pending, overdue), *_ = await _rows(conn, _ODDS, {"most": MAX_COUNTED})
    parts = await _rows(conn, _PARTS, {"alive": ALIVE_SEC})
    return Gauges(tasks, ages, dict(parts), letters, approvals, pending, max(0.0, overdue))


async def _queue(conn: Connection) -> tuple[dict[tuple[str, str], int], dict[str, float]]:
    counted = await _rows(conn, _TASKS, {"most": MAX_COUNTED, "queues": MAX_QUEUES})
    oldest = await _rows(conn, _OLDEST, {"queues": MAX_QUEUES})
    return {(lane, state): count for lane, state, count in counted}, {lane: max(0.0, age) for lane, age in oldest}


async def _rows(conn: Connection, query: str, values: dict[str, Any]) -> list[Any]:
    return await (await conn.execute(query.encode(), values, prepare=True)).fetchall()


_TASKS = """
SELECT lane, CASE WHEN fence IS NOT NULL THEN 'running' WHEN ready_at <= now() THEN 'ready' ELSE 'delayed' END AS state,
       count(*)
FROM (SELECT lane, fence, ready_at FROM task_queue LIMIT %(most)s) AS counted
GROUP BY lane, state ORDER BY lane, state LIMIT 3 * %(queues)s
"""
# From lane to lane along the index (lane, ready_at): as many steps as there are lanes, however long they are. A due
# time may lie before the entry (engine/fairness.py).
_OLDEST = """
WITH RECURSIVE lanes AS (
    (SELECT lane, greatest(ready_at, queued_at) AS since, 1 AS n FROM task_queue ORDER BY lane, ready_at LIMIT 1)
    UNION ALL
    SELECT later.lane, later.since, n + 1 FROM lanes, LATERAL (
        SELECT lane, greatest(ready_at, queued_at) AS since FROM task_queue
        WHERE lane > lanes.lane ORDER BY lane, ready_at LIMIT 1
    ) AS later WHERE n < %(queues)s
)
SELECT lane, extract(epoch FROM now() - since)::float8 FROM lanes
"""
_ODDS = """
SELECT (SELECT count(*) FROM (SELECT FROM dead_letters WHERE state = 'open' LIMIT %(most)s) AS letters),
       (SELECT count(*) FROM (SELECT reads FROM task_queue WHERE lane = '@advance' LIMIT %(most)s) AS waiting
        WHERE reads[1] = 'approval'),
       (SELECT count(*) FROM (SELECT FROM notifications WHERE state = 'pending' LIMIT %(most)s) AS pending),
       coalesce((SELECT extract(epoch FROM now() - min(next_fire_at))::float8 FROM schedules
                 WHERE next_fire_at IS NOT NULL), 0)
"""
_PARTS = """
SELECT part, count(*) FROM processes, unnest(parts) AS part
WHERE seen_at > now() - make_interval(secs => %(alive)s) GROUP BY part
"""
