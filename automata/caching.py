"""Values that cost a read and may be a little old: one read for all who ask at a time, and for as long as it is good.

Failure argument. A read runs in a task of its own, so a caller who leaves does not end it for the others who wait for
it. A read that fails fails for those who wait for it and is not kept: the next caller reads again. A value's age counts
from before its read in `SingleFlightCache`, where a value that is too old lets somebody in, and from after it in
`StaleWhileRevalidate`, where it only costs another read. What is kept is bounded by a count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from cachetools import FIFOCache

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

MAX_KEYS = 10_000


class SingleFlight(Generic[Key, Value]):
    """Of callers who want the same key at a time, the first starts the work, and all get what comes of it."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Value]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, key: Key, work: Callable[[], Awaitable[Value]]) -> Value:
        """What `work` returns or raises; it runs on where the caller is cancelled."""
        return await asyncio.shield(self.start(key, work))

    def start(self, key: Key, work: Callable[[], Awaitable[Value]]) -> asyncio.Task[Value]:
        """The task that works on this key, started unless there is one. Nobody has to wait for it."""
        task = self._tasks.get(key)
        if task is None or task.done():
            task = self._tasks[key] = asyncio.create_task(_result(work))
            task.add_done_callback(lambda ended: self._end(key, ended))
        return task

    def _end(self, key: Key, task: asyncio.Task[Value]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # those who waited have it; asyncio must not complain when nobody did


class SingleFlightCache(Generic[Key, Value]):
    """Values by key, each for its own time and at most `ttl_sec`; of more than `max_keys` the oldest are dropped.

    `read(key)` gives the value and for how many seconds it is good, or None. None is not kept, so nobody fills the
    memory with keys that he made up.
    """

    def __init__(
        self,
        read: Callable[[Key], Awaitable[tuple[Value, float] | None]],
        *,
        ttl_sec: float,
        max_keys: int = MAX_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._ttl_sec = ttl_sec
        self._clock = clock
        self._values: FIFOCache[Key, tuple[Value, float]] = FIFOCache(max_keys)
        self._reads: SingleFlight[Key, Value | None] = SingleFlight()

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Key) -> bool:
        """Whether the last read gave a value, however old that is now."""
        return key in self._values

    def clear(self) -> None:
        """Forget all values, so that a change made by this process is seen at once."""
        self._values.clear()

    async def get(self, key: Key) -> Value | None:
        """The value that is known and still good, else what a read gives. Raises what the read raises."""
        if (known := self._values.get(key)) and self._clock() < known[1]:
            return known[0]
        return await self._reads.run(key, lambda: self._refresh(key))

    async def _refresh(self, key: Key) -> Value | None:
        started = self._clock()
        answer = await self._read(key)
        if answer is None:
            self._values.pop(key, None)
            return None
        value, good_sec = answer
        self._values[key] = (value, started + min(self._ttl_sec, good_sec))
        return value


class StaleWhileRevalidate(Generic[Value]):
    """One value: past `fresh_sec` a caller gets the old one while a newer one is read, past `stale_sec` he waits."""

    def __init__(
        self,
        read: Callable[[], Awaitable[Value]],
        fresh_sec: float,
        stale_sec: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._fresh_sec = fresh_sec
        self._stale_sec = stale_sec
        self._clock = clock
        self._known: tuple[float, Value] | None = None
        self._reads: SingleFlight[None, Value] = SingleFlight()

    def clear(self) -> None:
        """Forget the value: the next caller waits for a read."""
        self._known = None

    async def get(self) -> Value:
        """Raises what the read raises, where no value is young enough."""
        if self._known is None:
            return await self._reads.run(None, self._refresh)
        read_at, value = self._known
        age = self._clock() - read_at
        if age >= self._stale_sec:
            return await self._reads.run(None, self._refresh)
        if age >= self._fresh_sec:
            self._reads.start(None, self._refresh)
        return value

    async def _refresh(self) -> Value:
        value = await self._read()
        self._known = (self._clock(), value)
        return value


async def _result(work: Callable[[], Awaitable[Value]]) -> Value:
    return await work()
