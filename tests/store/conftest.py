"""Helpers of the store's tests: a transaction on this module's database, builders of flows and runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from automata.flow.model import content_hash
from automata.store.database import Connection, Database
from automata.store.flow_writes import DesiredFlow, write_flows
from automata.store.new_runs import NewRun, create_runs
from automata.store.sync import SourceRow, ensure_source
from tests.emptying import empty

TABLES = (
    "task_queue, task_attempts, tasks, run_results, run_attempts, dead_letters, runs, schedules, flow_versions,"
    " notification_rules, flows, sync_members, sync_sets, sync_deliveries, sync_attempts, proposal_checks,"
    " proposal_reviews, proposals, sync_sources"
)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    """A transaction on empty tables, committed when the test ends."""
    async with await Database.open(database_url) as db:
        async with db.transaction() as conn:
            await empty(conn, TABLES)
        async with db.transaction() as conn:
            yield conn


def spec(name: str, schedules: Sequence[dict[str, Any]] = (), **extra: Any) -> dict[str, Any]:
    steps = [{"id": "fetch", "type": "http", "config": {"url": "https://example.com"}}]
    return {"name": name, "steps": steps, **({"schedules": list(schedules)} if schedules else {}), **extra}


def wanted(name: str, schedules: Sequence[dict[str, Any]] = (), **extra: Any) -> DesiredFlow:
    """A flow as a sync would bring it; `extra` goes to its spec, so another value makes another version."""
    renamed_from = extra.pop("renamed_from", None)
    content = spec(name, schedules, **extra)
    return DesiredFlow(
        name=name,
        spec=content,
        content_hash=content_hash(content),
        commit_sha="a" * 40,
        path=f"flows/{name}.yaml",
        author="Ada",
        renamed_from=renamed_from,
    )


async def a_source(conn: Connection, url: str = "https://example.com/flows.git") -> SourceRow:
    return await ensure_source(conn, url, branch="main", environment="prod")


async def a_flow(conn: Connection, name: str = "orders") -> tuple[UUID, UUID]:
    """The ids of an API-owned flow and of its version."""
    written = await write_flows(conn, None, [wanted(name)])
    cursor = await conn.execute("SELECT current_version_id FROM flows WHERE name = %s", [name])
    row = await cursor.fetchone()
    assert row is not None
    return written.ids[name], row[0]


async def some_runs(conn: Connection, flow: tuple[UUID, UUID], number: int = 1) -> list[UUID]:
    runs = [NewRun(*flow, inputs={"n": n}) for n in range(number)]
    return [run.id for run in await create_runs(conn, runs)]


@pytest.fixture(scope="session")
def make() -> Any:
    """The builders above, since test files do not import one another."""

    class Make:
        spec = staticmethod(spec)
        wanted = staticmethod(wanted)
        source = staticmethod(a_source)
        flow = staticmethod(a_flow)
        runs = staticmethod(some_runs)

    return Make


@pytest.fixture
def room() -> Iterator[Path]:
    """A short folder that a server's user can reach, for a server of the test's own; gone afterwards, server too."""
    path = Path(tempfile.mkdtemp(prefix="automata-test-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    for pid_file in path.glob("**/postmaster.pid"):
        with contextlib.suppress(ProcessLookupError, OSError, ValueError):
            pid = int(pid_file.read_text().split()[0])
            if str(path) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGQUIT)
    shutil.rmtree(path, ignore_errors=True)
