"""Migrations say what the tables say, and survive being run twice, at once, or killed half way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from automata.errors import Unavailable
from automata.store import migrate
from automata.store.database import Database
from automata.store.tables import metadata

# Everything that PostgreSQL itself says about tables, since alembic does not compare checks, storage and predicates.
CATALOG = {
    "columns": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
        ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "storage": """
        SELECT relname, reloptions FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY 1""",
}


@pytest.fixture
def empty_url(fresh_database_url):
    """A database without any table."""
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return fresh_database_url


def catalog(url):
    with psycopg.connect(url) as conn:
        found = {name: conn.execute(query).fetchall() for name, query in CATALOG.items()}
    return {name: [row for row in rows if "alembic_version" not in str(row)] for name, rows in found.items()}


def engine(url):
    return sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool)


def test_the_migrations_and_the_metadata_are_the_same(database_url):
    with engine(database_url).connect() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_postgresql_says_the_same_of_tables_made_either_way(database_url, empty_url):
    with engine(empty_url).begin() as conn:
        metadata.create_all(conn)
    migrated, created = catalog(database_url), catalog(empty_url)
    for name, rows in migrated.items():
        assert len(rows) > 5, name
        assert rows == created[name], name


def test_revisions_are_numbered_without_gaps_and_each_follows_the_one_before():
    names = migrate.revisions()
    assert list(names) == [f"{n:04}" for n in range(1, len(names) + 1)]
    assert migrate.later_than(None) == list(names)
    assert migrate.later_than(names[-1]) == []
    assert migrate.later_than("9999") == []


def test_upgrading_an_empty_database_and_then_again(empty_url):
    assert migrate.current(empty_url) is None
    assert migrate.pending(empty_url) == list(migrate.revisions())
    assert migrate.upgrade(empty_url) == list(migrate.revisions())
    assert migrate.current(empty_url) == migrate.revisions()[-1]
    assert migrate.upgrade(empty_url) == []


def test_having_nothing_to_do_is_quick_and_needs_no_alembic(database_url):
    code = f"""
        import sys, time
        from automata.store import migrate
        begun = time.process_time()
        assert migrate.upgrade({database_url!r}) == []
        print(time.process_time() - begun)
        assert "alembic" not in sys.modules and "sqlalchemy" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 2


def test_upgrades_at_the_same_time_are_safe(empty_url):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate.upgrade, [empty_url] * 4))
    assert migrate.current(empty_url) == migrate.revisions()[-1]


def wait_for(conn, query, *values):
    deadline = time.monotonic() + 120
    while not conn.execute(query, values).fetchone()[0]:
        assert time.monotonic() < deadline, query
        time.sleep(0.01)


MIGRATING = """
    SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'automata migrate'
                     AND wait_event_type = 'Lock')"""
GONE = """
    SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name = 'automata migrate')"""


def test_an_upgrade_that_is_killed_half_way_leaves_nothing_and_can_be_run_again(empty_url):
    """Another transaction holds the name `task_queue`, so the upgrade stops in the middle of its first migration."""
    with psycopg.connect(empty_url) as holder, psycopg.connect(empty_url, autocommit=True) as watcher:
        holder.execute("CREATE TABLE task_queue ()")
        code = f"from automata.store import migrate; migrate.upgrade({empty_url!r})"
        child = subprocess.Popen([sys.executable, "-c", code])
        wait_for(watcher, MIGRATING)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        holder.rollback()
        wait_for(watcher, GONE)
        assert watcher.execute("SELECT to_regclass('runs')").fetchone() == (None,)
    assert migrate.current(empty_url) is None
    assert migrate.upgrade(empty_url) == list(migrate.revisions())


def test_an_upgrade_that_fails_leaves_nothing_and_says_why(empty_url):
    with psycopg.connect(empty_url) as conn:
        conn.execute("CREATE TABLE task_queue ()")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate.upgrade(empty_url)
    assert migrate.current(empty_url) is None


async def test_a_database_behind_is_refused_with_the_command_that_helps(empty_url):
    with pytest.raises(Unavailable, match="automata migrate") as caught:
        await Database.open(empty_url)
    assert caught.value.code == "not_migrated"
    db = await Database.open(empty_url, migrated=False)
    await db.ping()
    await db.close()


async def test_a_database_ahead_is_fine(empty_url):
    """During a rolling upgrade the old version meets the new version's tables."""
    migrate.upgrade(empty_url)
    with psycopg.connect(empty_url) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")

    await (await Database.open(empty_url)).close()
    assert migrate.upgrade(empty_url) == []


def test_an_unreachable_database_is_unavailable():
    url = "postgresql://ada:secret@127.0.0.1:1/none"
    for call in (migrate.current, migrate.pending, migrate.upgrade):
        with pytest.raises(Unavailable) as caught:
            call(url)
        assert "secret" not in str(caught.value)
        assert "none on 127.0.0.1:1" in str(caught.value)
