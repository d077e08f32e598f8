"""The election: takes the leader's lock, keeps it alive, does the leader's work, and lets go when either ends.

Failure argument. Being elected only saves work; what makes two leaders harmless is the term that each transaction of
the work checks (store/leadership.py) and the unique key of what it writes. Fail-over: the server drops a silent
session after 10 s, a standby asks every 2 s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable

from automata.errors import AutomataError
from automata.pausing import pause
from automata.store.leadership import LeaderLock
from automata.telemetry import LEADING

log = logging.getLogger(__name__)

ASK_SEC = 2.0
PING_SEC = 3.0

OnElected = Callable[[int, asyncio.Event], Awaitable[None]]


class LostTerm(Exception):
    """Another process leads by now."""


class Leader:
    """One of any number. `on_elected` does the work; it gets the term's number and the event that ends it."""

    def __init__(self, database_url: str, role: str, on_elected: OnElected) -> None:
        self.epoch: int | None = None
        self._url = database_url
        self._role = role
        self._on_elected = on_elected
        self._holder = f"{socket.gethostname()}:{os.getpid()}"

    async def run(self, stop: asyncio.Event) -> None:
        """Lead whenever that can be, until `stop`."""
        while not stop.is_set():
            try:
                await self._hold_session(stop)
            except (AutomataError, TimeoutError, LostTerm) as error:
                log.warning("%s: not leading: %s", self._role, error or type(error).__name__)
            finally:
                self.epoch = None
                LEADING.labels(self._role).set(0)
            await pause(ASK_SEC, stop)

    async def _hold_session(self, stop: asyncio.Event) -> None:
        lock = await LeaderLock.open(self._url, self._role)
        try:
            while not stop.is_set():
                if (epoch := await lock.take(self._holder)) is not None:
                    self.epoch = epoch
                    LEADING.labels(self._role).set(1)
                    log.info("%s: leading, term %d", self._role, epoch)
                    await self._lead(lock, epoch, stop)
                    return
                await pause(ASK_SEC, stop)
        finally:
            await lock.close()

    async def _lead(self, lock: LeaderLock, epoch: int, stop: asyncio.Event) -> None:
        """The first to end ends the other: a lost lock, a lost term, or the stop."""
        work = asyncio.create_task(self._work(epoch, stop))
        keep_alive = asyncio.create_task(_keep_alive(lock))
        try:
            done, _ = await asyncio.wait({work, keep_alive}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (work, keep_alive):
                task.cancel()
            await asyncio.gather(work, keep_alive, return_exceptions=True)

    async def _work(self, epoch: int, stop: asyncio.Event) -> None:
        await self._on_elected(epoch, stop)


async def _keep_alive(lock: LeaderLock) -> None:
    while True:
        await asyncio.sleep(PING_SEC)
        await lock.ping()
