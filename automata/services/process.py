"""One process: its loops, its HTTP and its health in one event loop, from its start to its drained end.

Failure argument. Nothing here is needed to continue: a process that dies is started again and finds its work in the
database. A loop that fails is started again alone. A patient process listens before its database answers and says on
/readyz what it waits for, so an orchestration of containers may start everything at once, in any order. SIGTERM and
SIGINT drain; a second one ends the process and its child processes at once, which costs their leases.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from socket import socket
from typing import Any

from automata.broker.contract import RUNS_PENDING, TASKS_READY, Broker, tasks_ready
from automata.check.fence import hide_process
from automata.errors import AutomataError, Unavailable
from automata.pausing import pause
from automata.services.broker_factory import open_broker
from automata.services.health import Health
from automata.services.http_server import address, bind, serve_http
from automata.services.supervisor import ChildProcess
from automata.settings import Settings
from automata.store.database import Database
from automata.tracing import Tracing, open_tracing

log = logging.getLogger(__name__)

RESTART_PAUSE_SEC = 1.0
DATABASE_PAUSE_SEC = (0.2, 5.0)  # the first and the longest pause between two looks for the database

Loop = Callable[[asyncio.Event], Awaitable[None]]  # runs until the event is set
MakeApp = Callable[[Database, Broker, Settings, Callable[[], Mapping[str, Any]]], Any]


@dataclass(frozen=True, slots=True)
class Resources:
    """What every process has, for its loops. `on_close` takes what is awaited at the end, the last one first."""

    db: Database
    broker: Broker
    settings: Settings
    tracing: Tracing | None
    on_close: Callable[[Callable[[], Awaitable[Any]]], Any]


@dataclass(frozen=True, slots=True)
class Composition:
    """What a process is made of. HTTP and its routes are above this floor, so they are handed in.

    `make_loops` makes the loops by the names that health shows. A process that `takes_requests` ends its HTTP first
    when it drains. One that `is_whole` has all parts that notify each other.
    """

    make_app: MakeApp
    make_loops: Callable[[Resources], Mapping[str, Loop]]
    takes_requests: bool
    is_whole: bool


@dataclass(frozen=True, slots=True)
class RunningProcess:
    """What is up: `address` is where HTTP is answered, with the port that was bound when 0 was asked for."""

    address: str
    db: Database
    broker: Broker


async def serve(
    settings: Settings,
    database_url: str,
    composition: Composition,
    *,
    listening: socket | None = None,
    patient: bool = False,
    on_ready: Callable[[RunningProcess], Awaitable[None]] | None = None,
    on_database: Callable[[Database], Awaitable[None]] | None = None,
    child_processes: Sequence[ChildProcess] = (),
    until_eof: bool = False,
) -> None:
    """Run until SIGINT or SIGTERM, or with `until_eof` the end of stdin, then drain. `on_ready` is awaited once HTTP is
    answered, `on_database` after that, once the database answers. `listening`: a socket of `bind` that the caller has
    already, and closes.

    `patient` waits for a database that does not answer or lacks its tables instead of raising Unavailable. Raises
    Usage when the address is taken.
    """
    hide_process()  # what is in its environment is nobody else's, of the same user either
    stop, drained, health = asyncio.Event(), asyncio.Event(), Health()
    async with AsyncExitStack() as stack:
        if listening is None:
            listening = bind(settings.host, settings.port)
            stack.callback(listening.close)
        db = Database.at(database_url, max_size=settings.pool_size, direct_url=settings.database_direct_url)
        stack.push_async_callback(db.close)
        if not patient:
            await db.start()
        alone = composition.is_whole and not child_processes
        resources = await _open(settings, db, alone, stack)
        loops = dict(composition.make_loops(resources))
        loops |= {child.name: partial(child.run, health) for child in child_processes}
        app = composition.make_app(db, resources.broker, settings, health.snapshot)
        _stop_on_signals(stop, resources.broker, settings, child_processes, until_eof)
        _calm_collector()
        async with asyncio.TaskGroup() as group:
            # An API that is told to end takes no more runs; the others show that they drain.
            until = stop if composition.takes_requests else drained
            http = group.create_task(serve_http(app, listening, until, settings.trusted_proxies))
            if on_ready:
                await on_ready(RunningProcess(address(settings.host, listening), db, resources.broker))
            if patient:
                await _await_database(db, stop, health)
            if on_database and not stop.is_set():
                await on_database(db)
            await _run_loops(loops, stop, health)
            drained.set()
            await http


async def _open(settings: Settings, db: Database, alone: bool, stack: AsyncExitStack) -> Resources:
    broker = await open_broker(settings, db.session_url, alone=alone)
    stack.push_async_callback(broker.close)
    tracing = open_tracing(settings)
    if tracing:
        stack.push_async_callback(asyncio.to_thread, tracing.close)
    return Resources(db, broker, settings, tracing, stack.push_async_callback)


async def _run_loops(loops: Mapping[str, Loop], stop: asyncio.Event, health: Health) -> None:
    async with asyncio.TaskGroup() as group:
        for name, loop in loops.items():
            group.create_task(_keep_running(name, loop, stop, health))
        await stop.wait()


def _calm_collector() -> None:
    """All that is loaded by now stays for good, and a batch makes thousands of objects that die without a cycle.

    By default the collector walks the young ones every 700 and all of them ever so often: a third of the time of a
    busy process.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _await_database(db: Database, stop: asyncio.Event, health: Health) -> None:
    pause_sec, max_pause_sec = DATABASE_PAUSE_SEC
    while not stop.is_set():
        try:
            await db.start()
        except Unavailable as error:
            log.warning("waiting for the database: %s", error)
            health.set("database", str(error))
            await pause(pause_sec, stop)
            pause_sec = min(pause_sec * 2, max_pause_sec)
        else:
            health.set("database")
            return


async def _keep_running(name: str, loop: Loop, stop: asyncio.Event, health: Health) -> None:
    """A loop that fell over is started again: it holds no state that the database has not."""
    while not stop.is_set():
        health.set(name)
        try:
            await loop(stop)
        except AutomataError as error:
            log.warning("%s fell over and is started again: %s", name, error)
            health.set(name, str(error))
            await pause(RESTART_PAUSE_SEC, stop)
        except Exception as error:
            log.exception("%s fell over and is started again", name)
            health.set(name, f"{type(error).__name__}: {error}")
            await pause(RESTART_PAUSE_SEC, stop)


def _stop_on_signals(
    stop: asyncio.Event, broker: Broker, settings: Settings, children: Sequence[ChildProcess], until_eof: bool
) -> None:
    signals: list[int] = []

    def leave(number: int) -> None:
        if signals:
            for child in children:
                child.kill()
            os._exit(128 + number)  # who asks twice does not want to wait; leases run out by themselves
        signals.append(number)
        drain()

    def drain() -> None:
        stop.set()
        for topic in (RUNS_PENDING, TASKS_READY, *(tasks_ready(lane) for lane in settings.queues)):
            broker.notify(topic)  # loops that wait look up

    def read() -> None:
        if not os.read(0, 1024):
            loop.remove_reader(0)
            drain()

    loop = asyncio.get_running_loop()
    if until_eof:
        loop.add_reader(0, read)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, leave, number)
