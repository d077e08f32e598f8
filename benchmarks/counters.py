"""What a workload cost: read from PostgreSQL's own counters and the kernel's, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psutil
import psycopg

from automata.store.database import Database

_QUERY = """
SELECT (SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE dbid = d.oid AND query !~* '^(begin|commit|set)'),
       d.xact_commit,
       (SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_user_tables),
       (SELECT coalesce(sum(n_tup_upd - n_tup_hot_upd), 0) FROM pg_stat_user_tables),
       pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')
FROM (SELECT oid, pg_stat_get_db_xact_commit(oid) AS xact_commit
      FROM pg_database WHERE datname = current_database()) AS d
"""


@dataclass(frozen=True, slots=True)
class Counters:
    statements: int
    commits: int
    row_writes: int
    cold_updates: int
    wal_bytes: int
    server_cpu_sec: float
    postgres_cpu_sec: float

    def __sub__(self, other: Counters) -> Counters:
        return Counters(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


async def read(db: Database, server: psutil.Process, postmaster: psutil.Process | None) -> Counters:
    async with db.connection() as conn:
        await conn.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
        row = await (await conn.execute(_QUERY)).fetchone()
    return _of(row, server, postmaster)


def read_apart(url: str, process: psutil.Process, postmaster: psutil.Process) -> Counters:
    """The same of a database that is not ours."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("SELECT pg_stat_clear_snapshot(), pg_stat_force_next_flush()")
        return _of(conn.execute(_QUERY).fetchone(), process, postmaster)


def _of(row: Any, server: psutil.Process, postmaster: psutil.Process | None) -> Counters:
    cpu = server.cpu_times()
    return Counters(*(int(value) for value in row), cpu.user + cpu.system, _family_cpu(postmaster))


def _family_cpu(postmaster: psutil.Process | None) -> float:
    if postmaster is None:
        return 0.0
    times = postmaster.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in postmaster.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.NoSuchProcess:  # a backend that just left
            continue
        total += own.user + own.system
    return total
