"""What was changed in the database beside Git: found by comparing with the set of the last sync, and put back.

Failure argument. Nothing of Git is asked: the set of the last sync is in the database. Looking takes no lock, so a
sync may come between; putting back looks again under the source's lock, in the transaction that puts back. While an
environment is pinned it is held to the set that it was rolled back to.
"""

from __future__ import annotations

from uuid import UUID

from automata.store import sync_history
from automata.store.database import Database
from automata.store.sync import lock_source, record_attempt
from automata.store.sync_history import Difference


async def find_drift(db: Database, source_id: UUID) -> list[Difference]:
    """Look, and keep what was found for the source's conditions. Empty before the first sync."""
    async with db.transaction() as conn:
        differences = await sync_history.find_drift(conn, source_id)
        if differences is None:
            return []
        await sync_history.record_drift(conn, source_id, differences)
        return differences


async def heal_drift(db: Database, source_id: UUID) -> list[Difference]:
    """Put back what the last sync made current; returns what was not so. Raises Conflict, Unavailable."""
    async with db.transaction() as conn:
        row = await lock_source(conn, source_id)
        differences = await sync_history.find_drift(conn, source_id) or []
        if not differences:
            return []
        await sync_history.restore(conn, source_id, differences)
        await sync_history.record_drift(conn, source_id, ())
        shown = [difference.to_json() for difference in differences[: sync_history.MAX_DIFFERENCES]]
        plan = {"count": len(differences), "flows": shown}
        await record_attempt(conn, source_id, "healed", sha=row.head_sha, started_at=None, plan=plan)
        return differences
