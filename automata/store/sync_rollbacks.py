"""An environment is rolled back to an earlier set of versions, pinned there, and released again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from automata.store.sync import SourceRow, get_source, record_attempt
from automata.store.sync_history import differences, find_set, remember_set, restore

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`changed` are the names of the flows that another version, or the archive, came or went for."""

    source: SourceRow
    changed: tuple[str, ...]


async def roll_back(conn: Connection, source: SourceRow, sha: str, *, by: str, reason: str) -> RolledBack:
    """Make the set of an earlier synced commit current and pin the environment to it. No Git is asked.

    The caller holds `lock_source` in the same transaction. Raises Usage and Missing as `find_set` does, Conflict as
    `restore` does; then nothing is written.
    """
    target = await find_set(conn, source.id, sha)
    drift = await differences(conn, source.id, target.id)
    await restore(conn, source.id, drift)
    await remember_set(conn, source.id, target.sha)
    # Without the tree's id the first sync after the release reads every file, whatever it finds.
    await conn.execute(
        "UPDATE sync_sources SET head_sha = %(sha)s, tree_sha = NULL, synced_at = now(), drift = NULL, drift_at = NULL,"
        " pinned_at = now(), pinned_by = %(by)s, pinned_reason = %(reason)s WHERE id = %(id)s",
        {"sha": target.sha, "by": by, "reason": reason, "id": source.id},
    )
    names = tuple(difference.name for difference in drift)
    plan = {"by": by, "reason": reason, "from": source.head_sha, "flows": names[:200], "count": len(names)}
    await record_attempt(conn, source.id, "rolled_back", sha=target.sha, started_at=None, plan=plan)
    return RolledBack(await get_source(conn, source.id), names)


async def release(conn: Connection, source: SourceRow) -> SourceRow:
    """Let syncs move the environment again, and the controller look at once. Releasing twice is fine."""
    await conn.execute(
        "UPDATE sync_sources SET pinned_at = NULL, pinned_by = NULL, pinned_reason = NULL, asked_at = now()"
        " WHERE id = %s AND pinned_at IS NOT NULL",
        [source.id],
    )
    return await get_source(conn, source.id)
