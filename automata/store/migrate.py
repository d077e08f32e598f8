"""Migrations: bring a database to this version's tables. Safe to run twice, at once, and again after a kill.

Failure argument. Each migration is one transaction that also moves the mark in `alembic_version`, so a kill leaves
whole migrations; one that makes an index beside the traffic drops first what a kill left of it. The advisory lock is
held by the very session that migrates: it ends with that session, neither earlier (two upgrades never mix) nor later
(a dead upgrade blocks nobody). It is asked for again and again: a statement that waited for it would have a snapshot,
and an index that is made beside the traffic waits for every snapshot.
"""

from __future__ import annotations

import re
import time
from functools import cache
from pathlib import Path

import psycopg
from psycopg.errors import UndefinedTable

from automata import DISTRIBUTION
from automata.errors import Unavailable
from automata.store.error_mapping import describe, mapped_errors, pooler_error

READ_CURRENT = "SELECT max(version_num) FROM alembic_version"
_LOCK = 0x6175746F6D617461  # "automata"; any number does, as long as it never changes
_WAIT_SEC = 120
_ASK_SEC = 0.1
_CONNECT_SEC = 5
_FILE = re.compile(r"(\d{4})_\w+\.py")


def folder() -> Path:
    """Where the migrations are: inside the wheel, or at the root of a checkout."""
    package = Path(__file__).parents[1]
    for place in (package / "_data" / "migrations", package.parent / "migrations"):
        if (place / "versions").is_dir():
            return place
    raise Unavailable("The migrations are missing from this installation.", hint=f"Install {DISTRIBUTION} again.")


@cache
def revisions() -> tuple[str, ...]:
    """All revisions, oldest first. A file is named for its revision, so none needs to be imported."""
    names = (_FILE.fullmatch(path.name) for path in (folder() / "versions").iterdir())
    return tuple(sorted(match[1] for match in names if match))


def later_than(revision: str | None) -> list[str]:
    """What a database at `revision` still lacks. One that is ahead of this version lacks nothing: migrations
    only add what older code does not mind, so that old and new processes may run side by side."""
    return [name for name in revisions() if name > (revision or "")]


def current(url: str) -> str | None:
    """The database's revision, None for one without tables. Raises Unavailable."""
    with mapped_errors(describe(url)), psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SEC) as conn:
        try:
            row = conn.execute(READ_CURRENT).fetchone()
        except UndefinedTable:
            return None
    return row[0] if row else None


def pending(url: str) -> list[str]:
    """The revisions that `upgrade` would apply, oldest first."""
    return later_than(current(url))


def upgrade(url: str, direct_url: str = "") -> list[str]:
    """Apply what is pending and return it; waits for another upgrade that is under way. Raises Unavailable.

    `direct_url` is the same database past the pooler that `url` leads through: the lock needs a session of its own.
    """
    missing = pending(direct_url or url)
    if missing:
        _apply(direct_url or url, is_direct=bool(direct_url))
    return missing


def _apply(url: str, is_direct: bool) -> None:
    # Here and not above: they take a third of a second to import, and nearly every start has nothing to apply.
    import alembic.command
    import alembic.config
    import sqlalchemy as sa

    config = alembic.config.Config()
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: _session(url, is_direct), poolclass=sa.NullPool)
    with mapped_errors(describe(url)):
        try:
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise error.orig from error
            raise


def _session(url: str, is_direct: bool) -> psycopg.Connection:
    """A connection that holds the upgrade lock for as long as it lives. Raises Unavailable."""
    name = "automata migrate"
    conn = psycopg.connect(url, connect_timeout=_CONNECT_SEC, application_name=name, autocommit=True)
    if not is_direct and conn.execute("SELECT pg_backend_pid()").fetchall()[0][0] != conn.info.backend_pid:
        conn.close()
        raise pooler_error(describe(url))
    until = time.monotonic() + _WAIT_SEC
    while not conn.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchall()[0][0]:
        if time.monotonic() > until:
            conn.close()
            raise Unavailable(f"Another upgrade of {describe(url)} is under way.", hint="Wait for its end, or end it.")
        time.sleep(_ASK_SEC)
    # A migration that waits for a table holds up everyone behind it: better to fail and be run again.
    conn.execute("SET lock_timeout = '10s'")
    conn.autocommit = False
    return conn
