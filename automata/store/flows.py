"""Flows and their versions as people and the runtime read them, and flows that the API owns."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.rows import class_row

from automata.errors import Conflict, Missing
from automata.flow.model import Flow, content_hash
from automata.store.flow_writes import DesiredFlow, archive_flows, write_flows
from automata.store.ids import as_uuid
from automata.store.json_codec import dumps
from automata.store.pagination import Page, bad_cursor, clamp, decode, page
from automata.store.schedules import declare_schedules
from automata.store.where import Where

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class FlowTarget:
    """What is needed to start a run of a flow; `version_id` None: it has no version."""

    id: UUID
    version_id: UUID | None
    archived: bool


async def flow_targets(conn: Connection, names: Collection[str]) -> dict[str, FlowTarget]:
    """Those of the named flows that exist."""
    cursor = await conn.execute(
        "SELECT name, id, current_version_id, archived_at IS NOT NULL FROM flows WHERE name = ANY(%s)", [list(names)]
    )
    return {name: FlowTarget(*row) for name, *row in await cursor.fetchall()}


@dataclass(frozen=True, slots=True)
class FlowRow:
    """`source_id` None: the API made it. `source` is the address of the repository that manages it."""

    id: UUID
    name: str
    source_id: UUID | None
    source: str | None
    current_version_id: UUID | None
    current_number: int | None
    description: str
    labels: Mapping[str, str]
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """`spec` and `variables` are empty in lists. What names the commit is None for a version made by the API."""

    id: UUID
    flow_id: UUID
    flow_name: str
    number: int
    content_hash: str
    spec: Mapping[str, Any]
    variables: Mapping[str, Any]
    commit_sha: str | None
    path: str | None
    author: str | None
    message: str | None
    committed_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PutResult:
    """`created`: the flow is new (or back from the archive); `changed`: another version is current now."""

    flow: FlowRow
    version: VersionRow
    created: bool
    changed: bool


_FLOW = sql.SQL(
    "SELECT flows.id, flows.name, flows.source_id, sync_sources.url AS source, flows.current_version_id,"
    " version.number AS current_number, coalesce(version.spec ->> 'description', '') AS description,"
    " flows.labels, flows.archived_at, flows.created_at, flows.updated_at"
    " FROM flows LEFT JOIN flow_versions AS version ON version.id = flows.current_version_id"
    " LEFT JOIN sync_sources ON sync_sources.id = flows.source_id"
)
_VERSION = sql.SQL(
    "SELECT version.id, version.flow_id, flows.name AS flow_name, version.number, version.content_hash, {what},"
    " version.commit_sha, version.path, version.author, version.message, version.committed_at, version.created_at"
    " FROM flow_versions AS version JOIN flows ON flows.id = version.flow_id"
)
_WHOLE = _VERSION.format(what=sql.SQL("version.spec, version.variables"))
_LISTED = _VERSION.format(what=sql.SQL("'{}'::jsonb AS spec, '{}'::jsonb AS variables"))


async def find_flow(conn: Connection, key: str | UUID) -> FlowRow:
    """By id or name, archived ones too. Raises Missing, with the nearest name there is."""
    where = Where()
    if id := as_uuid(key):
        where.add("flows.id = %(id)s", id=id)
    else:
        where.add("flows.name = %(name)s", name=key)
    where.add_visible("flows.id")
    async with conn.cursor(row_factory=class_row(FlowRow)) as cursor:
        await cursor.execute(_FLOW + sql.SQL(" WHERE ") + where.clause(), where.values)
        if row := await cursor.fetchone():
            return row
    raise Missing(f"There is no flow {str(key)[:100]!r}.", hint=await _nearest(conn, str(key)))


async def known_flow(conn: Connection, key: str | UUID) -> FlowRow | None:
    """The same, None where there is none."""
    try:
        return await find_flow(conn, key)
    except Missing:
        return None


async def list_flows(
    conn: Connection,
    *,
    search: str | None = None,
    labels: Mapping[str, str] | None = None,
    archived: bool | None = False,
    source_id: UUID | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> Page[FlowRow]:
    """By name. `search` is part of a name; `labels` must all be there; `archived` None gives both kinds."""
    limit = clamp(limit)
    where = Where()
    where.add_visible("flows.id")
    where.add_given("strpos(flows.name, %(search)s) > 0", search=search.lower() if search else None)
    where.add_given("flows.labels @> %(labels)s::jsonb", labels=dumps(labels) if labels else None)
    where.add_given("(flows.archived_at IS NOT NULL) = %(archived)s", archived=archived)
    where.add_given("flows.source_id = %(source_id)s", source_id=source_id)
    where.add_given("flows.name > %(after)s", after=decode(after, 1)[0] if after else None)
    query = _FLOW + sql.SQL(" WHERE {} ORDER BY flows.name LIMIT %(limit)s").format(where.clause())
    async with conn.cursor(row_factory=class_row(FlowRow)) as cursor:
        await cursor.execute(query, where.values | {"limit": limit + 1})
        return page(await cursor.fetchall(), limit, lambda row: (row.name,))


async def get_version(conn: Connection, flow_id: UUID, number: int | None = None) -> VersionRow:
    """One version of a flow, the current one for None. Raises Missing."""
    which = "version.id = flows.current_version_id" if number is None else "version.number = %s"
    query = _WHOLE + sql.SQL(" WHERE version.flow_id = %s AND ") + sql.SQL(which)
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(query, [flow_id] if number is None else [flow_id, number])
        if row := await cursor.fetchone():
            return row
    raise Missing("The flow has no such version." if number is not None else "The flow has no version yet.")


async def list_versions(
    conn: Connection, flow_id: UUID, *, after: str | None = None, limit: int | None = None
) -> Page[VersionRow]:
    """The newest first, without specs."""
    limit = clamp(limit)
    below = _number(after) if after else 2**31 - 1
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(
            _LISTED + sql.SQL(" WHERE version.flow_id = %s AND number < %s ORDER BY number DESC LIMIT %s"),
            [flow_id, below, limit + 1],
        )
        return page(await cursor.fetchall(), limit, lambda row: (str(row.number),))


async def versions_by_id(conn: Connection, ids: Iterable[UUID]) -> list[VersionRow]:
    """Those that exist, in no order."""
    async with conn.cursor(row_factory=class_row(VersionRow)) as cursor:
        await cursor.execute(_WHOLE + sql.SQL(" WHERE version.id = ANY(%s)"), [list(ids)])
        return await cursor.fetchall()


async def put_api_flow(
    conn: Connection, flow: Flow, *, author: str | None = None, variables: Mapping[str, Any] | None = None
) -> PutResult:
    """Make a checked flow current, owned by the API. The same content again changes nothing.

    Runs in the caller's transaction. Raises Conflict `git_managed` for a flow that a repository manages.
    """
    former = await _declared(conn, flow.renamed_from or flow.name) + await _declared(conn, flow.name)
    desired = DesiredFlow(
        name=flow.name,
        spec=flow.spec,
        content_hash=content_hash(flow.spec, variables),
        variables=variables or {},
        labels=flow.labels,
        author=author,
        renamed_from=flow.renamed_from,
    )
    written = await write_flows(conn, None, [desired])
    if written.changed:
        declared = flow.spec.get("schedules", ())
        gone = {name for _, name in former} - {schedule["name"] for schedule in declared}
        id = written.ids[flow.name]
        await declare_schedules(conn, {id: declared}, "api", [(id, name) for name in gone])
    row = await find_flow(conn, written.ids[flow.name])
    version = await get_version(conn, row.id)
    created = flow.name in written.created or flow.name in written.unarchived
    return PutResult(row, version, created, created or flow.name in written.updated)


async def archive_api_flow(conn: Connection, key: str | UUID) -> FlowRow:
    """Take a flow of the API out of use; archiving twice is fine. Raises Missing, Conflict `git_managed`."""
    row = await find_flow(conn, key)
    if row.source_id and not row.archived_at:
        raise Conflict(
            f"The flow {row.name} is managed in Git, by {row.source}.",
            code="git_managed",
            hint=f"Remove its file there, or propose that: POST /api/v1/flows/{row.name}/proposals.",
        )
    await archive_flows(conn, None, [row.name])
    return await find_flow(conn, row.id)


def _number(cursor: str) -> int:
    (text,) = decode(cursor, 1)
    if text.isdecimal() and len(text) < 10:
        return int(text)
    raise bad_cursor()


async def _declared(conn: Connection, name: str) -> list[tuple[UUID, str]]:
    """(flow id, schedule name) that the current version of a flow of the API declares."""
    cursor = await conn.execute(
        "SELECT flows.id, schedule ->> 'name' FROM flows"
        " JOIN flow_versions AS version ON version.id = flows.current_version_id,"
        " jsonb_array_elements(coalesce(spec -> 'schedules', '[]')) AS schedule"
        " WHERE flows.name = %s AND source_id IS NULL",
        [name],
    )
    return await cursor.fetchall()


async def _nearest(conn: Connection, name: str) -> str | None:
    where = Where()
    where.add_visible("flows.id")
    query = sql.SQL("SELECT name FROM flows WHERE archived_at IS NULL AND {} ORDER BY name LIMIT 5000")
    cursor = await conn.execute(query.format(where.clause()), where.values)
    names = [known for (known,) in await cursor.fetchall()]
    near = difflib.get_close_matches(name[:100], names, n=1)
    return f"Did you mean {near[0]}?" if near else None
