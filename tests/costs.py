"""What a test run costs: processor time per file, of PostgreSQL beside it, and in all, printed at the end of the run.

Processor time is user + system of a worker and of every process that it waited for, so another machine's or another
hour's wall clock does not change the order of the files. PostgreSQL is nobody's child: its own counters are read.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import psutil
import pytest

DEAREST = 10
_PROPERTY = "processor_sec"
_watched: list[int] = []


def watch(pid: int) -> None:
    """Count this child, and its children that have ended, while it runs; it is waited for at the very end."""
    _watched.append(pid)


def processor_sec() -> float:
    """User and system time of this process and of its children that have ended, in seconds."""
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return ours + sum(map(_with_children, _watched)) + _with_children(_fork_server())


def tree_sec(pid: int) -> float:
    """User and system time of a process, of its children that have ended and of those that run, in seconds."""
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def _fork_server() -> int | None:
    """The process that multiprocessing keeps to fork from, and that nobody waits for. It has no public name."""
    return getattr(forkserver._forkserver, "_forkserver_pid", None)  # type: ignore[attr-defined]


def _with_children(pid: int | None) -> float:
    """Seconds of a process and of its children that have ended."""
    try:
        return sum(psutil.Process(pid).cpu_times()[:4]) if pid else 0.0
    except psutil.NoSuchProcess:
        return 0.0


class Plugin:
    """Measures in the workers, and prints in the process that prints."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.test_started = 0.0
        self.by_file: Counter[str] = Counter()
        self.tests = 0
        self.workers_sec = 0.0
        self.collecting_sec = 0.0
        self.server_sec = 0.0
        self._server: tuple[int, float] | None = None

    def watch_server(self, pid: int) -> None:
        """Count what this process, PostgreSQL's postmaster, and its children use from now on."""
        self._server = pid, tree_sec(pid)

    def leave_server(self) -> None:
        """To be called while it still runs."""
        if self._server:
            pid, before = self._server
            self.server_sec = max(self.server_sec, tree_sec(pid) - before)

    def pytest_collection_finish(self) -> None:
        self.collecting_sec = processor_sec()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self) -> None:
        self.test_started = processor_sec()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.when == "teardown":
            item.user_properties.append((_PROPERTY, processor_sec() - self.test_started))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        self.tests += 1
        for name, value in report.user_properties:
            if name == _PROPERTY and isinstance(value, float):
                self.by_file[report.nodeid.partition("::")[0]] += value

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["costs"] = [processor_sec(), self.collecting_sec, self.server_sec]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        worker_sec, collecting_sec, server_sec = getattr(node, "workeroutput", {}).get("costs", (0.0, 0.0, 0.0))
        self.workers_sec += worker_sec
        self.collecting_sec += collecting_sec
        self.server_sec = max(self.server_sec, server_sec)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self.tests:
            return
        own = resource.getrusage(resource.RUSAGE_SELF)
        tests_sec = max(own.ru_utime + own.ru_stime + self.workers_sec, processor_sec())
        write = terminalreporter.line
        terminalreporter.section("processor time")
        for file, seconds in self.by_file.most_common(DEAREST):
            write(f"{seconds:8.1f} s  {file}")
        write(f"{self.collecting_sec:8.1f} s  before the first test: imports and collecting, in all workers")
        write(f"{self.server_sec:8.1f} s  PostgreSQL")
        wall = time.monotonic() - self.started
        write(
            f"{self.tests:,} tests took {wall:,.0f} s and {tests_sec + self.server_sec:,.0f} s of processor time:"
            f" {tests_sec:,.0f} s in tests and what they started, {self.server_sec:,.0f} s in PostgreSQL"
        )
        if path := os.environ.get("AUTOMATA_TEST_COSTS"):
            lines = [f"{seconds:.2f}\t{file}\n" for file, seconds in self.by_file.most_common()]
            Path(path).write_text("".join(lines))
