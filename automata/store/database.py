"""The way into PostgreSQL: one pool a process, transactions, time limits.

With a `direct_url` the other address leads through a pooler that gives a server to each transaction (store/pooler.py).
Then a block is a transaction, which sets our settings for itself, and no statement is prepared.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import UndefinedTable
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from automata.errors import Unavailable
from automata.store import migrate, pooler
from automata.store.error_mapping import MIGRATE_HINT, START_HINT, describe, mapped_errors
from automata.store.json_codec import dumps, loads
from automata.store.scalars import fetch_value

Connection: TypeAlias = AsyncConnection[Any]

CONNECT_SEC = 5
# A pool tries again after 1, 2, 4 … seconds, so after a long outage it would be away for as long once more. When it has
# given up, whoever asks next has it try at once.
RECONNECT_SEC = 5.0
OLDEST_SERVER = 15
# No statement of ours is slow by intent, no lock is held across a network call: what takes longer is stuck.
LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
}
# The queue is empty now and holds 100,000 rows in a second, and a plan that was made for the empty one is kept: it must
# not be one that reads the whole table for each row of a batch. Every statement of ours has an index to go by.
PLANS = {"enable_seqscan": "off", "jit": "off"}


class Database:
    """One process's connections. Make it with `open`; every error that leaves a block is an AutomataError."""

    def __init__(
        self, url: str, direct_url: str, conninfo: str, pool: AsyncConnectionPool[Connection], settings: sql.Composed
    ) -> None:
        """`settings` are executed in each transaction where `direct_url` is given."""
        self.url = url
        self.session_url = direct_url or url  # where a session is ours for as long as the connection lives
        self.label = describe(url)
        self._is_pooled = bool(direct_url)
        self._settings = settings
        self._conninfo = conninfo
        self._pool = pool
        self._sweep: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        name: str = "automata",
        migrated: bool = True,
        settings: Mapping[str, str] | None = None,
        direct_url: str = "",
    ) -> Database:
        """Connect and check the server: at least PostgreSQL 15 and, unless `migrated` is False, our tables.

        `settings` are laid over LIMITS. `direct_url` is the same database past the pooler that `url` leads through.
        Raises Unavailable within CONNECT_SEC or so, for a pooler without `direct_url` too.
        """
        db = cls.at(url, min_size=min_size, max_size=max_size, name=name, settings=settings, direct_url=direct_url)
        await db.start(migrated=migrated)
        return db

    @classmethod
    def at(
        cls,
        url: str,
        *,
        min_size: int = 1,
        max_size: int = 10,
        name: str = "automata",
        settings: Mapping[str, str] | None = None,
        direct_url: str = "",
    ) -> Database:
        """A database that nobody has talked to yet; until `start` has succeeded every block raises Unavailable."""
        ours = {**LIMITS, **PLANS, **(settings or {})}
        conninfo = conninfo_of(url, name, {} if direct_url else ours)
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": not direct_url, "prepare_threshold": None if direct_url else 2},
            min_size=min_size,
            max_size=max(min_size, max_size),
            configure=_configure,
            timeout=10.0,
            reconnect_timeout=RECONNECT_SEC,
            # A burst waits in line, a flood is told to come back: memory stays bounded.
            max_waiting=1000,
            open=False,
        )
        return cls(url, direct_url, conninfo, pool, set_settings(ours, for_transaction=True))

    async def start(self, *, migrated: bool = True) -> None:
        """Connect and check, as `open` says; may be called again after it raised Unavailable."""
        try:
            # connect_timeout counts per address, and name resolution not at all.
            async with asyncio.timeout(CONNECT_SEC + 1):
                await self._check(migrated)
        except TimeoutError as error:
            raise Unavailable(f"{self.label} does not answer.", code="connection_lost", hint=START_HINT) from error
        await self._pool.open()

    async def _check(self, migrated: bool) -> None:
        """On a connection of its own: the pool would try for long and could not say why it failed."""
        with mapped_errors(self.label):
            async with await AsyncConnection.connect(self._conninfo, autocommit=True) as conn:
                _check_version(conn.info.server_version, self.label)
                if self._is_pooled:
                    await _check_direct(conn, self.label, self.session_url)
                else:
                    await pooler.refuse_pooler(conn, self.label)
                if migrated:
                    await _check_tables(conn, self.label)

    async def close(self) -> None:
        """Close all connections; blocks that are open fail."""
        if self._sweep:
            self._sweep.cancel()
        await self._pool.close()

    async def __aenter__(self) -> Database:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit: each statement is its own transaction. Behind a pooler the block is one.

        So what may be read of such a block is the same either way, and a block does not rely on a commit within it.
        """
        try:
            with mapped_errors(self.label):
                async with self._pool.connection() as conn:
                    if self._is_pooled:
                        async with conn.pipeline():  # with BEGIN in one round trip
                            await conn.execute(self._settings)
                    yield conn
        except Unavailable as error:
            if error.code == "connection_lost":
                self._drop_dead()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """BEGIN … COMMIT; any exception rolls back. Leaving the block without one means committed."""
        async with self.connection() as conn:
            if self._is_pooled:
                yield conn
                return
            async with conn.transaction():
                yield conn

    async def ping(self) -> None:
        """One round trip; raises Unavailable."""
        async with self.connection() as conn:
            await conn.execute("SELECT 1")

    async def ping_direct(self) -> None:
        """Like `ping` past the pooler, where there is one; raises TimeoutError too."""
        if self._is_pooled:
            conn = await open_session(self.session_url, "automata check", LIMITS)
            await conn.close()

    def pool(self) -> dict[str, int]:
        """Connections by state (`idle`, `busy`), how many there may be (`most`), and who waits for one (`waiting`)."""
        now = self._pool.get_stats()
        size, idle = now.get("pool_size", 0), now.get("pool_available", 0)
        most, waiting = now.get("pool_max", 0), now.get("requests_waiting", 0)
        return {"idle": idle, "busy": max(0, size - idle), "most": most, "waiting": waiting}

    def _drop_dead(self) -> None:
        """After a restart of the server every pooled connection is dead: test them all now, not one a failure."""
        if self._sweep is None or self._sweep.done():
            self._sweep = asyncio.create_task(self._pool.check())


def conninfo_of(url: str, name: str, settings: Mapping[str, str]) -> str:
    """What libpq needs: the URL with our name and session settings. Raises Unavailable for what is no address."""
    try:
        parts = conninfo_to_dict(url)
        options = " ".join(f"-c {key}={value}" for key, value in settings.items())
        # What the URL says itself comes last and wins.
        merged = {"connect_timeout": CONNECT_SEC, "application_name": name, **parts}
        if every := f"{options} {parts.get('options', '')}".strip():
            merged["options"] = every
        return make_conninfo("", **merged)
    except psycopg.ProgrammingError as error:
        raise Unavailable(
            "The database's address is not understood.",
            code="bad_address",
            hint="AUTOMATA_DATABASE_URL is written postgresql://user:password@host:5432/database.",
        ) from error


async def _configure(conn: Connection) -> None:
    set_json_dumps(dumps, conn)
    set_json_loads(loads, conn)


def set_settings(settings: Mapping[str, str], *, for_transaction: bool) -> sql.Composed:
    """One statement that sets all of them, for the transaction or for the session."""
    calls = [
        sql.SQL("set_config({}, {}, {})").format(name, value, sql.Literal(for_transaction))
        for name, value in settings.items()
    ]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


async def open_session(url: str, name: str, settings: Mapping[str, str]) -> Connection:
    """A connection outside the pool with a session of its own, for LISTEN and for locks that outlive a transaction.

    `url` is `Database.session_url`. Raises Unavailable, or TimeoutError, within CONNECT_SEC or so.
    """
    async with asyncio.timeout(CONNECT_SEC + 1):
        with mapped_errors(describe(url)):
            conn = await AsyncConnection.connect(conninfo_of(url, name, {}), autocommit=True)
            try:
                # Not in the address: a pooler refuses them there, also one that works per session.
                await conn.execute(set_settings(settings, for_transaction=False))
            except BaseException:
                await conn.close()
                raise
    return conn


async def _check_direct(pooled: Connection, label: str, url: str) -> None:
    """The direct address leads to the same server, and past whatever gives it to somebody else in between.

    Nothing is set for these sessions: they may turn out to be everybody's.
    """
    conninfo = conninfo_of(url, "automata check", {})
    with mapped_errors(describe(url)):
        async with await AsyncConnection.connect(conninfo, autocommit=True) as direct:
            await pooler.refuse_other_server(pooled, direct, label, describe(url))
            if await pooler.leads_through_pooler(direct):
                async with await AsyncConnection.connect(conninfo, autocommit=True) as other:
                    await pooler.refuse_shared_sessions(direct, other, describe(url))


def _check_version(version: int, label: str) -> None:
    if version // 10_000 < OLDEST_SERVER:
        raise Unavailable(
            f"{label} is PostgreSQL {version // 10_000}; {OLDEST_SERVER} is the oldest that works.",
            code="server_too_old",
        )


async def _check_tables(conn: Connection, label: str) -> None:
    try:
        current = await fetch_value(conn, migrate.READ_CURRENT)
    except UndefinedTable:
        current = None
    if missing := migrate.later_than(current):
        raise Unavailable(
            f"{label} lacks {len(missing)} migration(s): {', '.join(missing)}.",
            code="not_migrated",
            hint=MIGRATE_HINT,
        )
