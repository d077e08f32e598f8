"""Which versions each synced commit made current, how the database differs from that, and the way back to it.

A set is what one sync left. Its members are stored as spans: a row says that a flow had a version, under a name, from
one set until another, so that history grows with what changes and not with how many flows there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row

from automata.errors import Conflict, Missing, Usage
from automata.store.flow_writes import OWNER, archive_flows
from automata.store.json_codec import dumps
from automata.store.scalars import fetch_value
from automata.store.schedules import declare_schedules

Connection = AsyncConnection[Any]
Kind = Literal["taken", "archived", "renamed", "version", "schedules", "extra"]

# Years of commits for most; beyond that a rollback is a revert in Git.
MAX_SETS = 1_000
# Of a drift; how many there are in all is kept beside them.
MAX_DIFFERENCES = 50
_LISTED = 5
_PREFIX = re.compile(r"[0-9a-f]{7,40}")


@dataclass(frozen=True, slots=True)
class SyncSetRow:
    """What the sync of one commit left as current."""

    id: int
    source_id: UUID
    sha: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """One flow that is not as its set says; `wanted` and `current` are numbers of versions.

    `kind` is the first that holds of: `archived`, `taken` (by `owner`), `renamed` (it is `called` otherwise),
    `version`, `schedules`; or `extra`, for a flow of the source that the set does not have.
    """

    flow_id: UUID
    name: str
    kind: Kind
    wanted: int | None
    current: int | None
    called: str
    owner: str
    version_id: UUID | None

    def to_json(self) -> dict[str, Any]:
        """As REST and the conditions of a source show it."""
        shown = {name: value for name, value in asdict(self).items() if name not in ("flow_id", "version_id")}
        return {**shown, "message": self.message}

    @property
    def message(self) -> str:
        """The difference in one sentence."""
        return {
            "taken": f"{self.name} is managed by {self.owner}",
            "archived": f"{self.name} is archived",
            "renamed": f"{self.name} is called {self.called}",
            "version": f"{self.name} has version {self.current or 'none'} and should have {self.wanted}",
            "schedules": f"{self.name} has other schedules than version {self.wanted} declares",
            "extra": f"{self.name} is not in the commit",
        }[self.kind]


async def remember_set(conn: Connection, source_id: UUID, sha: str, *, moved: bool = True) -> None:
    """Note as a new set that what is current now is what this source wants; without `moved`, what it wanted before."""
    set_id = await fetch_value(
        conn, "INSERT INTO sync_sets (source_id, sha) VALUES (%s, %s) RETURNING id", [source_id, sha]
    )
    if moved:
        await conn.execute(_MOVE, {"source": source_id, "set": set_id})
    await _forget_old_sets(conn, source_id)


# Both ways by EXCEPT, which hashes whatever the statistics of a young table say: NOT EXISTS was a loop in a loop.
_MOVE = (
    "WITH current AS (SELECT id AS flow_id, current_version_id AS version_id, name FROM flows"
    "  WHERE source_id = %(source)s AND archived_at IS NULL AND current_version_id IS NOT NULL),"
    " held AS (SELECT flow_id, version_id, name FROM sync_members WHERE source_id = %(source)s AND until_set IS NULL),"
    " ended AS (UPDATE sync_members SET until_set = %(set)s"
    "  FROM (SELECT flow_id, version_id, name FROM held EXCEPT SELECT flow_id, version_id, name FROM current) AS gone"
    "  WHERE source_id = %(source)s AND sync_members.flow_id = gone.flow_id AND until_set IS NULL)"
    " INSERT INTO sync_members (source_id, from_set, flow_id, version_id, name)"
    " SELECT %(source)s, %(set)s, came.* FROM"
    " (SELECT flow_id, version_id, name FROM current EXCEPT SELECT flow_id, version_id, name FROM held) AS came"
)


async def find_set(conn: Connection, source_id: UUID, sha: str) -> SyncSetRow:
    """The newest set of a commit, by its full SHA or at least seven digits. Raises Usage, Missing (`not_synced`)."""
    if not _PREFIX.fullmatch(sha):
        raise Usage(
            f"{sha[:60]!r} is no commit: 7 to 40 of 0-9 and a-f are.",
            code="bad_sha",
            hint="`automata sync status` lists the commits that were synced.",
        )
    async with conn.cursor(row_factory=class_row(SyncSetRow)) as cursor:
        await cursor.execute(
            "SELECT DISTINCT ON (sha) id, source_id, sha, created_at FROM sync_sets"
            " WHERE source_id = %s AND starts_with(sha, %s) AND length(sha) = 40 ORDER BY sha, id DESC LIMIT 2",
            [source_id, sha],
        )
        sets = await cursor.fetchall()
    if not sets:
        raise Missing(
            f"The commit {sha} was never synced here, or longer than {MAX_SETS:,} syncs ago.",
            code="not_synced",
            hint="`automata sync status` lists the last ones. Any other needs a revert in Git.",
        )
    if len(sets) > 1:
        raise Usage(f"Several commits begin with {sha}.", code="ambiguous_sha", hint="Give more of its digits.")
    return sets[0]


async def list_sets(conn: Connection, source_id: UUID, limit: int) -> list[SyncSetRow]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(SyncSetRow)) as cursor:
        await cursor.execute(
            "SELECT id, source_id, sha, created_at FROM sync_sets WHERE source_id = %s ORDER BY id DESC LIMIT %s",
            [source_id, limit],
        )
        return await cursor.fetchall()


_DECLARED = sql.SQL(
    "SELECT jsonb_agg(one ORDER BY one ->> 'name') FROM jsonb_array_elements(version.spec -> 'schedules') AS one"
)
_STORED = sql.SQL("SELECT jsonb_agg(spec ORDER BY name) FROM schedules WHERE flow_id = flows.id AND origin = 'git'")
_DIFFERENCES = sql.SQL(
    "WITH wanted AS (SELECT flow_id, version_id, name FROM sync_members"
    "  WHERE source_id = %(source)s AND from_set <= %(set)s AND (until_set IS NULL OR until_set > %(set)s)),"
    " compared AS (SELECT flows.id AS flow_id, coalesce(wanted.name, flows.name) AS name, flows.name AS called,"
    "  version.id AS version_id, version.number AS wanted, current.number AS current,"
    "  CASE WHEN flows.source_id = %(source)s THEN '' ELSE {owner} END AS owner,"
    "  CASE"
    "   WHEN wanted.flow_id IS NULL THEN 'extra'"
    "   WHEN flows.archived_at IS NOT NULL THEN 'archived'"
    "   WHEN flows.source_id IS DISTINCT FROM %(source)s THEN 'taken'"
    "   WHEN flows.name <> wanted.name THEN 'renamed'"
    "   WHEN flows.current_version_id IS DISTINCT FROM wanted.version_id THEN 'version'"
    "   WHEN ({declared}) IS DISTINCT FROM ({stored}) THEN 'schedules'"
    "  END AS kind"
    "  FROM flows LEFT JOIN wanted ON wanted.flow_id = flows.id"
    "  LEFT JOIN flow_versions AS version ON version.id = wanted.version_id"
    "  LEFT JOIN flow_versions AS current ON current.id = flows.current_version_id"
    "  LEFT JOIN sync_sources ON sync_sources.id = flows.source_id"
    "  WHERE wanted.flow_id IS NOT NULL OR (flows.source_id = %(source)s AND flows.archived_at IS NULL))"
    " SELECT flow_id, name, kind, wanted, current, called, owner, version_id FROM compared"
    " WHERE kind IS NOT NULL ORDER BY name"
).format(owner=OWNER, declared=_DECLARED, stored=_STORED)


async def differences(conn: Connection, source_id: UUID, set_id: int) -> list[Difference]:
    """What is not as the set says, by name; empty when everything is. Labels and what an operator switched off count
    as no difference."""
    async with conn.cursor(row_factory=class_row(Difference)) as cursor:
        await cursor.execute(_DIFFERENCES, {"source": source_id, "set": set_id})
        return await cursor.fetchall()


async def find_drift(conn: Connection, source_id: UUID) -> list[Difference] | None:
    """How the database differs from what was synced last; None before the first sync."""
    # A process of the last version, which knew no sets, may have synced since: that must not look like drift.
    set_id = await fetch_value(
        conn,
        "SELECT latest.id FROM sync_sources JOIN LATERAL (SELECT id, sha FROM sync_sets"
        "  WHERE source_id = sync_sources.id ORDER BY id DESC LIMIT 1) AS latest ON latest.sha = head_sha"
        " WHERE sync_sources.id = %s",
        [source_id],
    )
    return None if set_id is None else await differences(conn, source_id, set_id)


async def record_drift(conn: Connection, source_id: UUID, drift: Sequence[Difference]) -> None:
    """Keep for the source's conditions what was found just now."""
    shown = {"count": len(drift), "flows": [difference.to_json() for difference in drift[:MAX_DIFFERENCES]]}
    await conn.execute("UPDATE sync_sources SET drift = %s, drift_at = now() WHERE id = %s", [dumps(shown), source_id])


