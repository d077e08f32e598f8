"""Whether this database can do what a process needs of it, beyond that it answers: what /readyz and doctor say.

A look changes nothing. That the disk has room is asked with a sort that does not fit into memory: its file is where
the tables are, and unlike a table of its own it leaves nothing in the catalogs.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.errors import ConfigurationLimitExceeded, DiskFull
from psycopg.rows import class_row

from automata.store.database import Database
from automata.store.error_mapping import GRANT_HINT

EVERYTHING = ("SELECT", "INSERT", "UPDATE", "DELETE")
# What the processes do with each table; tests hold it to the tables that there are. Migrations are the owner's.
RIGHTS: dict[str, tuple[str, ...]] = {
    "alembic_version": ("SELECT",),
    **dict.fromkeys(
        (
            *(
                "access_people",
                "access_secrets",
                "access_sessions",
                "access_spent",
                "access_tokens",
                "approvals",
                "audit_log",
            ),
            *("dead_letters", "flow_versions", "flows", "leaders", "notification_events"),
            *("notification_rules", "notifications", "processes"),
            *("proposal_checks", "proposal_reviews", "proposals", "recordings", "run_attempts", "run_results"),
            *("run_slots", "runs", "schedules", "sync_attempts", "sync_deliveries", "sync_members", "sync_sets"),
            *("sync_sources", "task_attempts", "task_logs", "task_queue", "tasks"),
        ),
        EVERYTHING,
    ),
}
DISK_HINT = "Make room on the database's disk; what was accepted is safe, and runs go on by themselves."
SHOWN = 5

_READ = """
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS is_read_only,
       current_user::text AS role,
       array(
           SELECT kind || ' ' || name
           FROM unnest(%(names)s::text[], %(kinds)s::text[]) AS needed(name, kind)
           WHERE CASE WHEN to_regclass(name) IS NOT NULL THEN NOT has_table_privilege(to_regclass(name), kind) END
           ORDER BY name, kind
       ) AS missing
"""
# 64 kB is the least that PostgreSQL sorts in; a megabyte goes to the disk, if the rows have more than one column.
_FILL = """
SELECT count(*) FROM (
    SELECT n, repeat(md5(n::text), 32) AS text FROM generate_series(1, 1000) AS n ORDER BY text OFFSET 0
) AS sorted WHERE text <> ''
"""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, and what to do about it."""

    what: str
    hint: str

    def __str__(self) -> str:
        return f"{self.what} {self.hint}"


@dataclass(frozen=True, slots=True)
class _State:
    is_read_only: bool
    role: str
    missing: list[str]


async def find_troubles(db: Database) -> list[Trouble]:
    """Nothing where all is well. Raises Unavailable where the database, or its direct address, does not answer."""
    pairs = [(name, kind) for name, kinds in RIGHTS.items() for kind in kinds]
    names, kinds = zip(*pairs, strict=True)
    async with db.connection() as conn, conn.cursor(row_factory=class_row(_State)) as cursor:
        await cursor.execute(_READ, {"names": list(names), "kinds": list(kinds)})
        state = await cursor.fetchone()
    assert state is not None
    troubles = []
    if state.is_read_only:
        troubles.append(Trouble(f"{db.label} is read-only.", "Let AUTOMATA_DATABASE_URL name the primary."))
    if state.missing:
        troubles.append(Trouble(f"The role {state.role} lacks rights: {_few(state.missing)}.", GRANT_HINT))
    if await _is_full(db):
        troubles.append(Trouble(f"The disk of {db.label} is full.", DISK_HINT))
    await db.ping_direct()
    return troubles


async def _is_full(db: Database) -> bool:
    """A sort that `temp_file_limit` refuses says nothing about the disk."""
    async with db.connection() as conn:
        try:
            async with conn.transaction():
                await conn.execute(
                    "SELECT set_config('work_mem', '64kB', true), set_config('temp_tablespaces', '', true)"
                )
                await conn.execute(_FILL)
        except DiskFull:
            return True
        except ConfigurationLimitExceeded:
            return False
    return False


def _few(words: list[str]) -> str:
    more = len(words) - SHOWN
    return ", ".join(words[:SHOWN]) + (f" and {more} more" if more > 0 else "")
