"""A database that answers and is of no use all the same is told."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from automata.errors import Unavailable
from automata.store import readiness
from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.error_mapping import translate
from automata.store.readiness import RIGHTS, find_troubles
from automata.store.tables import metadata
from tests.few_rights import few_rights


@pytest.fixture
def role(fresh_database_url: str) -> Iterator[str]:
    """The address of this test's database for a role that has what docs/operations.md grants."""
    with few_rights(fresh_database_url) as url:
        yield url


def test_the_rights_that_are_looked_for_are_those_on_our_tables() -> None:
    assert RIGHTS.keys() == metadata.tables.keys() | {"alembic_version"}


async def test_the_owner_and_the_role_of_the_docs_have_what_they_need(fresh_database_url: str, role: str) -> None:
    for url in (fresh_database_url, role):
        async with await Database.open(url) as db:
            assert await find_troubles(db) == []


async def test_a_right_that_is_missing_is_named_with_what_to_do(fresh_database_url: str, role: str) -> None:
    name = sql.Identifier(str(conninfo_to_dict(role)["user"]))
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("REVOKE INSERT, UPDATE ON tasks, runs FROM {}").format(name))
    async with await Database.open(role) as db:
        (trouble,) = await find_troubles(db)
        assert re.search(
            r"lacks rights: INSERT runs, UPDATE runs, INSERT tasks, UPDATE tasks\. .*docs/operations", str(trouble)
        )
        with pytest.raises(Unavailable, match="permission denied for table tasks") as caught:
            async with db.connection() as conn:
                await conn.execute("UPDATE tasks SET step = step")
        assert caught.value.code == "no_rights"
    with psycopg.connect(fresh_database_url, autocommit=True) as conn:
        conn.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {}").format(name))
    with pytest.raises(Unavailable, match="permission denied for table alembic_version"):
        await Database.open(role)


async def test_a_database_that_takes_no_writes_is_told(fresh_database_url: str) -> None:
    settings = {"default_transaction_read_only": "on"}
    async with await Database.open(fresh_database_url, settings=settings) as db:
        assert [trouble.what.endswith("is read-only.") for trouble in await find_troubles(db)] == [True]


async def test_a_disk_without_room_is_told_and_a_limit_on_sorts_is_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Database.open(database_url) as db:
        monkeypatch.setattr(readiness, "_FILL", "DO $$ BEGIN RAISE disk_full; END $$")
        (trouble,) = await find_troubles(db)
        assert trouble.what.startswith("The disk of ")
        monkeypatch.setattr(readiness, "_FILL", "DO $$ BEGIN RAISE configuration_limit_exceeded; END $$")
        assert await find_troubles(db) == []


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 120 MB of this test's own."""
    place = Path(tempfile.mkdtemp(prefix="automata-disk-", dir="/tmp"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m,mode=755", "tmpfs", place], capture_output=True)
    try:
        if mounted.returncode:
            pytest.skip("this user may not mount a disk")
        yield place
    finally:
        subprocess.run(["umount", "-l", place], capture_output=True)
        place.rmdir()


async def test_a_disk_that_is_full_is_told_until_there_is_room_again(small_disk: Path) -> None:
    with start_embedded(small_disk / "data", settings={"fsync": "off"}) as server:
        async with await Database.open(server.url, migrated=False) as db:
            assert await find_troubles(db) == []
            filler = small_disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 2**16)
            (trouble,) = await find_troubles(db)
            assert trouble.what.startswith("The disk of ")
            filler.unlink()
            assert await find_troubles(db) == []


def test_the_look_at_the_disk_writes_to_it(database_url: str) -> None:
    with psycopg.connect(database_url, options="-c work_mem=64kB") as conn:
        plan = conn.execute(f"EXPLAIN (ANALYZE, COSTS off) {readiness._FILL}".encode()).fetchall()
    kilobytes = re.search(r"external merge  Disk: (\d+)kB", str(plan))
    assert kilobytes, plan
    assert int(kilobytes[1]) > 1000


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        ({"dbname": "no_such_database"}, "no_database", "createdb no_such_database"),
        ({"user": "no_such_role"}, "no_role", "A role with few rights"),
    ],
)
async def test_a_database_or_role_that_does_not_exist_is_told_with_what_to_do(
    database_url: str, parts: dict[str, str], code: str, words: str
) -> None:
    with pytest.raises(Unavailable, match=words) as caught:
        await Database.open(make_conninfo(database_url, **parts))
    assert caught.value.code == code


SAID = 'connection failed: connection to server at "10.0.0.5", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('password authentication failed for user "automata"', "wrong_password"),
        ("SASL authentication failed", "wrong_password"),  # PgBouncer
        ('role "automata" does not exist', "no_role"),
        ('database "automata" does not exist', "no_database"),
        ('no pg_hba.conf entry for host "10.0.0.9", user "automata", database "automata", no encryption', "not_let_in"),
        ("unsupported startup parameter: options", "pooler"),
        ("the database system is starting up", "connection_lost"),
    ],
)
def test_each_way_of_being_refused_has_its_own_code_and_advice(text: str, code: str) -> None:
    error = translate(psycopg.OperationalError(SAID + text), "automata on db")
    assert isinstance(error, Unavailable)
    assert error.code == code
    assert error.hint