async def restore(conn: Connection, source_id: UUID, drift: Sequence[Difference]) -> None:
    """Undo these differences: versions, names, owners, schedules; what is extra is archived.

    The caller holds `lock_source`. Raises Conflict (`name_taken`) when another owner manages one of the flows, or
    another flow has one of the names now.
    """
    if taken := [difference for difference in drift if difference.kind == "taken"]:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise Conflict(
            f"The flow {taken[0].name} is managed by {taken[0].owner}{more}.",
            code="name_taken",
            hint="Archive it there first, or leave this to a revert in Git.",
            details={"flows": [difference.name for difference in taken]},
        )
    # First: what is extra may have a name that a renamed flow gets back.
    await archive_flows(conn, source_id, [difference.called for difference in drift if difference.kind == "extra"])
    back = [difference for difference in drift if difference.kind != "extra"]
    ids = [difference.flow_id for difference in back]
    await conn.execute("SELECT FROM flows WHERE id = ANY(%s) ORDER BY name FOR UPDATE", [ids])
    try:
        cursor = await conn.execute(
            "UPDATE flows SET name = given.name, current_version_id = version.id, source_id = %(source)s,"
            " labels = coalesce(version.spec -> 'labels', '{}'), archived_at = NULL, updated_at = now()"
            " FROM unnest(%(id)s::uuid[], %(name)s::text[], %(version)s::uuid[]) AS given(id, name, version)"
            " JOIN flow_versions AS version ON version.id = given.version"
            " WHERE flows.id = given.id RETURNING flows.id, coalesce(version.spec -> 'schedules', '[]')",
            {
                "source": source_id,
                "id": ids,
                "name": [difference.name for difference in back],
                "version": [difference.version_id for difference in back],
            },
        )
    except UniqueViolation as error:
        renamed = [f"{flow.called} to {flow.name}" for flow in back if flow.name != flow.called][:_LISTED]
        raise Conflict(
            f"A flow cannot be called what it was, since another one is: {', '.join(renamed)}.",
            code="name_taken",
            hint="Revert the commits in Git instead.",
        ) from error
    await declare_schedules(conn, dict(await cursor.fetchall()), "git")


async def _forget_old_sets(conn: Connection, source_id: UUID) -> None:
    values = {"source": source_id, "kept": MAX_SETS - 1}
    cursor = await conn.execute(
        "DELETE FROM sync_sets WHERE source_id = %(source)s AND id < ("
        "  SELECT id FROM sync_sets WHERE source_id = %(source)s ORDER BY id DESC OFFSET %(kept)s LIMIT 1)",
        values,
    )
    if cursor.rowcount:
        await conn.execute(
            "DELETE FROM sync_members WHERE source_id = %(source)s AND until_set <= ("
            "  SELECT min(id) FROM sync_sets WHERE source_id = %(source)s)",
            values,
        )
