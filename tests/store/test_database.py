"""Connections, transactions and errors, against a real server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import AsyncExitStack

import psycopg
import pytest
from psycopg import errors as pg

from automata.errors import Conflict, Invalid, Missing, Unavailable
from automata.store import database
from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.error_mapping import describe, translate


@pytest.fixture
async def open_database(database_url):
    """Call it with the options of Database.open; what it opens is closed when the test ends."""
    async with AsyncExitStack() as stack:

        async def opened(**options):
            return await stack.enter_async_context(await Database.open(database_url, **options))

        yield opened


@pytest.fixture
async def db(open_database):
    return await open_database()


async def scalar(conn, query, *values):
    return (await (await conn.execute(query, values)).fetchone())[0]


async def test_a_block_that_ends_is_committed_and_one_that_raises_is_not(db):
    async with db.transaction() as conn:
        await conn.execute("CREATE TABLE kept (n int)")
    with pytest.raises(Missing):  # noqa: PT012 - what the block's end does is what is tested
        async with db.transaction() as conn:
            await conn.execute("INSERT INTO kept VALUES (1)")
            raise Missing("gone")
    async with db.connection() as conn:
        assert await scalar(conn, "SELECT count(*) FROM kept") == 0
        await conn.execute("INSERT INTO kept VALUES (2)")
    async with db.connection() as conn:
        assert await scalar(conn, "SELECT n FROM kept") == 2


async def test_a_cancelled_block_is_rolled_back_and_its_connection_is_clean(open_database):
    db = await open_database(max_size=1)
    entered = asyncio.Event()

    async def endless():
        async with db.transaction() as conn:
            await conn.execute("CREATE TABLE cancelled ()")
            entered.set()
            await conn.execute("SELECT pg_sleep(20)")

    task = asyncio.create_task(endless())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.connection() as conn:
        assert await scalar(conn, "SELECT to_regclass('cancelled')") is None


async def test_every_connection_has_its_limits_and_its_name(open_database):
    db = await open_database(name="tests", settings={"statement_timeout": "3s"})
    async with db.connection() as conn:
        shown = [
            await scalar(conn, f"SHOW {name}")
            for name in (
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "application_name",
            )
        ]
    assert shown == ["3s", "5s", "30s", "tests"]


async def test_json_comes_and_goes_as_values(db):
    value = {"text": "é\0", "big": 2**70, "list": [1.5, None, True]}
    async with db.connection() as conn:
        assert await scalar(conn, "SELECT %s::json", psycopg.types.json.Json(value)) == value


@pytest.mark.parametrize(
    ("statement", "error", "code"),
    [
        ("INSERT INTO flows (name) VALUES ('twice'), ('twice')", Conflict, "conflict"),
        ("SELECT pg_sleep(2)", Unavailable, "timeout"),
        ("SELECT 'x'::uuid", Invalid, "unfit_value"),
        ("SELECT * FROM tomorrow", Unavailable, "not_migrated"),
        ("SELECT tomorrow FROM flows", Unavailable, "not_migrated"),
        ("SELECT pg_terminate_backend(pg_backend_pid())", Unavailable, "connection_lost"),
    ],
)
async def test_what_postgresql_refuses_is_one_of_our_errors(open_database, statement, error, code):
    db = await open_database(settings={"statement_timeout": "100ms"})
    with pytest.raises(error) as caught:
        async with db.transaction() as conn:
            await conn.execute(statement)
    assert caught.value.code == code
    assert isinstance(caught.value.__cause__, psycopg.Error)
    await db.ping()


async def test_what_only_a_bug_can_cause_passes_unchanged(db):
    with pytest.raises(pg.SyntaxError):
        async with db.connection() as conn:
            await conn.execute("SELEC 1")


async def test_a_lock_that_is_not_given_is_unavailable(open_database):
    db = await open_database(settings={"lock_timeout": "50ms"})
    async with db.transaction() as holder:
        await holder.execute("LOCK flows IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as caught:
            async with db.transaction() as conn:
                await conn.execute("LOCK flows")
        assert caught.value.code == "timeout"


async def test_two_transactions_that_cross_say_retry(db):
    async with db.transaction() as conn:
        await conn.execute("INSERT INTO flows (name) VALUES ('x'), ('y')")
    ready = asyncio.Barrier(2)

    async def cross(names):
        async with db.transaction() as conn:
            for name in names:
                await conn.execute("UPDATE flows SET labels = '{}' WHERE name = %s", [name])
                if name == names[0]:
                    await ready.wait()

    done = await asyncio.gather(cross("xy"), cross("yx"), return_exceptions=True)
    (error,) = [item for item in done if item]
    assert isinstance(error, Unavailable)
    assert error.code == "retry"


async def test_connections_lost_together_fail_once_not_once_each(database_url, open_database):
    db = await open_database(min_size=4, max_size=4)
    ready = asyncio.Barrier(4)

    async def use():
        async with db.connection() as conn:
            await conn.execute("SELECT 1")
            await ready.wait()

    await asyncio.gather(*(use() for _ in range(4)))
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(Unavailable) as caught:
        await db.ping()
    assert caught.value.code == "connection_lost"
    await db._sweep
    for _ in range(10):
        await db.ping()


async def test_a_busy_pool_is_unavailable_not_endless(open_database):
    db = await open_database(max_size=1)
    db._pool.timeout = 0.05
    async with db.connection():
        with pytest.raises(Unavailable) as caught:
            await db.ping()
    assert caught.value.code == "pool_exhausted"
    await db.ping()


async def test_a_closed_database_says_so(database_url):
    db = await Database.open(database_url)
    await db.close()
    with pytest.raises(Unavailable) as caught:
        await db.ping()
    assert caught.value.code == "closed"


UNREACHABLE = [
    ("postgresql://ada:secret@127.0.0.1:1/orders", "orders on 127.0.0.1:1 is not reachable"),
    ("postgresql://ada:secret@no-such-host.invalid/orders", "orders on no-such-host.invalid"),
    ("postgresql://ada:secret@/orders?host=/nowhere", "orders on /nowhere is not reachable"),
    ("mysql://ada:secret@host/orders", "address is not understood"),
    ("not an address, secret", "address is not understood"),
]


@pytest.mark.parametrize(("url", "message"), UNREACHABLE, ids=[url.partition(":")[0] for url, _ in UNREACHABLE])
async def test_an_address_that_leads_nowhere_is_unavailable_at_once_and_keeps_its_password(url, message):
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=message) as caught:
        await Database.open(url)
    assert time.monotonic() - begun < 60
    assert "secret" not in str(caught.value)
    assert "AUTOMATA_DATABASE_URL" in str(caught.value)


async def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(database, "CONNECT_SEC", 2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://ada:secret@127.0.0.1:{mute.getsockname()[1]}/orders"
        begun = time.monotonic()
        with pytest.raises(Unavailable):
            await Database.open(url)
        assert time.monotonic() - begun < 60


async def test_a_wrong_database_or_user_is_named(server_url, database_url):
    for url, word in (
        (database_url.replace("/automata_test", "/no_test", 1), "does not exist"),
        (database_url.replace("://automata@", "://nobody@", 1), "nobody"),
    ):
        if url == database_url:  # a server of one's own has other names
            continue
        with pytest.raises(Unavailable, match=word):
            await Database.open(url)


def test_a_server_that_is_too_old_is_refused():
    with pytest.raises(Unavailable, match="PostgreSQL 14; 15 is the oldest"):
        database._check_version(140_012, "orders on db")
    database._check_version(150_000, "orders on db")


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("postgresql://u:p@db:6432/orders", "orders on db:6432"),
        ("postgresql://db/orders", "orders on db"),
        ("postgresql:///orders?host=/run/x", "orders on /run/x"),
        ("host=db dbname=orders password=p", "orders on db"),
        ("http://u:p@db/x", "the database"),
    ],
)
def test_a_database_is_described_without_user_and_password(url, text):
    assert describe(url) == text


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (pg.TooManyConnections, "resources"),
        (pg.DiskFull, "resources"),
        (pg.SerializationFailure, "retry"),
        (pg.ReadOnlySqlTransaction, "read_only"),
        (pg.CannotConnectNow, "connection_lost"),
        (pg.IdleInTransactionSessionTimeout, "timeout"),
        (pg.ForeignKeyViolation, "conflict"),
    ],
)
def test_states_that_are_hard_to_reach_have_their_reading_too(error, code):
    assert translate(error("as it was said")).code == code


async def test_a_killed_server_is_unavailable_until_it_is_back_and_nothing_committed_is_lost(room):
    with start_embedded(room) as first:
        async with await Database.open(first.url, migrated=False, max_size=3) as db:
            async with db.transaction() as conn:
                await conn.execute("CREATE TABLE kept (n int)")
                await conn.execute("INSERT INTO kept VALUES (1)")
            with pytest.raises(Unavailable):  # noqa: PT012 - it may come from any of these statements
                async with db.transaction() as conn:
                    await conn.execute("INSERT INTO kept VALUES (2)")
                    os.kill(first.pid, signal.SIGKILL)
                    while True:
                        await conn.execute("SELECT 1")
            with await asyncio.to_thread(start_embedded, room) as second:
                assert second.pid != first.pid
                deadline = time.monotonic() + 120
                while True:
                    try:
                        async with db.connection() as conn:
                            assert await scalar(conn, "SELECT array_agg(n) FROM kept") == [1]
                        break
                    except Unavailable:
                        assert time.monotonic() < deadline
                        await asyncio.sleep(0.05)
