"""Behind a real PgBouncer: one that works per transaction is used as such, or refused at the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from automata.errors import Unavailable
from automata.store import migrate, worker_queue
from automata.store.database import LIMITS, PLANS, Database
from automata.store.leadership import LeaderLock
from automata.store.listen_notify import open_notify_connection
from automata.store.new_runs import NewRun, create_runs
from automata.store.orchestrator_queue import EnqueueRow, RunWrites, apply_writes, take_wakeups
from automata.store.readiness import find_troubles
from automata.store.worker_queue import TaskResult
from tests.pgbouncer import PASSWORD, Pooler, find_program, pooler, programs, recipe

MakePooler = Callable[..., AbstractContextManager[Pooler]]
FLOW = uuid4()


@pytest.fixture(scope="module", params=programs() or [""], ids=lambda path: path.split("/")[-2] if path else "packaged")
def make_pooler(request: pytest.FixtureRequest, server_url: str) -> MakePooler:
    """Call it with settings of the pooler."""
    program = request.param or find_program()
    return lambda **settings: pooler(program, server_url, **settings)


@pytest.fixture(scope="module")
def transactions(make_pooler: MakePooler) -> Iterator[Pooler]:
    """Per transaction, with the pooler's defaults otherwise."""
    with make_pooler() as made:
        yield made


@pytest.fixture
async def db(transactions: Pooler, fresh_database_url: str) -> AsyncIterator[Database]:
    async with await Database.open(
        transactions.url(fresh_database_url), direct_url=fresh_database_url, max_size=8, settings={"work_mem": "5MB"}
    ) as db:
        yield db


async def value(db: Database, query: str) -> Any:
    async with db.connection() as conn:
        row = await (await conn.execute(query.encode())).fetchone()
    return row and row[0]


# -- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ignore_startup_parameters": "options"},
        {"pool_mode": "session"},
        {"pool_mode": "session", "ignore_startup_parameters": "options"},
        {"pool_mode": "statement", "ignore_startup_parameters": "options"},
    ],
)
async def test_a_pooler_that_nobody_announced_is_refused_with_what_to_do(
    make_pooler: MakePooler, fresh_database_url: str, settings: dict[str, str]
) -> None:
    with make_pooler(**settings) as made, pytest.raises(Unavailable, match="AUTOMATA_DATABASE_DIRECT_URL") as caught:
        await Database.open(made.url(fresh_database_url))
    assert caught.value.code == "pooler"


async def test_a_direct_address_that_is_the_pooler_or_another_database_is_refused(
    transactions: Pooler, database_url: str, fresh_database_url: str
) -> None:
    through = transactions.url(database_url)
    with pytest.raises(Unavailable, match="works per transaction"):
        await Database.open(through, direct_url=through)
    with pytest.raises(Unavailable, match="leads to another database"):
        await Database.open(through, direct_url=fresh_database_url)


async def test_a_password_that_the_pooler_refuses_is_told_as_one(make_pooler: MakePooler, database_url: str) -> None:
    with make_pooler(**recipe()) as made:
        with pytest.raises(Unavailable) as caught:
            await Database.open(made.url(database_url, "wrong"), direct_url=database_url)
        async with await Database.open(made.url(database_url, PASSWORD), direct_url=database_url) as db:
            await db.ping()
    assert caught.value.code == "wrong_password"


def test_migrations_hold_their_lock_past_the_pooler_or_not_at_all(
    make_pooler: MakePooler, make_empty_database: Callable[[], str]
) -> None:
    empty_url = make_empty_database()
    with make_pooler() as made:
        with pytest.raises(Unavailable) as caught:
            migrate.upgrade(made.url(empty_url))
        assert caught.value.code == "pooler"
        assert migrate.upgrade(made.url(empty_url), empty_url) == list(migrate.revisions())


# -- used --------------------------------------------------------------------------------------------------------------


async def test_every_block_has_our_settings_and_leaves_none_to_the_next_client(
    db: Database, transactions: Pooler, fresh_database_url: str
) -> None:
    expected = {**LIMITS, **PLANS, "work_mem": "5MB"}
    for block in (db.connection, db.transaction):
        async with block() as conn:
            shown = {name: await _show(conn, name) for name in expected}
        assert shown == expected
    seen = {}
    for url in (transactions.url(fresh_database_url), fresh_database_url):
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as stranger:
            seen[url] = {name: await _show(stranger, name) for name in expected}
    through, past = seen.values()
    assert through == past != expected


async def _show(conn: psycopg.AsyncConnection[Any], name: str) -> str:
    row = await (await conn.execute(f"SHOW {name}".encode())).fetchone()
    assert row is not None
    return str(row[0])


