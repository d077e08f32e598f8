"""The demo's child processes, from both sides: started, listened to and ended by the demo, whatever ends the demo.

A child gets the demo's end of a pipe as its stdin. The kernel closes that pipe however the demo ends, kill -9
included, and a child that sees it closed ends itself as on SIGTERM: in order, with nothing left behind.

Ctrl-C may come while a child is being started, before the demo's `with` knows it. So the start holds signals, and
`end_all` ends every child that was started before its folder goes: a child that outlives the folder would make it anew.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from automata.cli.interruption import held
from automata.errors import Unavailable
from automata.interpreter import python_command

STOP_SEC = 120.0  # longer than the server's own drain, on a machine that is busy
_started: list[Child] = []


def end_with_stdin() -> None:
    """Called in the child: send ourselves SIGTERM once stdin is closed."""

    def wait() -> None:
        # os.read and not sys.stdin: a thread that holds sys.stdin's lock would crash the interpreter's exit.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


class Child:
    """A Python module in a process of its own that says what it does in JSON lines; use as a context manager."""

    def __init__(self, name: str, arguments: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._arguments = arguments
        self._log = log
        self._env = dict(env)
        self._events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Child:
        try:
            with held():
                self._start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End it in order, and wait until it has ended. A second call, or one before the start, does nothing."""
        if self._process is None:
            return
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SEC)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with suppress(ValueError):
            _started.remove(self)

    def _start(self) -> None:
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own modules, no shell
                python_command("-m", *self._arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=self._env,
                # Ctrl-C reaches the demo alone, which then ends its children in the right order.
                start_new_session=True,
            )
        _started.append(self)
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def event(self, timeout_sec: float) -> dict[str, Any]:
        """The next thing that it says. Raises Unavailable when it ended instead, or said nothing in time."""
        try:
            event = self._events.get(timeout=timeout_sec)
        except queue.Empty:
            raise Unavailable(f"the {self.name} said nothing for {timeout_sec:.0f} s. {self._last_words()}") from None
        if event is None:
            raise Unavailable(f"the {self.name} ended by itself. {self._last_words()}", code="demo_failed")
        return event

    def _listen(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._events.put(json.loads(line))
        self._events.put(None)

    def _last_words(self) -> str:
        return "Its last words:\n" + self._log.read_text(encoding="utf-8", errors="replace")[-3000:]


def end_all() -> None:
    """End every child that was started and has not ended, the last one first."""
    for child in reversed(_started.copy()):
        child.end()
