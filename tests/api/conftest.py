"""The API's tests: the application over a real PostgreSQL, asked through ASGI without a socket between."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI

from automata.access.token_text import digest, new_token_text
from automata.api.app import create_app
from automata.broker.local import LocalBroker
from automata.http.authentication import Authenticator
from automata.http.request_checks import SAFE
from automata.operations.context import AppContext
from automata.settings import Settings
from automata.store.audit import AuditFilter, current_actor, list_audit, set_actor
from automata.store.database import Database
from automata.store.flow_writes import DesiredFlow, write_flows
from automata.store.flows import get_version
from automata.store.orchestrator_queue import EnqueueRow, FinishRow, RunWrites, apply_writes
from automata.store.schedules import declare_schedules
from automata.store.sync import SourceRow, ensure_source
from automata.store.tokens import add_token
from automata.web.page import MESSAGE_COOKIE
from tests.emptying import empty

TABLES = (
    "task_queue, task_attempts, task_logs, tasks, run_results, run_attempts, dead_letters, runs, schedules,"
    " notifications, notification_events, notification_rules, processes,"
    " flow_versions, flows, sync_members, sync_sets, sync_deliveries, sync_attempts, proposal_checks,"
    " proposal_reviews, proposals, sync_sources,"
    " access_sessions, access_tokens, access_spent"
)
V1 = "/api/v1"


def spec(name: str, **extra: Any) -> dict[str, Any]:
    steps = [{"id": "fetch", "type": "http", "config": {"url": "https://example.com"}}]
    return {"name": name, "steps": steps, **extra}


class Watched(httpx.ASGITransport):
    """Fails a test in which a route changed something for somebody, and left nothing of it in the log of changes."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        set_actor(None)
        answer = await super().handle_async_request(request)
        told = re.compile(f'{MESSAGE_COOKIE}="?{quote("!")}')  # how a page that leads on says that nothing was done
        refused = answer.status_code >= 400 or any(map(told.match, answer.headers.get_list("set-cookie")))
        if request.method not in SAFE and not refused and (now := current_actor()):
            assert now.recorded, f"{request.method} {request.url.path} is not in the log of changes"
        return answer


@dataclass
class Site:
    """One application with its client; `http` asks as a client on this machine would."""

    http: httpx.AsyncClient
    app: FastAPI
    db: Database
    broker: LocalBroker

    @property
    def context(self) -> AppContext:
        return self.app.state.context

    @property
    def authenticator(self) -> Authenticator:
        return self.app.state.authenticator

    @authenticator.setter
    def authenticator(self, authenticator: Authenticator) -> None:
        self.app.state.authenticator = authenticator

    async def flow(self, name: str = "orders", **extra: Any) -> dict[str, Any]:
        """Make a flow through the API; `extra` goes to its spec."""
        answer = await self.http.put(f"{V1}/flows/{name}", json=spec(name, **extra))
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def token(
        self, role: str = "viewer", *, name: str = "", mail: str = "", days: float = 1, **labels: str
    ) -> str:
        """A token's text; with `days` below zero it has expired."""
        text = new_token_text()
        async with self.db.connection() as conn:
            await add_token(
                conn,
                digest(text),
                name=name or f"{role}-{text[-6:]}",
                mail=mail or f"{role}@example.com",
                role=role,
                labels=labels,
                ttl=timedelta(days=days),
                by="test",
            )
        return text

    def as_(self, token: str) -> None:
        """Whoever asks from now on has this token."""
        self.http.headers["authorization"] = f"Bearer {token}"

    async def audit(self, **filters: str) -> list[dict[str, Any]]:
        """What the log says, the oldest first."""
        async with self.db.connection() as conn:
            found = await list_audit(conn, AuditFilter(**filters), limit=200)
        return [asdict(row) for row in reversed(found.items)]

    async def git_flow(self, name: str = "synced", **extra: Any) -> SourceRow:
        """A flow as a sync leaves it."""
        async with self.db.transaction() as conn:
            source = await ensure_source(conn, "https://example.com/flows.git", branch="main", environment="prod")
            content = spec(name, **extra)
            flow = DesiredFlow(name, content, content_hash=f"hash of {content}", commit_sha="a" * 40, author="Ada")
            written = await write_flows(conn, source.id, [flow])
            await declare_schedules(conn, {written.ids[name]: content.get("schedules", ())}, "git")
        return source

    async def run(self, flow: str = "orders", inputs: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
        answer = await self.http.post(f"{V1}/flows/{flow}/runs", json={"inputs": inputs or {}}, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    async def apply(self, **changes: Any) -> None:
        """Write decisions as the orchestrator does."""
        async with self.db.transaction() as conn:
            await apply_writes(conn, RunWrites(**changes))

    async def start(self, run: dict[str, Any], *steps: str) -> None:
        """Consume the run's first wake-up and queue steps."""
        async with self.db.transaction() as conn:
            await conn.execute("DELETE FROM task_queue WHERE run_id = %s AND step = ''", [UUID(run["id"])])
            version = await get_version(conn, UUID(run["flow_id"]), run["version"])
            rows = [EnqueueRow(UUID(run["id"]), step, "default", None, version.id, "") for step in steps]
            await apply_writes(conn, RunWrites(enqueue=rows))

    async def finish(
        self, run: dict[str, Any], status: str = "SUCCEEDED", outputs: Any = None, error: Any = None
    ) -> None:
        row = FinishRow(UUID(run["id"]), UUID(run["flow_id"]), status, None, outputs, error)
        await self.apply(finish=[row])


OpenSite = Callable[..., Awaitable[Site]]


@asynccontextmanager
async def site_on(database_url: str, **settings: Any) -> AsyncIterator[Site]:
    """A site on empty tables; `settings` are fields of Settings."""
    async with await Database.open(database_url, max_size=4) as db:
        async with db.connection() as conn:
            await empty(conn, TABLES)
        broker = LocalBroker()
        app = create_app(db, broker, Settings(**settings))
        async with httpx.AsyncClient(transport=Watched(app), base_url="http://127.0.0.1:8080") as http:
            yield Site(http, app, db, broker)


@pytest.fixture
async def open_site(database_url: str) -> AsyncIterator[OpenSite]:
    """Call it with fields of Settings for a site on empty tables; it stays open until the test ends."""
    async with AsyncExitStack() as stack:
        yield lambda **settings: stack.enter_async_context(site_on(database_url, **settings))


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """A site with the settings that a server has by itself."""
    return await open_site()
