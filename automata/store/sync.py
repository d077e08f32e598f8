"""What the database knows of Git: sources, the state a sync starts from, its one transaction, its attempts.

How a sync uses it: `ensure_source`; then in one `Database.transaction()`: `lock_source`, `load_state`, plan and guard,
`apply`. A sync that fails or is refused writes `record_attempt` in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection, sql
from psycopg.errors import LockNotAvailable
from psycopg.rows import class_row

from automata.errors import Missing, Unavailable, Usage
from automata.store.flow_writes import OWNER, DesiredFlow, Written, archive_flows, write_flows
from automata.store.ids import as_uuid
from automata.store.json_codec import dumps_or_none
from automata.store.notifications import replace_rules
from automata.store.schedules import declare_schedules
from automata.store.sync_history import remember_set

Connection = AsyncConnection[Any]
Status = Literal["synced", "unchanged", "failed", "refused", "healed", "rolled_back"]

MAX_SHOWN_ATTEMPTS = 20
# A poll a minute must not grow a table for ever; these are weeks of changes, since equal ones share a row.
MAX_ATTEMPTS = 500

__all__ = ["AttemptRow", "CurrentFlow", "DesiredFlow", "SourceRow", "SyncResult", "Written"]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """`url` has no credentials; `head_sha` and `tree_sha` are those of the last sync that succeeded: its commit,
    and its tree with the format of the versions that were made of it.

    `heal` is what `automata.yaml` said then. `seen_sha` is where a controller last saw the branch, and `seen_at` since
    when; `hinted_at` when a webhook last announced a push, `asked_at` when somebody last asked for a look. While
    `pinned_at` is set no sync moves the flows.
    """

    id: UUID
    url: str
    path: str
    branch: str
    environment: str
    head_sha: str | None
    tree_sha: str | None
    synced_at: datetime | None
    heal: bool
    pinned_at: datetime | None
    pinned_by: str | None
    pinned_reason: str | None
    hinted_at: datetime | None
    seen_sha: str | None
    seen_at: datetime | None
    drift: Any
    drift_at: datetime | None
    asked_at: datetime | None

    @property
    def label(self) -> str:
        """How people tell this source from others: its address, its folder, its environment."""
        return f"{self.url}{f'//{self.path}' if self.path else ''} ({self.environment})"


@dataclass(frozen=True, slots=True)
class CurrentFlow:
    """`owner` is '' for the source asked about, else `the API` or the other source's label."""

    id: UUID
    name: str
    owner: str
    archived: bool
    content_hash: str | None
    number: int | None
    path: str | None
    commit_sha: str | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """`plan` and `error` are what was recorded, as JSON values."""

    id: int
    source_id: UUID
    sha: str | None
    status: Status
    started_at: datetime
    finished_at: datetime
    plan: Any
    error: Any


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What `apply` did. `attempt` is its row in the list of attempts."""

    flows: Written
    archived: list[str]
    attempt: AttemptRow


_SOURCE = sql.SQL(", ").join(map(sql.Identifier, SourceRow.__slots__))
_ATTEMPT = sql.SQL("id, source_id, sha, status, started_at, finished_at, plan, error")


async def ensure_source(conn: Connection, url: str, *, branch: str, environment: str, path: str = "") -> SourceRow:
    """The source of this address, folder and environment, made on first use. `url` must be without credentials.

    One that an earlier version wrote with a slash at its end is it, unless there are both.
    """
    await conn.execute(
        "UPDATE sync_sources AS old SET url = %(url)s"
        " WHERE url = %(url)s || '/' AND path = %(path)s AND environment = %(environment)s AND NOT EXISTS ("
        "  SELECT FROM sync_sources AS new"
        "  WHERE (new.url, new.path, new.environment) = (%(url)s, old.path, old.environment))",
        {"url": url, "path": path, "environment": environment},
    )
    async with conn.cursor(row_factory=class_row(SourceRow)) as cursor:
        await cursor.execute(
            sql.SQL(
                "INSERT INTO sync_sources (url, path, branch, environment)"
                " VALUES (%(url)s, %(path)s, %(branch)s, %(environment)s)"
                " ON CONFLICT (url, path, environment) DO UPDATE SET branch = excluded.branch RETURNING {}"
            ).format(_SOURCE),
            {"url": url, "path": path, "branch": branch, "environment": environment},
        )
        row = await cursor.fetchone()
        assert row is not None
        return row


async def get_source(conn: Connection, source_id: UUID) -> SourceRow:
    """Raises Missing."""
    async with conn.cursor(row_factory=class_row(SourceRow)) as cursor:
        await cursor.execute(sql.SQL("SELECT {} FROM sync_sources WHERE id = %s").format(_SOURCE), [source_id])
        if row := await cursor.fetchone():
            return row
    raise Missing(f"There is no sync source {source_id}.")


async def list_sources(conn: Connection) -> list[SourceRow]:
    """All sources, by environment, address and folder."""
    async with conn.cursor(row_factory=class_row(SourceRow)) as cursor:
        await cursor.execute(sql.SQL("SELECT {} FROM sync_sources ORDER BY environment, url, path").format(_SOURCE))
        return await cursor.fetchall()


async def find_source(conn: Connection, key: str) -> SourceRow:
    """The source of this id, or the only one of this environment. Raises Missing, Usage (`ambiguous_source`)."""
    if id := as_uuid(key):
        return await get_source(conn, id)
    sources = [row for row in await list_sources(conn) if row.environment == key]
    if not sources:
        raise Missing(f"There is no sync source of an environment {key[:100]!r}.", hint="`automata sync status`")
    if len(sources) > 1:
        raise Usage(
            f"{len(sources)} sources are of the environment {key}.", code="ambiguous_source", hint="Give an id instead."
        )
    return sources[0]


async def lock_source(conn: Connection, source_id: UUID) -> SourceRow:
    """Be the only one to sync this source until the transaction ends; returns the source as it is then.

    Raises Unavailable (code `sync_running`) when the other one takes longer than the session's lock timeout.
    """
    try:
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('sync ' || %s, 0))", [str(source_id)])
    except LockNotAvailable as error:
        raise Unavailable(
            "Another sync of this source is under way.", code="sync_running", hint="Try again in a moment."
        ) from error
    return await get_source(conn, source_id)


async def load_state(conn: Connection, source_id: UUID, names: Iterable[str] = ()) -> list[CurrentFlow]:
    """This source's flows, archived ones too, and of the others those whose names are among `names`."""
    async with conn.cursor(row_factory=class_row(CurrentFlow)) as cursor:
        await cursor.execute(
            sql.SQL(
                "SELECT flows.id, flows.name,"
                " CASE WHEN flows.source_id = %(source)s THEN '' ELSE {} END AS owner,"
                " flows.archived_at IS NOT NULL AS archived,"
                " version.content_hash, version.number, version.path, version.commit_sha"
                " FROM flows LEFT JOIN flow_versions AS version ON version.id = flows.current_version_id"
                " LEFT JOIN sync_sources ON sync_sources.id = flows.source_id"
                " WHERE flows.source_id = %(source)s OR flows.name = ANY(%(names)s)"
                " ORDER BY flows.name"
            ).format(OWNER),
            {"source": source_id, "names": list(names)},
        )
        return await cursor.fetchall()


