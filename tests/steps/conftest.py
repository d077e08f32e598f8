"""Real servers on loopback, a transport that may call them, and a mocked one that records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from automata.steps.contract import HttpRequest, HttpResponse, Outcome, StepContext, Transport
from automata.steps.egress import EgressPolicy, HttpTransport
from automata.steps.http import HttpStep

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _serve(handler: Handler, **site: Any) -> AsyncIterator[str]:
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, **site).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _serve_raw(talk: Raw) -> AsyncIterator[str]:
    """A server that speaks bytes: `talk` is run for each connection after the request's head was read."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@asynccontextmanager
async def _transport(policy: EgressPolicy | None = None, **more: Any) -> AsyncIterator[HttpTransport]:
    transport = HttpTransport(policy or EgressPolicy(allow_loopback=True), **more)
    try:
        yield transport
    finally:
        await transport.close()


class Scripted:
    """A mocked transport: answers come from a list or a function; `sent` keeps every request."""

    def __init__(self, *answers: HttpResponse | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[HttpRequest] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.sent.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _context(transport: Transport, **more: Any) -> StepContext:
    values = {"run_id": "run1", "step": "fetch", "attempt": 1, "timeout_sec": 10.0, "idempotency_key": "run1:fetch"}
    return StepContext(**(values | {"transport": transport} | more))


async def _attempt(transport: Transport, config: dict[str, Any], **more: Any) -> Outcome:
    return await HttpStep().execute(config, _context(transport, **more))


@pytest.fixture
def serve() -> Callable[..., AbstractAsyncContextManager[str]]:
    return _serve


@pytest.fixture
def serve_raw() -> Callable[..., AbstractAsyncContextManager[str]]:
    return _serve_raw


@pytest.fixture
def transport() -> Callable[..., AbstractAsyncContextManager[HttpTransport]]:
    return _transport


@pytest.fixture
def scripted() -> type[Scripted]:
    return Scripted


@pytest.fixture
def context() -> Callable[..., StepContext]:
    return _context


@pytest.fixture
def attempt() -> Callable[..., Awaitable[Outcome]]:
    return _attempt
