"""Leads while it can: takes the seat, keeps it warm, runs the office, and lets go when either ends.

Failure argument. Being elected only saves work; what makes two leaders harmless is the term that each transaction of
the office checks (store/leadership.py) and the unique key of what it writes. Fail-over: the server drops a silent
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
from automata.store.leadership import Seat
from automata.telemetry import LEADING

log = logging.getLogger(__name__)

ASK_SEC = 2.0
PING_SEC = 3.0

OnElected = Callable[[int, asyncio.Event], Awaitable[None]]


class LostTerm(Exception):
    """Another process leads by now."""


class Leader:
    """`run` until stop; `office` is awaited with the term's number and an event that says when to leave."""

    def __init__(self, database_url: str, role: str, office: OnElected) -> None:
        self.epoch: int | None = None
        self._url = database_url
        self._role = role
        self._office = office
        self._holder = f"{socket.gethostname()}:{os.getpid()}"

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._one_session(stop)
            except (AutomataError, TimeoutError, LostTerm) as error:
                log.warning("%s: not leading: %s", self._role, error or type(error).__name__)
            finally:
                self.epoch = None
                LEADING.labels(self._role).set(0)
            await pause(ASK_SEC, stop)

    async def _one_session(self, stop: asyncio.Event) -> None:
        seat = await Seat.open(self._url, self._role)
        try:
            while not stop.is_set():
                if (epoch := await seat.take(self._holder)) is not None:
                    self.epoch = epoch
                    LEADING.labels(self._role).set(1)
                    log.info("%s: leading, term %d", self._role, epoch)
                    await self._lead(seat, epoch, stop)
                    return
                await pause(ASK_SEC, stop)
        finally:
            await seat.close()

    async def _lead(self, seat: Seat, epoch: int, stop: asyncio.Event) -> None:
        """Whichever ends first ends the other: a lost seat, a lost term, or the stop."""
        office = asyncio.create_task(self._office_of(epoch, stop))
        warm = asyncio.create_task(_keep_warm(seat))
        try:
            done, _ = await asyncio.wait({office, warm}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (office, warm):
                task.cancel()
            await asyncio.gather(office, warm, return_exceptions=True)

    async def _office_of(self, epoch: int, stop: asyncio.Event) -> None:
        await self._office(epoch, stop)


async def _keep_warm(seat: Seat) -> None:
    while True:
        await asyncio.sleep(PING_SEC)
        await seat.ping()
