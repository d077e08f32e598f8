"""Ctrl-C and SIGTERM while something is being started that somebody must end again.

An exception that a signal raises can come between the start of a process and the line that remembers it: then nobody
ends that process. `held` moves the signal to the end of the block, where what was started has its owner.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held() -> Iterator[None]:
    """SIGINT and SIGTERM that come during the block do what they do at its end. Other threads get no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {ending: signal.signal(ending, lambda number, _: came.append(number)) for ending in _ENDING}
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def term_as_interrupt() -> Iterator[None]:
    """SIGTERM during the block raises KeyboardInterrupt as Ctrl-C does, so that `with` and `finally` do their work."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, raise_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
