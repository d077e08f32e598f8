"""Everything in one process and one event loop: the API, the orchestrator and a worker. What `automata up` runs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import uvicorn

from automata.broker.contract import RUNS_PENDING, TASKS_READY, Broker
from automata.errors import Unavailable, Usage
from automata.services.broker import open_broker
from automata.services.health import Health
from automata.services.orchestrator import Orchestrator
from automata.services.plans import Plans
from automata.services.worker import Worker
from automata.settings import Settings
from automata.steps.contract import StepType
from automata.steps.egress import EgressPolicy, HttpTransport
from automata.steps.registry import instant_rules, load_types
from automata.steps.secrets import load_secrets
from automata.store.database import Database

log = logging.getLogger(__name__)

RESTART_PAUSE_SEC = 1.0

# The API stands on the same floor as the services, so whoever composes a process hands it in.
MakeApp = Callable[[Database, Broker, Settings, Callable[[], Mapping[str, Any]]], Any]


@dataclass(frozen=True, slots=True)
class Running:
    """What is up: `address` is the API's URL, with the port that was bound when 0 was asked for."""

    address: str
    db: Database
    broker: Broker


async def serve(
    settings: Settings,
    database_url: str,
    make_app: MakeApp,
    *,
    on_ready: Callable[[Running], Awaitable[None]] | None = None,
    types: Mapping[str, StepType] | None = None,
) -> None:
    """Run until SIGINT or SIGTERM, then drain. `on_ready` is awaited once the API answers.

    Raises Usage when the address is taken, Unavailable when the database cannot be reached.
    """
    stop = asyncio.Event()
    listening = _bind(settings.host, settings.port)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        db = await Database.open(database_url, max_size=settings.pool_size)
        stack.push_async_callback(db.close)
        broker = await open_broker(settings, database_url, alone=True)
        stack.push_async_callback(broker.close)
        transport = HttpTransport(
            EgressPolicy(settings.allow_loopback, settings.egress_allow, settings.egress_deny),
        )
        stack.push_async_callback(transport.close)
        health = Health()
        plans = Plans(db)
        worker = Worker(
            db, broker, plans, {**load_types(), **(types or {})}, transport, settings, secrets=load_secrets(os.environ)
        )
        orchestrator = Orchestrator(db, broker, plans, instant_rules(), settings)
        app = make_app(db, broker, settings, health.snapshot)
        _stop_on_signals(stop, broker)
        async with asyncio.TaskGroup() as group:
            api = group.create_task(_serve_api(app, listening, stop))
            group.create_task(_keep("orchestrator", orchestrator.run, stop, health))
            group.create_task(_keep("worker", worker.run, stop, health))
            running = Running(f"http://{settings.host}:{listening.getsockname()[1]}", db, broker)
            if on_ready:
                await on_ready(running)
            await stop.wait()
            await api


async def _keep(
    name: str, part: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event, health: Health
) -> None:
    """A loop that fell over is started again: it holds no state that the database has not."""
    while not stop.is_set():
        health.set(name)
        try:
            await part(stop)
        except Exception as error:
            log.exception("%s fell over and is started again", name)
            health.set(name, f"{type(error).__name__}: {error}")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RESTART_PAUSE_SEC)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Usage(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            code="address_in_use",
            hint="Is another `automata up` running? Choose another with --port, or --port 0 for any free one.",
        ) from error
    listening.set_inheritable(False)
    return listening


async def _serve_api(app: Any, listening: socket.socket, stop: asyncio.Event) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=10,
            lifespan="off",
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await task
    if not stop.is_set():
        raise Unavailable("the API stopped by itself")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: one place decides when to drain."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


def _stop_on_signals(stop: asyncio.Event, broker: Broker) -> None:
    def leave() -> None:
        stop.set()
        broker.ring(RUNS_PENDING)  # loops that sleep look up
        broker.ring(TASKS_READY)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave)
