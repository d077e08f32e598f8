"""One process: any set of the parts (API, scheduler, orchestrator, worker) in one event loop, with health beside them.

Failure argument. Nothing here is needed to continue: a process that dies is started again and finds its work in the
database. A part that falls over is started again alone. A patient process listens before its database answers and
says on /readyz what it waits for, so an orchestration of containers may start everything at once, in any order.
SIGTERM and SIGINT drain; a second one ends the process where it stands, and its helpers, which costs their leases.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from automata.broker.contract import RUNS_PENDING, TASKS_READY, Broker, tasks_ready
from automata.errors import AutomataError, Unavailable
from automata.services.broker_factory import open_broker
from automata.services.child_processes import ChildProcess
from automata.services.health import Health
from automata.services.http_server import address, bind, serve_http
from automata.services.notifier import Notifier
from automata.services.orchestrator import Orchestrator
from automata.services.plan_cache import PlanCache
from automata.services.presence import Presence
from automata.services.scheduler import Scheduler
from automata.services.worker import Worker
from automata.settings import Settings
from automata.steps.contract import StepType
from automata.steps.egress import EgressPolicy, HttpTransport
from automata.steps.registry import instant_rules, load_types
from automata.steps.secrets import open_secrets
from automata.store.database import Database
from automata.telemetry import mask_logs
from automata.tracing import Tracing, open_tracing

log = logging.getLogger(__name__)

API, SCHEDULER, ORCHESTRATOR, WORKER = "api", "scheduler", "orchestrator", "worker"
NOTIFIER = "notifier"  # beside every worker, which has the secrets and the vetted way out
PRESENCE = "presence"
ALL = frozenset({API, SCHEDULER, ORCHESTRATOR, WORKER})
RESTART_PAUSE_SEC = 1.0
DATABASE_PAUSE_SEC = (0.2, 5.0)  # the first and the longest pause between two looks for the database

# The API stands on the same floor as the services, so whoever composes a process hands it in.
MakeApp = Callable[[Database, Broker, Settings, Callable[[], Mapping[str, Any]]], Any]
Part = Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """What is up: `address` is where HTTP is answered, with the port that was bound when 0 was asked for."""

    address: str
    db: Database
    broker: Broker


async def serve(
    settings: Settings,
    database_url: str,
    make_app: MakeApp,
    *,
    parts: Collection[str] = ALL,
    patient: bool = False,
    on_ready: Callable[[RunningProcess], Awaitable[None]] | None = None,
    types: Mapping[str, StepType] | None = None,
    more: Mapping[str, Callable[[Database], Part]] | None = None,
    on_database: Callable[[Database], Awaitable[None]] | None = None,
    helpers: Sequence[ChildProcess] = (),
    until_eof: bool = False,
) -> None:
    """Run until SIGINT or SIGTERM, or with `until_eof` the end of stdin, then drain. `on_ready` is awaited once HTTP is
    answered, `on_database` after that, once the database answers.

    `patient` waits for a database that does not answer or lacks its tables instead of raising Unavailable. Raises
    Usage when the address is taken. `more` are parts that need Git, which nobody else loads.
    """
    stop, drained = asyncio.Event(), asyncio.Event()
    listening = bind(settings.host, settings.port)
    async with AsyncExitStack() as stack:
        stack.callback(listening.close)
        db = Database.at(database_url, max_size=settings.pool_size)
        stack.push_async_callback(db.close)
        if not patient:
            await db.start()
        broker = await open_broker(settings, database_url, alone=set(parts) >= ALL and not helpers)
        stack.push_async_callback(broker.close)
        health = Health()
        tracing = open_tracing(settings)
        if tracing:
            stack.push_async_callback(asyncio.to_thread, tracing.close)
        loops = _loops(parts, db, broker, settings, types or {}, tracing, stack)
        loops |= {name: make(db) for name, make in (more or {}).items()}
        loops |= {helper.name: partial(helper.run, health) for helper in helpers}
        loops[PRESENCE] = Presence(db, {*parts, *(more or {})}, settings).run
        app = make_app(db, broker, settings, health.snapshot)
        _stop_on_signals(stop, broker, settings, helpers, until_eof)
        _calm_collector()
        async with asyncio.TaskGroup() as group:
            # An API that is told to end takes no more runs; the others show their draining to whoever asks.
            web = group.create_task(serve_http(app, listening, stop if API in parts else drained))
            if on_ready:
                await on_ready(RunningProcess(address(settings.host, listening), db, broker))
            if patient:
                await _await_database(db, stop, health)
            if on_database and not stop.is_set():
                await on_database(db)
            async with asyncio.TaskGroup() as working:
                for name, part in loops.items():
                    working.create_task(_keep(name, part, stop, health))
                await stop.wait()
            drained.set()
            await web


def _loops(
    parts: Collection[str],
    db: Database,
    broker: Broker,
    settings: Settings,
    types: Mapping[str, StepType],
    tracing: Tracing | None,
    stack: AsyncExitStack,
) -> dict[str, Part]:
    plans = PlanCache(db)
    loops: dict[str, Part] = {}
    worker: Worker | None = None
    if SCHEDULER in parts:
        loops[SCHEDULER] = Scheduler(db, broker, plans, settings).run
    if WORKER in parts:
        policy = EgressPolicy(settings.allow_loopback, settings.egress_allow, settings.egress_deny)
        transport = HttpTransport(policy)
        stack.push_async_callback(transport.close)
        every = {**load_types(), **types}
        secrets = open_secrets()
        stack.push_async_callback(secrets.close)
        mask_logs(secrets.mask)
        worker = Worker(db, broker, plans, every, transport, settings, secrets=secrets, tracing=tracing)
        loops[WORKER] = worker.run
        loops[NOTIFIER] = Notifier(db, transport, secrets, settings).run
    if ORCHESTRATOR in parts:
        orchestrator = Orchestrator(db, broker, plans, instant_rules(), settings, tracing, local_worker=worker)
        loops[ORCHESTRATOR] = orchestrator.run
        if worker:
            worker.join(orchestrator.finish)
    return loops


def _calm_collector() -> None:
    """What is loaded by now stays for good, and a batch makes thousands of objects that die without a cycle.

    By default the collector walks the young ones every 700 and all of them ever so often: a third of the time of a
    busy process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _await_database(db: Database, stop: asyncio.Event, health: Health) -> None:
    pause, longest = DATABASE_PAUSE_SEC
    while not stop.is_set():
        try:
            await db.start()
        except Unavailable as error:
            log.warning("waiting for the database: %s", error)
            health.set("database", str(error))
            await _sleep(pause, stop)
            pause = min(pause * 2, longest)
        else:
            health.set("database")
            return


