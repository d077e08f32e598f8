"""Start `automata` with a point at which it kills itself: python -m tests.promises.points POINT:NTH COMMAND ...

A point is a function of the product and a side of it; the process gets SIGKILL there on the NTH pass, so nothing of
its own can clean up. The product knows nothing of this.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

# name -> (module, function, side)
POINTS = {
    "run written, not committed": ("automata.api.intake", "create_runs", "after"),
    "wake-ups taken": ("automata.store.queue", "take", "after"),
    "decided, not written": ("automata.store.queue", "apply", "before"),
    "written, not committed": ("automata.store.queue", "apply", "after"),
    "claimed, not called": ("automata.services.worker", "execute_step", "before"),
    "called, not handed in": ("automata.services.worker", "execute_step", "after"),
    "accepted, not committed": ("automata.store.tasks", "complete", "after"),
    "committed, no bell": ("automata.broker.local.LocalBroker", "ring", "before"),
}


def arm(point: str, nth: int) -> None:
    place, name, side = POINTS[point]
    owner = _find(place)
    setattr(owner, name, _deadly(getattr(owner, name), side, nth))


def _find(place: str) -> Any:
    try:
        return import_module(place)
    except ModuleNotFoundError:
        module, _, member = place.rpartition(".")
        return getattr(import_module(module), member)


def _deadly(function: Callable[..., Any], side: str, nth: int) -> Callable[..., Any]:
    passes = 0

    def passed() -> None:
        nonlocal passes
        passes += 1
        if passes == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    if side == "before":

        @functools.wraps(function)
        def before(*arguments: Any, **named: Any) -> Any:
            passed()
            return function(*arguments, **named)

        return before

    @functools.wraps(function)
    async def after(*arguments: Any, **named: Any) -> Any:
        answer = await function(*arguments, **named)
        passed()
        return answer

    return after


if __name__ == "__main__":
    wanted, _, times = sys.argv[1].rpartition(":")
    arm(wanted, int(times))
    sys.argv[:] = ["automata", *sys.argv[2:]]
    from automata.cli.app import main

    main()
