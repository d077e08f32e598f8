"""Start `automata` with a point at which it kills itself: python -m tests.promises.points POINT:NTH COMMAND ...

A point is a function of the product and a side of it (and perhaps an argument); the process gets SIGKILL there on the
NTH pass, so nothing of its own can clean up. The product knows nothing of this.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from automata.sync.steps import STEPS

# name -> (module, function, side)
POINTS = {
    "runs committed, not answered": ("automata.operations.run_creation", "create_runs_or_conflicts", "after"),
    "wake-ups taken": ("automata.store.orchestrator_queue", "take_wakeups", "after"),
    "decided, not written": ("automata.store.orchestrator_queue", "apply_writes", "before"),
    "written, not committed": ("automata.store.orchestrator_queue", "apply_writes", "after"),
    "claimed, not called": ("automata.services.executor", "execute_step", "before"),
    "called, not handed in": ("automata.services.executor", "execute_step", "after"),
    "accepted, not advanced": ("automata.store.worker_queue", "complete_under_lock", "after"),
    "handed over, not begun": ("automata.services.worker.Worker", "start_claims", "before"),
    "committed, not announced": ("automata.broker.local.LocalBroker", "notify", "before"),
}
# The steps of a sync as steps.py names them, and what lies between the last of them and the next look.
SYNC_POINTS = {
    **{f"sync: {step}": ("automata.sync.attempt.Attempt", "enter", "before", step) for step in STEPS},
    "sync: flows written": ("automata.store.sync", "write_flows", "after"),
    "sync: written, not committed": ("automata.store.sync", "apply", "after"),
    "sync: committed, not told": ("automata.sync.reconcile", "run_attempt", "after"),
}


def arm(point: str, nth: int) -> None:
    place, name, side, *argument = (POINTS | SYNC_POINTS)[point]
    owner = _find(place)
    setattr(owner, name, _deadly(getattr(owner, name), side, nth, argument))


def _find(place: str) -> Any:
    try:
        return import_module(place)
    except ModuleNotFoundError:
        module, _, member = place.rpartition(".")
        return getattr(import_module(module), member)


def _deadly(function: Callable[..., Any], side: str, nth: int, argument: Sequence[Any] = ()) -> Callable[..., Any]:
    """`argument`: only calls with this last argument count; empty: all do."""
    passes = 0

    def passed(arguments: Sequence[Any]) -> None:
        nonlocal passes
        if argument and arguments[-1] != argument[0]:
            return
        passes += 1
        if passes == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    if side == "before":

        @functools.wraps(function)
        def before(*arguments: Any, **named: Any) -> Any:
            passed(arguments)
            return function(*arguments, **named)

        return before

    @functools.wraps(function)
    async def after(*arguments: Any, **named: Any) -> Any:
        answer = await function(*arguments, **named)
        passed(arguments)
        return answer

    return after


def forked(point: str | None, env: Mapping[str, str], words: Sequence[str]) -> None:
    """Be `automata` in a process that was forked with everything imported: it is there in a fifth of the time."""
    os.environ.clear()
    os.environ.update(env)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    _run(point, 1, words)


def _run(point: str | None, nth: int, words: Sequence[str]) -> None:
    if point:
        arm(point, nth)
    sys.argv[:] = ["automata", *words]
    from automata.cli.app import main

    main()


if __name__ == "__main__":
    wanted, _, times = sys.argv[1].rpartition(":")
    _run(wanted, int(times), sys.argv[2:])