async def apply(
    conn: Connection,
    source: SourceRow,
    desired: Sequence[DesiredFlow],
    *,
    sha: str,
    tree_sha: str | None,
    started_at: datetime,
    archive: Iterable[str] = (),
    plan: Any = None,
    notifications: Sequence[Mapping[str, Any]] | None = None,
    heal: bool = False,
    read: bool = True,
) -> SyncResult:
    """Make `desired` current, archive the flows named, move the source's head, record the attempt.

    The caller holds `lock_source` in the same transaction. Flows that did not change may be among `desired` (they
    cost a comparison) or be left out (they stay as they are). `heal` is the project's policy, `notifications` are the
    rules of the environment; None leaves them as they are. `read` False says that no file moved, so that nothing but
    the commit did. Raises Conflict `name_taken`; then nothing is written.
    """
    written = await write_flows(conn, source.id, desired)
    declared = {
        written.ids[flow.name]: flow.spec.get("schedules", ()) for flow in desired if flow.name in written.changed
    }
    await declare_schedules(conn, declared, "git")
    archived = await archive_flows(conn, source.id, archive)
    if notifications is not None:
        await replace_rules(conn, source.id, notifications)
    if written.changed or archived or sha != source.head_sha:
        await remember_set(conn, source.id, sha, moved=read)
    await conn.execute(
        "UPDATE sync_sources SET head_sha = %(sha)s, tree_sha = %(tree)s, synced_at = now(),"
        " heal = CASE WHEN %(read)s THEN %(heal)s ELSE heal END,"
        " seen_sha = %(sha)s, seen_at = CASE WHEN seen_sha = %(sha)s THEN seen_at ELSE now() END,"
        " drift = CASE WHEN NOT %(read)s THEN drift END, drift_at = CASE WHEN NOT %(read)s THEN drift_at END"
        " WHERE id = %(id)s",
        {"sha": sha, "tree": tree_sha, "heal": heal, "read": read, "id": source.id},
    )
    status: Status = "synced" if written.changed or archived else "unchanged"
    attempt = await record_attempt(conn, source.id, status, sha=sha, started_at=started_at, plan=plan)
    return SyncResult(written, archived, attempt)


