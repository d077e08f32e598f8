"""Rehearsals in processes of their own, with limits: no network, no more processes, so much memory, so much time each.

Failure argument. A case that runs for ever is interrupted by an alarm in its own process. One that takes the process
down (memory, a crash in C) takes others of the batch with it; those are run again, one process each, so that only the
guilty one is blamed. A process whose parent was killed ends itself.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from automata.flow.model import FlowContent
from automata.interpreter import shield_children
from automata.sandbox.case_file import Case
from automata.sandbox.case_runner import CaseResult, Flows, run_case

CASE_SEC = 10.0  # of real time; virtual time costs none
MEMORY_BYTES = 1 << 30  # beyond what the process needs to begin with
Job = TypeVar("Job")
State = TypeVar("State")
JobResult = TypeVar("JobResult")

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


@dataclass(frozen=True, slots=True)
class PooledWork(Generic[Job, State, JobResult]):
    """What is done with each job, by functions that another process can import.

    `begin` makes what all jobs of a process share; `play` does one; `failed` is the outcome of one that did not come
    to an end, with the reason.
    """

    begin: Callable[[], State]
    play: Callable[[Job, State], JobResult]
    failed: Callable[[Job, str], JobResult]
    word: str = "case"


def run_cases(
    cases: Sequence[Case], flows: Mapping[str, FlowContent], jobs: int, case_sec: float = CASE_SEC
) -> Iterator[CaseResult]:
    """Results as they come. `flows`: all of them by name, so that one may call another."""
    yield from run_pooled(cases, PooledWork(partial(Flows, dict(flows)), run_case, failed), jobs, case_sec)


def run_pooled(
    jobs: Sequence[Job], work: PooledWork[Job, State, JobResult], processes: int, job_sec: float = CASE_SEC
) -> Iterator[JobResult]:
    """JobResults as they come, one for every job."""
    left = dict(enumerate(jobs))
    for number, outcome in _pooled(list(left.items()), work, min(processes, len(jobs)), job_sec):
        del left[number]
        yield outcome
    for number, job in left.items():  # a process went down: who was it?
        for _, outcome in _pooled([(number, job)], work, 1, job_sec):
            yield outcome


def _pooled(
    jobs: Sequence[tuple[int, Job]], work: PooledWork[Job, State, JobResult], processes: int, job_sec: float
) -> Iterator[tuple[int, JobResult]]:
    if not jobs:
        return
    # Imports once, then forks: a spawn of each would import all of this again, half a second of processor time. What is
    # forked is the server that multiprocessing starts afresh, never this process with its threads and connections.
    # That server is started with `python -c`, in a folder of whoever wrote the cases.
    shield_children()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "automata.sandbox.case_runner"])
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=(work, job_sec)) as pool:
        waiting: dict[Future[JobResult], tuple[int, Job]] = {
            pool.submit(_run, job): (number, job) for number, job in jobs
        }
        try:
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    number, job = waiting.pop(future)
                    try:
                        yield number, future.result()
                    except BrokenProcessPool:
                        if len(jobs) == 1:
                            reason = f"the sandbox process died: the {work.word} takes too much memory"
                            yield number, work.failed(job, reason)
        finally:
            for future in waiting:
                future.cancel()


def failed(case: Case, message: str) -> CaseResult:
    """The result of a case that took its process down or ran for too long."""
    problem = {"where": "case", "message": message}
    return CaseResult(case.id, case.file, case.line, case.name, case.flow, passed=False, problems=(problem,))


# --- in the process ------------------------------------------------------------------------------------------------

_work: PooledWork[Any, Any, Any]
_state: Any
_job_sec: float


def _begin(work: PooledWork[Any, Any, Any], job_sec: float) -> None:
    global _work, _state, _job_sec
    _work, _job_sec = work, job_sec
    _state = work.begin()
    os.nice(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGALRM, _alarm)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))
    sys.addaudithook(_audit)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its pool, and a worker that waits for work would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if event in _DENIED:
        raise PermissionError(f"the sandbox does not allow {event}")


def _alarm(number: int, frame: FrameType | None) -> None:
    raise _TooLongError


def _run(job: Any) -> Any:
    signal.setitimer(signal.ITIMER_REAL, _job_sec)
    try:
        return _work.play(job, _state)
    except _TooLongError:
        return _work.failed(job, f"the {_work.word} takes longer than {_job_sec:g} s")
    except MemoryError:
        return _work.failed(job, f"the {_work.word} takes more than {_most_memory() >> 20} MiB of memory")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _most_memory() -> int:
    """The check of a proposal has a limit of its own, which is lower in a small container."""
    data = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return MEMORY_BYTES if data == resource.RLIM_INFINITY else min(MEMORY_BYTES, data)
