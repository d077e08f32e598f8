"""Cases in processes of their own, with limits: no network, no further processes, so much memory, so much time a case.

Failure argument. A case that runs for ever is interrupted by an alarm in its own process. One that takes the process
down (memory, a crash in C) takes others of the batch with it; those are run again, one process each, so that only the
guilty one is blamed.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Any

from automata.sandbox.case import Case
from automata.sandbox.cases import Flows, Result, run_case

CASE_SEC = 10.0  # of real time; virtual time costs none
MEMORY_BYTES = 1 << 30  # beyond what the process needs to begin with
Known = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]

# What nothing in a rehearsal has a reason to do. Names of Python's audit events.
_DENIED = (
    "socket.connect",
    "socket.bind",
    "socket.sendto",
    "socket.sendmsg",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.gethostbyaddr",
    "subprocess.Popen",
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.posix_spawn",
    "os.system",
)


class _TooLongError(BaseException):
    """Not an Exception: nothing between a flow and the sandbox may swallow it."""


def run_cases(cases: Sequence[Case], known: Known, jobs: int, case_sec: float = CASE_SEC) -> Iterator[Result]:
    """Results as they come. `known`: all flows, by name, as Flows takes them."""
    left = {case.id: case for case in cases}
    for result in _pooled(list(left.values()), known, min(jobs, len(cases)), case_sec):
        del left[result.case]
        yield result
    for case in list(left.values()):  # a process went down: who was it?
        yield from _pooled([case], known, 1, case_sec) if left.pop(case.id) else ()


def _pooled(cases: Sequence[Case], known: Known, jobs: int, case_sec: float) -> Iterator[Result]:
    if not cases:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(dict(known), case_sec)) as pool:
        waiting: dict[Future[Result], Case] = {pool.submit(_run, case): case for case in cases}
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    case = waiting.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        if len(cases) == 1:
                            yield failed(case, "the sandbox process died: the case takes too much memory")
        finally:
            for future in waiting:
                future.cancel()


def failed(case: Case, message: str) -> Result:
    problem = {"where": "case", "message": message}
    return Result(case.id, case.file, case.line, case.name, case.flow, passed=False, problems=(problem,))


# --- in the process ------------------------------------------------------------------------------------------------

_flows: Flows
_case_sec: float


def _begin(known: Known, case_sec: float) -> None:
    global _flows, _case_sec
    _flows, _case_sec = Flows(known), case_sec
    os.nice(1)
    signal.signal(signal.SIGALRM, _alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    sys.addaudithook(_audit)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if event in _DENIED:
        raise PermissionError(f"the sandbox does not allow {event}")


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _TooLongError


def _run(case: Case) -> Result:
    signal.setitimer(signal.ITIMER_REAL, _case_sec)
    try:
        return run_case(case, _flows)
    except _TooLongError:
        return failed(case, f"the case takes longer than {_case_sec:g} s")
    except MemoryError:
        return failed(case, f"the case takes more than {MEMORY_BYTES >> 20} MiB of memory")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
