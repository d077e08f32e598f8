"""Writing flows and their versions: one set-based path for Git and for the API, with as many statements for a
thousand flows as for one.

A flow belongs to one owner: a sync source, or the API (`source_id` NULL). An archived flow belongs to nobody: who
writes it next takes it over, with its history. Versions are found by content: writing the same twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.errors import CheckViolation

from automata.errors import Conflict, Invalid
from automata.store.json_codec import dumps

Connection = AsyncConnection[Any]

# Who manages a flow, for people: address, folder and environment of the source, as `SourceRow.label` has them.
OWNER = sql.SQL(
    "coalesce(sync_sources.url || CASE sync_sources.path WHEN '' THEN '' ELSE '//' || sync_sources.path END"
    " || ' (' || sync_sources.environment || ')', 'the API')"
)


@dataclass(frozen=True, slots=True)
class DesiredFlow:
    """One flow as it shall be current. `content_hash` is that of `flow.model.content_hash(spec, variables)`.

    `renamed_from`: the flow of that name gets this one's name and keeps its history, unless this name is known
    already, or the old one is among the desired ones too. What names the commit is None when there is none.
    """

    name: str
    spec: Mapping[str, Any]
    content_hash: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    commit_sha: str | None = None
    path: str | None = None
    author: str | None = None
    message: str | None = None
    committed_at: datetime | None = None
    renamed_from: str | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """Names of what happened; `updated` got another current version. `ids` has every desired flow by name."""

    ids: Mapping[str, UUID]
    created: frozenset[str]
    updated: frozenset[str]
    renamed: Mapping[str, str]  # new name -> old name
    unarchived: frozenset[str]

    @property
    def changed(self) -> frozenset[str]:
        """The names of flows that another version is current of, or that came back or were renamed."""
        return self.created | self.updated | self.unarchived | frozenset(self.renamed)


async def write_flows(conn: Connection, source_id: UUID | None, desired: Sequence[DesiredFlow]) -> Written:
    """Make each desired flow exist, belong to `source_id`, and point at the version with its content.

    Runs in the caller's transaction. Raises Conflict (`git_managed` or `name_taken`) for a name of another owner.
    """
    # By name everywhere: two writers that meet lock the rows in one order.
    flows = sorted(desired, key=lambda flow: flow.name)
    renamed = await _rename(conn, source_id, flows)
    before = await _before(conn, [flow.name for flow in flows])
    await _claim_names(conn, source_id, flows)
    ids = await _ids(conn, source_id, [flow.name for flow in flows])
    await _insert_versions(conn, flows, ids)
    moved = await _point(conn, flows, ids)
    created = frozenset(ids.keys() - before.keys())
    archived = frozenset(name for name, was_archived in before.items() if was_archived)
    return Written(ids, created, moved - created, renamed, archived)


async def archive_flows(conn: Connection, source_id: UUID | None, names: Iterable[str]) -> list[str]:
    """Take flows of this owner out of use: no new runs, no schedules. Returns those that were in use."""
    cursor = await conn.execute(
        "WITH gone AS (UPDATE flows SET archived_at = now(), updated_at = now()"
        "   WHERE name = ANY(%(names)s) AND source_id IS NOT DISTINCT FROM %(source)s AND archived_at IS NULL"
        "   RETURNING id, name),"
        " halted AS (UPDATE schedules SET next_fire_at = NULL WHERE flow_id IN (SELECT id FROM gone))"
        " SELECT name FROM gone ORDER BY name",
        {"names": list(names), "source": source_id},
    )
    return [name for (name,) in await cursor.fetchall()]


async def _rename(conn: Connection, source_id: UUID | None, flows: Sequence[DesiredFlow]) -> dict[str, str]:
    names = {flow.name for flow in flows}
    pairs = {
        flow.name: flow.renamed_from
        for flow in flows
        if flow.renamed_from is not None and flow.renamed_from not in names
    }
    if not pairs:
        return {}
    cursor = await conn.execute(
        "UPDATE flows SET name = pair.new, updated_at = now()"
        " FROM unnest(%(new)s::text[], %(old)s::text[]) AS pair(new, old)"
        " WHERE flows.name = pair.old AND source_id IS NOT DISTINCT FROM %(source)s"
        "   AND NOT EXISTS (SELECT FROM flows AS other WHERE other.name = pair.new)"
        " RETURNING pair.new, pair.old",
        {"new": list(pairs), "old": list(pairs.values()), "source": source_id},
    )
    return dict(await cursor.fetchall())


async def _before(conn: Connection, names: list[str]) -> dict[str, bool]:
    """Name -> archived, of those that exist."""
    cursor = await conn.execute("SELECT name, archived_at IS NOT NULL FROM flows WHERE name = ANY(%s)", [names])
    return dict(await cursor.fetchall())


async def _claim_names(conn: Connection, source_id: UUID | None, flows: Sequence[DesiredFlow]) -> None:
    """Insert, take over what is archived, refresh labels. A row whose WHERE is false is locked all the same."""
    try:
        await conn.execute(
            "INSERT INTO flows (name, source_id, labels)"
            " SELECT name, %(source)s, labels::jsonb"
            " FROM unnest(%(names)s::text[], %(labels)s::text[]) AS given(name, labels)"
            " ON CONFLICT (name) DO UPDATE"
            " SET source_id = excluded.source_id, labels = excluded.labels, archived_at = NULL, updated_at = now()"
            " WHERE flows.archived_at IS NOT NULL"
            "   OR (flows.source_id IS NOT DISTINCT FROM excluded.source_id AND flows.labels <> excluded.labels)",
            {
                "source": source_id,
                "names": [flow.name for flow in flows],
                "labels": [dumps(flow.labels) for flow in flows],
            },
        )
    except CheckViolation as error:
        raise Invalid("A flow's name or labels have the wrong form.", code="bad_name") from error


async def _ids(conn: Connection, source_id: UUID | None, names: list[str]) -> dict[str, UUID]:
    cursor = await conn.execute(
        sql.SQL(
            "SELECT flows.name, flows.id, flows.source_id IS NOT DISTINCT FROM %(source)s, {}"
            " FROM flows LEFT JOIN sync_sources ON sync_sources.id = flows.source_id"
            " WHERE flows.name = ANY(%(names)s) ORDER BY flows.name"
        ).format(OWNER),
        {"source": source_id, "names": names},
    )
    rows = await cursor.fetchall()
    if taken := [(name, owner) for name, _, mine, owner in rows if not mine]:
        raise _taken(source_id, taken)
    return {name: id for name, id, _, _ in rows}


def _taken(source_id: UUID | None, taken: Sequence[tuple[str, str]]) -> Conflict:
    names = [name for name, _ in taken]
    name, owner = taken[0]
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    if source_id is None:
        return Conflict(
            f"The flow {name} is managed in Git, by {owner}{more}.",
            code="git_managed",
            hint=f"Change it there, or propose it: POST /api/v1/flows/{name}/proposals.",
            details={"flows": names},
        )
    return Conflict(
        f"The flow {name} is managed by {owner}{more}.",
        code="name_taken",
        hint="Rename the flow in the repository, or archive the other one first.",
        details={"flows": names},
    )


async def _insert_versions(conn: Connection, flows: Sequence[DesiredFlow], ids: Mapping[str, UUID]) -> None:
    await conn.execute(
        "INSERT INTO flow_versions (flow_id, number, content_hash, spec, variables, commit_sha, path, author, message,"
        "                           committed_at)"
        " SELECT v.flow_id, 1 + coalesce((SELECT max(number) FROM flow_versions AS o WHERE o.flow_id = v.flow_id), 0),"
        "        content_hash, spec::jsonb, variables::jsonb, commit_sha, path, author, message, committed_at"
        " FROM unnest(%(flow_id)s::uuid[], %(content_hash)s::text[], %(spec)s::text[], %(variables)s::text[],"
        "             %(commit_sha)s::text[], %(path)s::text[], %(author)s::text[], %(message)s::text[],"
        "             %(committed_at)s::timestamptz[])"
        "   AS v(flow_id, content_hash, spec, variables, commit_sha, path, author, message, committed_at)"
        " WHERE NOT EXISTS (SELECT FROM flow_versions AS same"
        "                   WHERE same.flow_id = v.flow_id AND same.content_hash = v.content_hash)"
        " ON CONFLICT (flow_id, content_hash) DO NOTHING",
        {
            "flow_id": [ids[flow.name] for flow in flows],
            "content_hash": [flow.content_hash for flow in flows],
            "spec": [dumps(flow.spec) for flow in flows],
            "variables": [dumps(flow.variables) for flow in flows],
            "commit_sha": [flow.commit_sha for flow in flows],
            "path": [flow.path for flow in flows],
            "author": [flow.author for flow in flows],
            "message": [flow.message for flow in flows],
            "committed_at": [flow.committed_at for flow in flows],
        },
    )


async def _point(conn: Connection, flows: Sequence[DesiredFlow], ids: Mapping[str, UUID]) -> frozenset[str]:
    cursor = await conn.execute(
        "UPDATE flows SET current_version_id = version.id, updated_at = now()"
        " FROM unnest(%(flow_id)s::uuid[], %(content_hash)s::text[]) AS wanted(flow_id, content_hash)"
        " JOIN flow_versions AS version USING (flow_id, content_hash)"
        " WHERE flows.id = wanted.flow_id AND flows.current_version_id IS DISTINCT FROM version.id"
        " RETURNING flows.name",
        {"flow_id": [ids[flow.name] for flow in flows], "content_hash": [flow.content_hash for flow in flows]},
    )
    return frozenset(name for (name,) in await cursor.fetchall())
