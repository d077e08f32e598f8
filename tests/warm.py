"""The product's processes without their imports: forked from one that has everything imported.

A command of `automata` imports for half a second of processor time and a service for two, and the suite starts
hundreds. A fork is a process like any other: it has its own environment, folder, streams, signals and exit code, and
SIGKILL ends it as surely. What a fork cannot show is tested without it: the program's own start, and the demo.

`python -m tests.warm` is that process. A request comes with three streams over a Unix socket; the answer is the
process id, then the exit code. It ends with whoever started it, since it then reads the end of its stdin.

Failure argument. The warm process has one thread, no event loop and no random state of its own, so a fork copies
nothing that is half done. It alone waits for the forks; when it dies, their exit code is told as that of a SIGKILL.
"""

from __future__ import annotations

import atexit
import gc
import inspect
import io
import json
import os
import runpy
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests import costs
from tests.warm_call import LOST, ask

ROOT = Path(__file__).parents[1]
_PRELOADED = (
    "alembic.command",
    "automata.cli.app",
    "automata.cli.check",
    "automata.cli.up",
    "automata.check.limits",
    "automata.sandbox.pool",
    "automata.services.sync_controller",
    "automata.services.supervisor",
    "automata.services.process",
    "automata.store.embedded",
    "automata.store.migrate",
    "automata.sync.reconcile",
    "automata.web.app",
    "httpx",
    "rich.progress",
    "rich.table",
    "rich.tree",
    "uvloop",
    "watchfiles",
)

# -- the side of the tests -------------------------------------------------------------------------------------------


class Process(subprocess.Popen[str]):
    """`python -m MODULE WORDS` as a fork of the warm process: a Popen that takes its words without the interpreter."""

    def _execute_child(self, *arguments: Any) -> None:
        given = inspect.signature(subprocess.Popen._execute_child).bind(self, *arguments).arguments
        streams = [(given["p2cread"], 0), (given["c2pwrite"], 1), (given["errwrite"], 2)]
        words = [os.fspath(word) for word in given["args"]]
        self._answer = ask(
            _address(),
            [number if stream == -1 else stream for stream, number in streams],
            words[0],
            words[1:],
            dict(os.environ if given["env"] is None else given["env"]),
            os.fspath(given["cwd"] or Path.cwd()),
            given["start_new_session"],
        )
        self.pid = int(self._answer.readline())
        self._child_created = True
        devnull = getattr(self, "_devnull", None)
        ours = {given[name] for name in ("p2cread", "c2pwrite", "errwrite")} - {-1, devnull}
        kept = {stream for stream in self._given_streams if isinstance(stream, int)}
        for stream in ours - kept:
            os.close(stream)
        if devnull is not None:
            os.close(devnull)

    def __init__(self, words: Sequence[str | os.PathLike[str]], **options: Any) -> None:
        streams = [options.get(name) for name in ("stdin", "stdout", "stderr")]
        self._given_streams = [stream if isinstance(stream, int | None) else stream.fileno() for stream in streams]
        super().__init__(words, **{"text": True, **options})

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and select.select([self._answer], [], [], 0)[0]:
            self._end()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not select.select([self._answer], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self._end()
        return self.returncode

    def _end(self) -> None:
        with self._answer:
            self.returncode = int(self._answer.readline() or LOST)


def run(
    words: Sequence[str | os.PathLike[str]], *, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of a fork: MODULE and its words, with its output as text."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with Process(words, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def program(folder: Path, name: str = "automata") -> Path:
    """A program `automata` in this folder that shells can call; it passes signals on."""
    path = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm_call.py")), _address(), name]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    path.chmod(0o755)
    return path


@cache
def _address() -> str:
    """Where the warm process of this process listens; starts it."""
    folder = tempfile.TemporaryDirectory(prefix="automata-warm-")
    path = f"{folder.name}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.warm", path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"warm\n", "the warm process did not start"
    costs.watch(process.pid)

    def end() -> None:
        process.communicate()
        folder.cleanup()

    atexit.register(end)
    return path


# -- the warm side ---------------------------------------------------------------------------------------------------


def _serve(address: str) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request. Returns in the fork with what it shall do, and in the warm process when all is over."""
    answers: dict[int, socket.socket] = {}
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        os.write(1, b"warm\n")
        while True:
            ready = select.select([listener, woken, 0], [], [])[0]
            if woken in ready:
                os.read(woken, 4096)
                _bury(answers)
            if listener in ready:
                connection, _ = listener.accept()
                request, streams = _read(connection)
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    for other in (connection, *answers.values()):
                        other.close()
                    os.close(woken)
                    os.close(wakes)
                    return request, streams
                answers[pid] = connection
                connection.sendall(f"{pid}\n".encode())
                for stream in streams:
                    os.close(stream)
            if 0 in ready and not os.read(0, 1):
                return None


def _bury(answers: dict[int, socket.socket]) -> None:
    while answers:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        with answers.pop(pid) as connection:
            try:
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            except BrokenPipeError:
                continue  # nobody wants to know


def _read(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, streams, _, _ = socket.recv_fds(connection, 4, 3)
    size, text = int.from_bytes(head, "big"), b""
    while len(text) < size:
        text += connection.recv(size - len(text))
    return json.loads(text), list(streams)


def _become(request: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Be `python -m MODULE WORDS` in what was forked."""
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN if number is signal.SIGPIPE else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["new_session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["folder"])
    tempfile.tempdir = None
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout, sys.stderr = _writer(1), _writer(2)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    sys.argv[:] = [request["module"], *request["words"]]
    sys.path[0] = request["folder"]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


def _writer(number: int) -> io.TextIOWrapper:
    errors = "backslashreplace" if number == 2 else "strict"
    raw = io.BufferedWriter(io.FileIO(number, "wb", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=number == 2 or os.isatty(number))


def _main() -> None:
    for module in _PRELOADED:
        __import__(module)
    assert threading.active_count() == 1, "a fork would take one of these threads along, and not the others"
    gc.collect()
    gc.freeze()
    if work := _serve(sys.argv[1]):
        _become(*work)


if __name__ == "__main__":
    _main()
