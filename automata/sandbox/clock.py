"""Virtual time: an event loop whose clock jumps to the next deadline as soon as nothing can run.

Production code that sleeps, times out or backs off runs on it unchanged, and a day of delays takes milliseconds.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

# Past any delay that the language allows (ten years) with retries on top; beyond it a case loops for ever.
MAX_DURATION = timedelta(days=366 * 100)


class StalledError(Exception):
    """Nothing can run and nothing is waited for: whatever is awaited never comes."""


class _Jumping(selectors.DefaultSelector):
    """Never sleeps: what would have been a wait moves the loop's clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise StalledError
        self.elapsed += timeout
        if self.elapsed > MAX_DURATION.total_seconds():
            raise StalledError
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0.0; `time()` is seconds of virtual time."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)
        # A deadline is due when it is reached to the microsecond; sums of floats miss it by less.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.elapsed


class Clock:
    """The virtual present, for code that asks for a date. `start` is aware."""

    def __init__(self, start: datetime) -> None:
        self.start = start

    @property
    def elapsed(self) -> timedelta:
        """Virtual time since the rehearsal began."""
        return timedelta(seconds=round(asyncio.get_running_loop().time(), 6))

    def now(self) -> datetime:
        """The virtual instant."""
        return self.start + self.elapsed


def run_virtually(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` on virtual time. Raises StalledError when `main` waits for something that can never come."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
