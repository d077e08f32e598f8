"""The way into PostgreSQL: one pool a process, transactions, time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import UndefinedTable
from psycopg.types.json import set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool

from automata.errors import Unavailable
from automata.store import migrate
from automata.store.error_mapping import MIGRATE_HINT, START_HINT, describe, mapped_errors
from automata.store.json_codec import dumps
from automata.store.scalars import fetch_value

Connection: TypeAlias = AsyncConnection[Any]

CONNECT_SEC = 5
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

    def __init__(self, url: str, conninfo: str, pool: AsyncConnectionPool[Connection]) -> None:
        self.url = url
        self.label = describe(url)
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
    ) -> Database:
        """Connect and check the server: at least PostgreSQL 15 and, unless `migrated` is False, our tables.

        `settings` are session settings laid over LIMITS. Raises Unavailable within CONNECT_SEC or so.
        """
        db = cls.at(url, min_size=min_size, max_size=max_size, name=name, settings=settings)
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
    ) -> Database:
        """A database that nobody has talked to yet; until `start` has succeeded every block raises Unavailable."""
        conninfo = conninfo_of(url, name, {**LIMITS, **PLANS, **(settings or {})})
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo,
            kwargs={"autocommit": True, "prepare_threshold": 2},
            min_size=min_size,
            max_size=max(min_size, max_size),
            configure=_configure,
            timeout=10.0,
            # A burst waits in line, a flood is told to come back: memory stays bounded.
            max_waiting=1000,
            open=False,
        )
        return cls(url, conninfo, pool)

    async def start(self, *, migrated: bool = True) -> None:
        """Connect and check, as `open` says; may be called again after it raised Unavailable."""
        await _check(self._conninfo, self.label, migrated)
        await self._pool.open()

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
        """A connection in autocommit: each statement is its own transaction."""
        try:
            with mapped_errors(self.label):
                async with self._pool.connection() as conn:
                    yield conn
        except Unavailable as error:
            if error.code == "connection_lost":
                self._drop_dead()
            raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """BEGIN … COMMIT; any exception rolls back. Leaving the block without one means committed."""
        async with self.connection() as conn, conn.transaction():
            yield conn

    async def ping(self) -> None:
        """One round trip; raises Unavailable."""
        async with self.connection() as conn:
            await conn.execute("SELECT 1")

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
        merged["options"] = f"{options} {parts.get('options', '')}".strip()
        return make_conninfo("", **merged)
    except psycopg.ProgrammingError as error:
        raise Unavailable(
            "The database's address is not understood.",
            code="bad_address",
            hint="AUTOMATA_DATABASE_URL is written postgresql://user:password@host:5432/database.",
        ) from error


async def _configure(conn: Connection) -> None:
    set_json_dumps(dumps, conn)
    set_json_loads(orjson.loads, conn)


async def _check(conninfo: str, label: str, migrated: bool) -> None:
    """On a connection of its own: the pool would try for long and could not say why it failed."""
    try:
        # connect_timeout counts per address, and name resolution not at all.
        async with asyncio.timeout(CONNECT_SEC + 1):
            with mapped_errors(label):
                async with await AsyncConnection.connect(conninfo, autocommit=True) as conn:
                    _check_version(conn.info.server_version, label)
                    if migrated:
                        await _check_tables(conn, label)
    except TimeoutError as error:
        raise Unavailable(f"{label} does not answer.", code="connection_lost", hint=START_HINT) from error


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
