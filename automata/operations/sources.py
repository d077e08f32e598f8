"""Sources of flows: looked at, compared, rolled back and released."""

from __future__ import annotations

import logging
from typing import Any

from automata.operations.context import AppContext
from automata.store.audit import AuditEvent, record_change
from automata.store.database import Connection
from automata.store.sync import AttemptRow, SourceRow, find_source, list_attempts, list_sources, lock_source
from automata.store.sync_hints import request_sync
from automata.store.sync_history import Difference, find_drift, list_sets
from automata.store.sync_rollbacks import release, roll_back
from automata.sync.conditions import conditions

SHOWN_COMMITS = 20
MAX_KEY = 200

log = logging.getLogger(__name__)


async def read_sources(context: AppContext) -> list[dict[str, Any]]:
    """Every source as `read_source` shows it."""
    async with context.db.connection() as conn:
        return [await _source(conn, source) for source in await list_sources(conn)]


async def read_source(context: AppContext, source: str) -> dict[str, Any]:
    """One source with its conditions, attempts and commits, by its id or its environment. Raises Missing, Usage."""
    async with context.db.connection() as conn:
        return await _source(conn, await find_source(conn, source[:MAX_KEY]))


async def read_drift(context: AppContext, source: str) -> list[dict[str, Any]]:
    """What was changed beside Git since the last sync, compared now. Raises as `read_source` does."""
    async with context.db.connection() as conn:
        row = await find_source(conn, source[:MAX_KEY])
        return [_difference(difference) for difference in await find_drift(conn, row.id) or ()]


async def look_now(context: AppContext, source: str) -> dict[str, Any]:
    """Have the controller look at the branch soon. Raises as `read_source` does."""
    async with context.db.transaction() as conn:
        row = await find_source(conn, source[:MAX_KEY])
        await request_sync(conn, row.id)
        await record_change(conn, AuditEvent("sync.look", f"source/{row.label}"))
        return await _source(conn, await find_source(conn, str(row.id)))


async def roll_back_source(context: AppContext, source: str, to: str, *, by: str, reason: str) -> dict[str, Any]:
    """Make an earlier commit current and pin the source to it: `{source, changed}`.

    Raises as `read_source`, `lock_source` and `roll_back` do.
    """
    async with context.db.transaction() as conn:
        row = await lock_source(conn, (await find_source(conn, source[:MAX_KEY])).id)
        done = await roll_back(conn, row, to, by=by, reason=reason)
        answer = {"source": await _source(conn, done.source), "changed": done.changed}
        to_what = {"sha": done.source.head_sha, "pinned": True, "reason": reason}
        await record_change(conn, AuditEvent("sync.rollback", f"source/{row.label}", {"sha": row.head_sha}, to_what))
    log.warning(
        "%s is rolled back and pinned", row.label, extra={"from": row.head_sha, "to": done.source.head_sha, "by": by}
    )
    return answer


async def release_source(context: AppContext, source: str, *, by: str) -> dict[str, Any]:
    """Let a source follow its branch again; the source then. Raises as `read_source` and `lock_source` do."""
    async with context.db.transaction() as conn:
        row = await lock_source(conn, (await find_source(conn, source[:MAX_KEY])).id)
        answer = await _source(conn, await release(conn, row))
        was = {"pinned": row.pinned_at is not None}
        await record_change(conn, AuditEvent("sync.release", f"source/{row.label}", was, {"pinned": False}))
    if row.pinned_at:
        log.warning("%s is released", row.label, extra={"by": by})
    return answer


async def _source(conn: Connection, source: SourceRow) -> dict[str, Any]:
    attempts = await list_attempts(conn, source.id)
    commits = [commit for commit in await list_sets(conn, source.id, SHOWN_COMMITS) if len(commit.sha) == 40]
    pinned = {"sha": source.head_sha, "at": source.pinned_at, "by": source.pinned_by, "reason": source.pinned_reason}
    return {
        "id": source.id,
        "url": source.url,
        "path": source.path,
        "branch": source.branch,
        "environment": source.environment,
        "head_sha": source.head_sha,
        "synced_at": source.synced_at,
        "branch_sha": source.seen_sha,
        "branch_since": source.seen_at,
        "hinted_at": source.hinted_at,
        "asked_at": source.asked_at,
        "pinned": pinned if source.pinned_at else None,
        "heal": source.heal,
        "conditions": [condition.to_json() for condition in conditions(source, attempts)],
        "attempts": [_attempt(attempt) for attempt in attempts],
        "commits": [{"sha": commit.sha, "synced_at": commit.created_at} for commit in commits],
    }


def _attempt(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "sha": attempt.sha,
        "status": attempt.status,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "plan": attempt.plan,
        "error": attempt.error,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    return {
        "flow": difference.name,
        "kind": difference.kind,
        "wanted": difference.wanted,
        "current": difference.current,
        "message": difference.message,
    }
