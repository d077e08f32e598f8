"""Fixtures of every test: a real PostgreSQL, and a fresh, migrated database for each test module.

The server is the one of AUTOMATA_DATABASE_URL (its user must be allowed to create databases), else an embedded one
under `build/` that all workers and sessions share. Databases are copies of a template that is migrated once.
`amqp_url` and `rabbit_node` bring a real RabbitMQ (tests/rabbitmq.py).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from automata.store import migrate
from automata.store.embedded import start_embedded
from tests import costs, figures, scheduling
from tests.rabbitmq import Node, emptied, own_node, shared_node, worker_url

ROOT = Path(__file__).parents[1]
_PREFIX = "automata_test"
_COSTS = "automata-costs"
_SERVER_SETTINGS = {
    # Tests kill processes, never the machine, so nothing hangs on the disk.
    "fsync": "off",
    "full_page_writes": "off",
    # Each database gets a worker of autovacuum every so often, and there is one database a test module.
    "autovacuum_naptime": "10min",
}
_numbers = itertools.count()

# Where an environment forbids bytecode files, each of the hundreds of processes of a run compiles Automata again, a
# third of the processor time of a short one. Every child reads this, workers included: so before any of them starts.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# A shell that puts a command into the background has it ignore Ctrl-C, and so do all that the command starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(figures.Plugin())
    config.pluginmanager.register(costs.Plugin(), _COSTS)
    config.pluginmanager.register(scheduling.Plugin())


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests and fixtures run on asyncio, each test in a loop of its own."""
    return "asyncio"


@pytest.fixture(autouse=True)
def root_log_level() -> Iterator[None]:
    """What a command of the test's own process sets stays with that test: others listen to warnings."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> Iterator[str]:
    """A server where databases may be made; the URL's own database is left alone."""
    if url := os.environ.get("AUTOMATA_DATABASE_URL"):
        yield url
        return
    data_dir = Path(os.environ.get("AUTOMATA_TEST_DATA_DIR") or ROOT / "build" / "test-postgres")
    with start_embedded(data_dir, settings=_SERVER_SETTINGS) as server:
        meter = pytestconfig.pluginmanager.get_plugin(_COSTS)
        meter.watch_server(server.pid)
        yield server.url
        meter.leave_server()


@pytest.fixture(scope="session")
def make_database(server_url: str) -> Iterator[Callable[[], str]]:
    """Call it for the URL of one more fresh, migrated database; all are dropped at the end."""
    made: list[str] = []

    def make() -> str:
        name = f"{_PREFIX}_{os.getpid()}_{next(_numbers)}"
        with _admin(server_url) as conn:
            conn.execute(
                # Files are copied for less than half of what it takes to write a copy through the log.
                sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                    *map(sql.Identifier, (name, template))
                )
            )
        made.append(name)
        return _with_database(server_url, name)

    with _admin(server_url) as conn:
        _drop(conn, _leftovers(conn))
        template = _template(conn, server_url)
    yield make
    with _admin(server_url) as conn:
        _drop(conn, made)


@pytest.fixture
def make_empty_database(server_url: str) -> Iterator[Callable[[], str]]:
    """Call it for the URL of a database without any tables."""
    made: list[str] = []

    def make() -> str:
        name = f"{_PREFIX}_{os.getpid()}_{next(_numbers)}"
        with _admin(server_url) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return _with_database(server_url, name)

    yield make
    with _admin(server_url) as conn:
        _drop(conn, made)


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[], str], server_url: str) -> Iterator[str]:
    """This module's own database, with all tables and no rows."""
    url = make_database()
    yield url
    _drop_database(server_url, url)


@pytest.fixture
def fresh_database_url(make_database: Callable[[], str], server_url: str) -> Iterator[str]:
    """This test's own database."""
    url = make_database()
    yield url
    _drop_database(server_url, url)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The shared RabbitMQ starts while other tests run; who needs it first waits for the rest of its start."""
    needed = any("amqp_url" in getattr(item, "fixturenames", ()) for item in session.items)
    starts_here = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0" and not session.config.option.collectonly
    is_controller = bool(getattr(session.config.option, "numprocesses", None)) and not hasattr(
        session.config, "workerinput"
    )
    if needed and starts_here and not is_controller and "AUTOMATA_TEST_AMQP_URL" not in os.environ:
        shared_node(wait=False)


@pytest.fixture
def amqp_url() -> Iterator[str]:
    """A virtual host of a running RabbitMQ with nothing of ours on it, this test's alone."""
    with emptied(worker_url()) as url:
        yield url


@pytest.fixture(scope="module")
def rabbit_node() -> Iterator[Node]:
    """A running RabbitMQ of this module's own, to kill and to start again; leave it running."""
    with own_node() as node:
        yield node


def _template(conn: psycopg.Connection, server_url: str) -> str:
    files = sorted((ROOT / "migrations").rglob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    name = f"{_PREFIX}_template_{digest}"
    conn.execute("SELECT pg_advisory_lock(hashtext(%s))", [_PREFIX])
    try:
        if not conn.execute("SELECT FROM pg_database WHERE datname = %s", [name]).rowcount:
            fresh = f"{name}_new"
            _drop(conn, [fresh])
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(fresh)))
            migrate.upgrade(_with_database(server_url, fresh))
            conn.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (fresh, name))))
    finally:
        conn.execute("SELECT pg_advisory_unlock(hashtext(%s))", [_PREFIX])
    return name


def _leftovers(conn: psycopg.Connection) -> list[str]:
    """Databases of sessions that were killed."""
    rows = conn.execute(
        "SELECT datname, split_part(datname, '_', 3) FROM pg_database WHERE datname ~ %s",
        [f"^{_PREFIX}_[0-9]+_"],
    ).fetchall()
    return [name for name, pid in rows if not Path("/proc", pid).exists() and Path("/proc").exists()]


def _drop(conn: psycopg.Connection, names: list[str]) -> None:
    for name in names:
        conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _drop_database(server_url: str, url: str) -> None:
    with _admin(server_url) as conn:
        _drop(conn, [str(conninfo_to_dict(url)["dbname"])])


def _admin(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True)


def _with_database(url: str, name: str) -> str:
    """The same server, another database; stays a URL, since that is what users give."""
    parts = conninfo_to_dict(url)
    current = str(parts.get("dbname") or "")
    head, _, query = url.partition("?")
    assert head.endswith(f"/{current}"), f"a URL with a database in it is needed, not {head}"
    return f"{head.removesuffix(current)}{name}" + (f"?{query}" if query else "")
