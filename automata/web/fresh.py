"""A figure that may be a few seconds old: read once for all who look, and never while somebody waits for it twice.

Failure argument. Whoever asks gets what is known and at most `stale_sec` old; past `fresh_sec` one reader, in a task of
its own, brings a newer one. A read that fails leaves the old figure until it is too old; then the next who asks reads
itself and hears of the failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Fresh(Generic[Value]):
    def __init__(
        self,
        read: Callable[[], Awaitable[Value]],
        fresh_sec: float,
        stale_sec: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._fresh_sec = fresh_sec
        self._stale_sec = stale_sec
        self._clock = clock
        self._known: tuple[float, Value] | None = None
        self._reading: asyncio.Task[Value] | None = None

    async def get(self) -> Value:
        """Raises what the read raises, where nothing young enough is known."""
        age = self._clock() - self._known[0] if self._known else self._stale_sec
        if self._known and age < self._stale_sec:
            if age >= self._fresh_sec:
                self._begin()
            return self._known[1]
        # Shielded: one who leaves must not end the read for the others.
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[Value]:
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._renew())
            self._reading.add_done_callback(_hear)
        return self._reading

    async def _renew(self) -> Value:
        value = await self._read()
        self._known = (self._clock(), value)
        return value


def _hear(task: asyncio.Task[Value]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waited has it; a refresh in the background is tried again by the next who asks
