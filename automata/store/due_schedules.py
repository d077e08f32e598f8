"""The scheduler's side of schedules: which are due, what their last run does, and what was decided about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from automata.flow.model import Schedule
from automata.store.database import Connection
from automata.store.scalars import fetch_column, fetch_value
from automata.store.schedules import schedule_of


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule with a fire time that nobody has decided about. `version_id` None: its flow has no version.

    `last_open`: the newest run of this schedule is not finished; `last_ended` when it finished.
    """

    id: UUID
    flow_id: UUID
    name: str
    version_id: UUID | None
    spec: Mapping[str, Any]
    next_fire_at: datetime
    now: datetime
    last_open: bool
    last_ended: datetime | None

    @property
    def schedule(self) -> Schedule:
        """What the schedule says; it counts as enabled, since it is due."""
        return schedule_of({**self.spec, "enabled": True})


@dataclass(frozen=True, slots=True)
class ScheduleDecision:
    """What to remember of a schedule. `fired_at` None: nothing was started; `error`: why, when that is a fault."""

    id: UUID
    next_fire_at: datetime | None
    fired_at: datetime | None = None
    error: str | None = None


# Index: schedules_due (partial, next_fire_at); runs_fire (schedule_id, scheduled_for) backwards for the newest run.
# Locks: schedules with SKIP LOCKED, so that a sync or an edit that holds one does not hold up the rest.
_TAKE = """
WITH due AS MATERIALIZED (
    SELECT schedules.id FROM schedules JOIN flows ON flows.id = flow_id
    WHERE next_fire_at <= coalesce(%(now)s::timestamptz, now()) AND archived_at IS NULL
      AND schedules.id <> ALL(%(without)s::uuid[])
    ORDER BY next_fire_at LIMIT %(limit)s
    FOR UPDATE OF schedules SKIP LOCKED
)
SELECT schedules.id, schedules.flow_id, schedules.name, flows.current_version_id AS version_id, spec, next_fire_at,
       coalesce(%(now)s::timestamptz, now()) AS now, newest.id IS NOT NULL AND run_results.run_id IS NULL AS last_open,
       run_results.finished_at AS last_ended
FROM due JOIN schedules USING (id) JOIN flows ON flows.id = schedules.flow_id
LEFT JOIN LATERAL (
    SELECT id FROM runs
    WHERE schedules.spec->>'overlap' IN ('skip', 'queue') AND schedule_id = schedules.id AND scheduled_for IS NOT NULL
    ORDER BY scheduled_for DESC LIMIT 1
) AS newest ON true
LEFT JOIN run_results ON run_results.run_id = newest.id
ORDER BY next_fire_at
"""


async def take_due(
    conn: Connection, limit: int, without: Sequence[UUID] = (), now: datetime | None = None
) -> list[DueSchedule]:
    """Up to `limit` due schedules, locked to the end of the transaction, longest due first. `now` is for tests."""
    cursor = await conn.execute(_TAKE, {"limit": limit, "without": list(without), "now": now})
    return [DueSchedule(*row) for row in await cursor.fetchall()]


async def record_decisions(conn: Connection, decisions: Sequence[ScheduleDecision]) -> None:
    """Move schedules on. One that was edited meanwhile cannot be: its row is locked."""
    await conn.execute(
        "UPDATE schedules SET next_fire_at = decision.next, last_fire_at = coalesce(decision.fired, last_fire_at),"
        " last_error = decision.error"
        " FROM unnest(%s::uuid[], %s::timestamptz[], %s::timestamptz[], %s::text[]) AS decision(id, next, fired, error)"
        " WHERE schedules.id = decision.id",
        [
            [decision.id for decision in decisions],
            [decision.next_fire_at for decision in decisions],
            [decision.fired_at for decision in decisions],
            [decision.error for decision in decisions],
        ],
    )


async def next_fire_sec(conn: Connection, without: Sequence[UUID] = ()) -> float | None:
    """Seconds until the next schedule is due, 0 when one is, None when there is none."""
    seconds = await fetch_value(
        conn,
        "SELECT greatest(0, extract(epoch FROM next_fire_at - now()))::float8 FROM schedules"
        " WHERE next_fire_at IS NOT NULL AND id <> ALL(%s::uuid[]) ORDER BY next_fire_at LIMIT 1",
        [list(without)],
    )
    return None if seconds is None else float(seconds)


async def fired(conn: Connection, schedule_id: UUID, times: Sequence[datetime]) -> set[datetime]:
    """Those of the fire times that have a run."""
    fired_at = await fetch_column(
        conn,
        "SELECT scheduled_for FROM runs WHERE schedule_id = %s AND scheduled_for = ANY(%s::timestamptz[])",
        [schedule_id, list(times)],
    )
    return set(fired_at)
