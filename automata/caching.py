"""Answers of the database that hold for a few seconds, so that a request seldom has to ask who it is from.

Failure argument. What is revoked is refused everywhere after HOLD_SEC at the latest: an answer is used for so long
from the moment at which it was asked for, not at which it came. Only good answers are kept, so nobody fills the memory
with guesses; many requests with the same key ask once. A database that does not answer lets nobody in whose answer has
run out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")

HOLD_SEC = 5.0
MAX_ENTRIES = 10_000


class SingleFlightCache(Generic[Answer]):
    """`ask(key)` gives the answer and for how many seconds it is good at most, or None."""

    def __init__(
        self,
        ask: Callable[[bytes], Awaitable[tuple[Answer, float] | None]],
        *,
        hold_sec: float = HOLD_SEC,
        most: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._hold_sec = hold_sec
        self._most = most
        self._clock = clock
        self._known: dict[bytes, tuple[Answer, float]] = {}
        self._asking: dict[bytes, asyncio.Task[Answer | None]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, key: bytes) -> bool:
        """Whether it was good when it was last asked for, which may be longer ago than an answer holds."""
        return key in self._known

    def clear(self) -> None:
        """What this process itself has changed holds at once."""
        self._known.clear()

    async def get(self, key: bytes) -> Answer | None:
        """Raises Unavailable."""
        if (found := self._known.get(key)) and self._clock() < found[1]:
            return found[0]
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._read(key))
            task.add_done_callback(lambda done: self._asked(key, done))
        # Who leaves must not take the answer away from those that wait for it too.
        return await asyncio.shield(task)

    async def _read(self, key: bytes) -> Answer | None:
        asked = self._clock()
        found = await self._ask(key)
        self._known.pop(key, None)
        if found is None:
            return None
        answer, good_sec = found
        if len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[key] = (answer, asked + min(self._hold_sec, good_sec))
        return answer

    def _asked(self, key: bytes, done: asyncio.Task[Answer | None]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # those that waited have seen it; if they have all left, nobody has to