async def test_a_block_that_raises_is_rolled_back_and_one_that_ends_is_committed(db: Database) -> None:
    async with db.connection() as conn:
        await conn.execute("CREATE TABLE blocks (n int)")
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - what the block's end does is what is tested
        async with db.connection() as conn:
            await conn.execute("INSERT INTO blocks VALUES (1)")
            raise ZeroDivisionError
    async with db.connection() as conn, conn.transaction():
        await conn.execute("INSERT INTO blocks VALUES (2)")
    assert await value(db, "SELECT array_agg(n) FROM blocks") == [2]


async def test_clients_that_share_servers_get_what_they_asked_for(db: Database, fresh_database_url: str) -> None:
    """More clients than servers, each with statements of its own shape, again and again: what a connection would have
    prepared would be another's by then."""
    await asyncio.gather(*(_walk_through_the_queue(db, number) for number in range(8)))
    with psycopg.connect(fresh_database_url) as conn:
        assert conn.execute("SELECT count(*) FROM tasks").fetchone() == (8 * 6 * 4,)
        assert conn.execute("SELECT count(*) FROM task_queue").fetchone() == (0,)
    assert await value(db, "SELECT count(*) FROM pg_prepared_statements") == 0


async def _walk_through_the_queue(db: Database, number: int) -> None:
    for turn in range(6):
        async with db.transaction() as conn:
            made = await create_runs(conn, [NewRun(FLOW, uuid4(), {"n": n}) for n in range(4)])
            await conn.execute(
                "DELETE FROM task_queue WHERE run_id = ANY(%s)", [[run.id for run in made]]
            )  # the wake-ups of others are not ours to take
            lane = f"lane-{number}"
            await apply_writes(conn, RunWrites(enqueue=[EnqueueRow(run.id, "a", lane, None, uuid4()) for run in made]))
        async with db.connection() as conn:
            claims = await worker_queue.claim(conn, lane, 10, 30, "w")
        assert {claim.run.id for claim in claims} == {run.id for run in made}, turn
        assert sorted(claim.run.inputs["n"] for claim in claims) == [0, 1, 2, 3]
        results = [TaskResult(claim.run.id, claim.step, claim.fence, "SUCCEEDED") for claim in claims]
        async with db.transaction() as conn:
            assert len(await worker_queue.complete_under_lock(conn, results)) == 4


async def test_what_needs_a_session_goes_past_the_pooler(db: Database) -> None:
    lock = await LeaderLock.open(db.session_url, "test")
    other = await LeaderLock.open(db.session_url, "test")
    try:
        assert await lock.take("one") is not None
        assert await other.take("two") is None
    finally:
        await lock.close()
        await other.close()
    async with open_notify_connection(db.session_url) as ear, open_notify_connection(db.session_url) as mouth:
        await ear.listen()
        await mouth.notify(["hello"])
        async with asyncio.timeout(60):
            assert await anext(ear.notifications()) == "hello"


async def test_a_pooler_per_session_is_both_addresses(make_pooler: MakePooler, fresh_database_url: str) -> None:
    with make_pooler(pool_mode="session", default_pool_size="20") as made:
        url = made.url(fresh_database_url)
        async with await Database.open(url, direct_url=url) as db:
            async with db.transaction() as conn:
                assert (await take_wakeups(conn, 1)) == ([], 0)
            lock = await LeaderLock.open(db.session_url, "test")
            assert await lock.take("one") == 1
            await lock.ping()
            await lock.close()


async def test_a_pooler_that_went_is_unavailable_until_it_is_back(
    make_pooler: MakePooler, fresh_database_url: str
) -> None:
    with make_pooler() as made:
        async with await Database.open(made.url(fresh_database_url), direct_url=fresh_database_url) as db:
            made.stop()
            with pytest.raises(Unavailable):
                await db.ping()
            made.start()
            async with asyncio.timeout(60):
                while not await _answers(db):  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.05)


async def test_a_direct_address_that_went_is_told_though_the_pooler_answers(
    make_pooler: MakePooler, database_url: str
) -> None:
    with make_pooler() as made, make_pooler(pool_mode="session") as direct:
        through, past = made.url(database_url), direct.url(database_url)
        async with await Database.open(through, direct_url=past) as db:
            assert await find_troubles(db) == []
            direct.stop()
            await db.ping()
            with pytest.raises(Unavailable, match="not reachable"):
                await find_troubles(db)


async def _answers(db: Database) -> bool:
    try:
        await db.ping()
    except Unavailable:
        return False
    return True
