"""The product as separate processes: started, paused, killed and started again by a test."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests import warm
from tests.promises.processes import until


class Member:
    """One process of the product. `address` is where it answers HTTP."""

    def __init__(self, part: str, env: Mapping[str, str], *options: str, log: Path | None = None) -> None:
        self.part = part
        self.env = dict(env)
        self.options = options
        self.log = log
        self.process: subprocess.Popen[str] | None = None
        self.address = ""

    def start(self) -> Member:
        errors = self.log.open("a") if self.log else subprocess.DEVNULL
        self.process = warm.Process(
            ["automata", self.part, "--port", "0", "-o", "json", *self.options],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        if self.log:
            errors.close()  # type: ignore[union-attr]
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if url := json.loads(line).get("url"):
                self.address = url
                return self
        raise AssertionError(f"{self.part} ended with {self.process.wait(120)} before it was up")

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, seconds: float = 300) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        assert self.process.stdout is not None
        code = self.process.wait(seconds)
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.ended()

    def ready(self) -> tuple[int, str]:
        answer = httpx.get(f"{self.address}/readyz", timeout=120)
        return answer.status_code, answer.text


@contextmanager
def fleet(*members: Member) -> Iterator[tuple[Member, ...]]:
    """Starts them and waits until they are ready; kills what is left at the end."""
    try:
        for member in members:
            member.start()
        for member in members:
            until(lambda member=member: member.ready()[0] == 200, f"{member.part} is ready")  # type: ignore[misc]
        yield members
    finally:
        for member in members:
            if member.process and member.process.poll() is None:
                member.process.send_signal(signal.SIGCONT)
                member.kill()
