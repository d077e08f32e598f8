"""Schedules: those that flows declare, those made through the API, and when each is due next.

`next_fire_at` is the first fire time that nobody has decided about: the scheduler plans what lies between it and now,
then moves it on. It is NULL while the schedule is disabled or its flow archived, so that `next_fire_at <= now()` alone
finds what is due. Only here is it set for the first time, and always counted from the database's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.engine.schedule import next_times
from automata.errors import Conflict, Missing
from automata.flow.model import Schedule
from automata.store.flow_visibility import and_visible, viewer_values
from automata.store.json_codec import dumps
from automata.store.pagination import Page, clamp, decode, page
from automata.store.scalars import fetch_value

Connection = AsyncConnection[Any]
Origin = Literal["git", "api"]
State = Literal["on", "paused", "late"]
SHOWN_FIRES = 5
# Schedulers look every few seconds: until then a fire that is due is on its way.
LATE_SEC = 15


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """`spec` as written in the flow; `enabled` is what counts, its value in `spec` is only what the file says."""

    id: UUID
    flow_id: UUID
    flow_name: str
    name: str
    origin: Origin
    spec: Mapping[str, Any]
    enabled: bool
    archived: bool
    next_fire_at: datetime | None
    last_fire_at: datetime | None
    last_error: str | None
    created_at: datetime
    updated_at: datetime
    now: datetime

    @property
    def schedule(self) -> Schedule:
        """What the schedule says, with the switch as it is now."""
        return schedule_of({**self.spec, "enabled": self.enabled})

    @property
    def late_sec(self) -> float:
        """For how long nobody has decided about a fire that is due; 0 for less than LATE_SEC."""
        waited = (self.now - self.next_fire_at).total_seconds() if self.next_fire_at else 0.0
        return waited if waited > LATE_SEC else 0.0

    def next_fires(self, count: int = SHOWN_FIRES) -> list[datetime]:
        """UTC instants after the read; none while it is disabled or its flow archived."""
        return next_times(self.schedule, self.now, count) if self.enabled and not self.archived else []


def schedule_of(spec: Mapping[str, Any]) -> Schedule:
    """The value of a stored schedule."""
    return Schedule(**{name: spec[name] for name in Schedule.__slots__ if name in spec})


_SELECT = sql.SQL(
    "SELECT schedules.id, flow_id, flows.name AS flow_name, schedules.name, origin, spec, enabled,"
    " flows.archived_at IS NOT NULL AS archived, next_fire_at, last_fire_at, last_error,"
    " schedules.created_at, schedules.updated_at, now() AS now"
    " FROM schedules JOIN flows ON flows.id = schedules.flow_id WHERE {which}{visible}"
)


_STATES: Mapping[State | None, LiteralString] = {
    None: "true",
    "on": "enabled",
    "paused": "NOT enabled",
    "late": f"next_fire_at < now() - make_interval(secs => {LATE_SEC})",
}


def _select(which: LiteralString) -> sql.Composed:
    return _SELECT.format(which=sql.SQL(which), visible=and_visible("schedules.flow_id"))


async def next_schedules(conn: Connection, limit: int) -> list[ScheduleRow]:
    """Those that fire next, the first first."""
    async with conn.cursor(row_factory=class_row(ScheduleRow)) as cursor:
        query = _select("next_fire_at IS NOT NULL") + sql.SQL(" ORDER BY next_fire_at LIMIT %(limit)s")
        await cursor.execute(query, {"limit": clamp(limit), **viewer_values()})
        return await cursor.fetchall()


async def list_schedules(
    conn: Connection,
    *,
    flow_id: UUID | None = None,
    state: State | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page[ScheduleRow]:
    """By flow and name; `after` is the cursor of the page before."""
    limit = clamp(limit)
    seen = decode(after, 2) if after else ["", ""]
    async with conn.cursor(row_factory=class_row(ScheduleRow)) as cursor:
        query = _select(
            "(flows.name, schedules.name) > (%(flow_name)s, %(name)s)"
            " AND (%(flow)s::uuid IS NULL OR flow_id = %(flow)s)"
            f" AND {_STATES[state]}"
        )
        values = {"flow_name": seen[0], "name": seen[1], "flow": flow_id, "limit": limit + 1, **viewer_values()}
        await cursor.execute(query + sql.SQL(" ORDER BY flows.name, schedules.name LIMIT %(limit)s"), values)
        return page(await cursor.fetchall(), limit, lambda row: (row.flow_name, row.name))


async def get_schedule(conn: Connection, schedule_id: UUID) -> ScheduleRow:
    """Raises Missing."""
    async with conn.cursor(row_factory=class_row(ScheduleRow)) as cursor:
        await cursor.execute(_select("schedules.id = %(id)s"), {"id": schedule_id, **viewer_values()})
        if row := await cursor.fetchone():
            return row
    raise Missing(f"There is no schedule {schedule_id}.")


async def create_schedule(conn: Connection, flow_id: UUID, spec: Mapping[str, Any]) -> ScheduleRow:
    """Add a schedule through the API, to a flow of either owner. Runs in the caller's transaction.

    Raises Invalid for a cron line or zone that cannot be, Conflict when the flow has one of that name.
    """
    id = await fetch_value(
        conn,
        "INSERT INTO schedules (flow_id, name, origin, spec, enabled) VALUES (%s, %s, 'api', %s, %s)"
        " ON CONFLICT (flow_id, name) DO NOTHING RETURNING id",
        [flow_id, spec["name"], dumps(spec), spec.get("enabled", True)],
    )
    if id is None:
        raise Conflict(f"The flow has a schedule {spec['name']} already.", code="name_taken")
    await _arm(conn, [flow_id])
    return await get_schedule(conn, id)


async def update_schedule(conn: Connection, schedule_id: UUID, spec: Mapping[str, Any]) -> ScheduleRow:
    """Replace what a schedule says; its name stays. Raises Missing, Invalid, Conflict `git_managed`."""
    schedule = await _unmanaged(conn, schedule_id)
    await conn.execute(
        "UPDATE schedules SET spec = %s, enabled = %s, next_fire_at = NULL, last_error = NULL, updated_at = now()"
        " WHERE id = %s",
        [dumps({**spec, "name": schedule.name}), spec.get("enabled", True), schedule_id],
    )
    await _arm(conn, [schedule.flow_id])
    return await get_schedule(conn, schedule_id)


async def delete_schedule(conn: Connection, schedule_id: UUID) -> None:
    """Raises Missing, Conflict `git_managed`. Its runs stay."""
    await _unmanaged(conn, schedule_id)
    await conn.execute("DELETE FROM schedules WHERE id = %s", [schedule_id])


async def enable_schedule(conn: Connection, schedule_id: UUID, enabled: bool) -> ScheduleRow:
    """Switch any schedule on or off, a Git-managed one too: it stays so until its lines in the file change.

    What would have fired while it was off is not made up for. Raises Missing.
    """
    schedule = await get_schedule(conn, schedule_id)
    await conn.execute(
        "UPDATE schedules SET enabled = %(enabled)s, updated_at = now(),"
        " next_fire_at = CASE WHEN %(enabled)s THEN next_fire_at END"
        " WHERE id = %(id)s AND enabled <> %(enabled)s",
        {"enabled": enabled, "id": schedule_id},
    )
    await _arm(conn, [schedule.flow_id])
    return await get_schedule(conn, schedule_id)


async def declare_schedules(
    conn: Connection,
    declared: Mapping[UUID, Sequence[Mapping[str, Any]]],
    origin: Origin,
    dropped: Iterable[tuple[UUID, str]] = (),
) -> None:
    """Make the schedules of each flow (id -> the `schedules` of its spec) those that it declares.

    `enabled` follows the file only when the file's lines changed, so what an operator switched off stays off. A fire
    that is due stays due. Schedules that Git no longer declares go, and those that `dropped` names (flow id, name).
    """
    if not declared:
        return
    await _upsert(conn, declared, origin)
    await _drop_undeclared(conn, declared, dropped)
    await _arm(conn, list(declared))


async def _upsert(conn: Connection, declared: Mapping[UUID, Sequence[Mapping[str, Any]]], origin: Origin) -> None:
    rows = [(flow_id, spec) for flow_id, specs in declared.items() for spec in specs]
    await conn.execute(
        "INSERT INTO schedules (flow_id, name, origin, spec, enabled)"
        " SELECT flow_id, name, %(origin)s, spec::jsonb, enabled"
        " FROM unnest(%(flow_id)s::uuid[], %(name)s::text[], %(spec)s::text[], %(enabled)s::bool[])"
        "   AS given(flow_id, name, spec, enabled)"
        " ON CONFLICT (flow_id, name) DO UPDATE SET origin = excluded.origin, spec = excluded.spec,"
        " enabled = excluded.enabled, updated_at = now(),"
        " next_fire_at = CASE WHEN excluded.enabled AND schedules.next_fire_at <= now() THEN schedules.next_fire_at END"
        " WHERE schedules.spec <> excluded.spec OR schedules.origin <> excluded.origin",
        {
            "origin": origin,
            "flow_id": [flow_id for flow_id, _ in rows],
            "name": [spec["name"] for _, spec in rows],
            "spec": [dumps(spec) for _, spec in rows],
            "enabled": [spec.get("enabled", True) for _, spec in rows],
        },
    )


async def _drop_undeclared(
    conn: Connection,
    declared: Mapping[UUID, Sequence[Mapping[str, Any]]],
    dropped: Iterable[tuple[UUID, str]],
) -> None:
    kept = [(flow_id, spec["name"]) for flow_id, specs in declared.items() for spec in specs]
    gone = list(dropped)
    await conn.execute(
        "DELETE FROM schedules WHERE flow_id = ANY(%(flows)s)"
        " AND NOT EXISTS (SELECT FROM unnest(%(kept_flow)s::uuid[], %(kept_name)s::text[]) AS kept(flow_id, name)"
        "                 WHERE kept.flow_id = schedules.flow_id AND kept.name = schedules.name)"
        " AND (origin = 'git'"
        "      OR (flow_id, name) IN (SELECT * FROM unnest(%(gone_flow)s::uuid[], %(gone_name)s::text[])))",
        {
            "flows": list(declared),
            "kept_flow": [flow_id for flow_id, _ in kept],
            "kept_name": [name for _, name in kept],
            "gone_flow": [flow_id for flow_id, _ in gone],
            "gone_name": [name for _, name in gone],
        },
    )


async def _arm(conn: Connection, flow_ids: Sequence[UUID]) -> None:
    """Give the schedules that may fire, and have no time yet, their next one."""
    cursor = await conn.execute(
        "SELECT schedules.id, spec, now() FROM schedules JOIN flows ON flows.id = flow_id"
        " WHERE flow_id = ANY(%s) AND enabled AND next_fire_at IS NULL AND archived_at IS NULL",
        [list(flow_ids)],
    )
    due = {
        id: times[0]
        for id, spec, now in await cursor.fetchall()
        if (times := next_times(schedule_of({**spec, "enabled": True}), now, 1))
    }
    if due:
        await conn.execute(
            "UPDATE schedules SET next_fire_at = given.at"
            " FROM unnest(%s::uuid[], %s::timestamptz[]) AS given(id, at) WHERE schedules.id = given.id",
            [list(due), list(due.values())],
        )


async def _unmanaged(conn: Connection, schedule_id: UUID) -> ScheduleRow:
    schedule = await get_schedule(conn, schedule_id)
    if schedule.origin == "git":
        raise Conflict(
            f"The schedule {schedule.name} of {schedule.flow_name} is managed in Git.",
            code="git_managed",
            hint="Change it there, or make a proposal. It can be switched off here.",
        )
    return schedule