async def record_attempt(
    conn: Connection,
    source_id: UUID,
    status: Status,
    *,
    sha: str | None,
    started_at: datetime | None,
    plan: Any = None,
    error: Mapping[str, Any] | None = None,
) -> AttemptRow:
    """Add to the source's list of attempts; one without `started_at` began with its transaction.

    One that says the same as the last one only moves its time.
    """
    values = {
        "source": source_id,
        "status": status,
        "sha": sha,
        "started": started_at,
        "plan": dumps_or_none(plan),
        "error": dumps_or_none(error),
    }
    async with conn.cursor(row_factory=class_row(AttemptRow)) as cursor:
        await cursor.execute(
            sql.SQL(
                "UPDATE sync_attempts SET started_at = coalesce(%(started)s, now()), finished_at = now()"
                " WHERE id = (SELECT max(id) FROM sync_attempts WHERE source_id = %(source)s)"
                "   AND status = %(status)s AND status IN ('unchanged', 'failed', 'refused')"
                "   AND sha IS NOT DISTINCT FROM %(sha)s"
                "   AND plan::text IS NOT DISTINCT FROM %(plan)s AND error::text IS NOT DISTINCT FROM %(error)s"
                " RETURNING {}"
            ).format(_ATTEMPT),
            values,
        )
        if row := await cursor.fetchone():
            return row
        await cursor.execute(
            sql.SQL(
                "INSERT INTO sync_attempts (source_id, sha, status, started_at, plan, error)"
                " VALUES (%(source)s, %(sha)s, %(status)s, coalesce(%(started)s, now()), %(plan)s, %(error)s)"
                " RETURNING {}"
            ).format(_ATTEMPT),
            values,
        )
        row = await cursor.fetchone()
        assert row is not None
    await _forget_old_attempts(conn, source_id)
    return row


async def list_attempts(conn: Connection, source_id: UUID, limit: int = MAX_SHOWN_ATTEMPTS) -> list[AttemptRow]:
    """The newest first."""
    async with conn.cursor(row_factory=class_row(AttemptRow)) as cursor:
        await cursor.execute(
            sql.SQL("SELECT {} FROM sync_attempts WHERE source_id = %s ORDER BY id DESC LIMIT %s").format(_ATTEMPT),
            [source_id, limit],
        )
        return await cursor.fetchall()


async def _forget_old_attempts(conn: Connection, source_id: UUID) -> None:
    await conn.execute(
        "DELETE FROM sync_attempts WHERE source_id = %(source)s AND id <= ("
        "  SELECT id FROM sync_attempts WHERE source_id = %(source)s ORDER BY id DESC OFFSET %(kept)s LIMIT 1)",
        {"source": source_id, "kept": MAX_ATTEMPTS},
    )