async def _keep(name: str, part: Part, stop: asyncio.Event, health: Health) -> None:
    """A loop that fell over is started again: it holds no state that the database has not."""
    while not stop.is_set():
        health.set(name)
        try:
            await part(stop)
        except AutomataError as error:
            log.warning("%s fell over and is started again: %s", name, error)
            health.set(name, str(error))
            await _sleep(RESTART_PAUSE_SEC, stop)
        except Exception as error:
            log.exception("%s fell over and is started again", name)
            health.set(name, f"{type(error).__name__}: {error}")
            await _sleep(RESTART_PAUSE_SEC, stop)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def _stop_on_signals(
    stop: asyncio.Event, broker: Broker, settings: Settings, helpers: Sequence[ChildProcess], until_eof: bool
) -> None:
    signals: list[int] = []

    def leave(number: int) -> None:
        if signals:
            for helper in helpers:
                helper.kill()
            os._exit(128 + number)  # whoever asks twice does not want to wait; leases run out by themselves
        signals.append(number)
        drain()

    def drain() -> None:
        stop.set()
        for topic in (RUNS_PENDING, TASKS_READY, *(tasks_ready(lane) for lane in settings.queues)):
            broker.notify(topic)  # loops that sleep look up

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            drain()

    loop = asyncio.get_running_loop()
    if until_eof:
        loop.add_reader(0, read)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave, number)
