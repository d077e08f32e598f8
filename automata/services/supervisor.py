"""More processes of one command (`--processes`): started, watched, started again, and ended with the first.

Failure argument. Child processes share nothing but the database, so one that dies costs its leases. Each lives as long
as its stdin: the first process closes that to have it drain, and the kernel does so when the first process is killed,
so none is left behind. Signals of a terminal do not reach them, and a signal that a
service manager sends to all of a group drains them once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import aiohttp

from automata.errors import Unavailable
from automata.pausing import pause
from automata.services.health import Health
from automata.settings import Settings
from automata.telemetry import CHILD_METRICS

STEADY_SEC = 60.0  # a process that lived as long is started again at once
MAX_PAUSE_SEC = 30.0
LOOK_SEC = 2.0  # between two looks at a child's /readyz
ASK_SEC = 2.0
END_SEC = 15.0  # beyond what a drain may take
_FLAG_SETTINGS = ("concurrency", "queues", "allow_loopback")  # the settings that the commands have flags for


class ChildProcess:
    """One process beside the first; its `name` is that in health."""

    def __init__(self, number: int, command: Sequence[str], env: Mapping[str, str], drain_sec: float) -> None:
        self.number = number
        self.name = f"process {number}"
        self._command = command
        self._env = env
        self._patience_sec = drain_sec + END_SEC
        self._process: asyncio.subprocess.Process | None = None
        self._pause_sec = 0.0

    async def run(self, health: Health, stop: asyncio.Event) -> None:
        """Keep the process until `stop`, then have it drain. Raises Unavailable when it ends before."""
        health.set(self.name, "is being started")
        await pause(self._pause_sec, stop)
        if stop.is_set():
            return
        began = time.monotonic()
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command,
            env=self._env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        following = asyncio.create_task(self._follow(process, health))
        ending = asyncio.create_task(process.wait())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({ending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await self._drain(process, ending)
                return
        finally:
            self.kill()
            CHILD_METRICS.pop(str(self.number), None)
            for task in (following, stopping):
                task.cancel()
            await asyncio.gather(ending, following, stopping, return_exceptions=True)
        quick = time.monotonic() - began < STEADY_SEC
        self._pause_sec = min(max(1.0, 2 * self._pause_sec), MAX_PAUSE_SEC) if quick else 0.0
        raise Unavailable(f"{self.name} ended with {process.returncode}")

    def kill(self) -> None:
        """End the process at once, without a drain."""
        if self._process and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _drain(self, process: asyncio.subprocess.Process, ending: asyncio.Task[int]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(ending), self._patience_sec)

    async def _follow(self, process: asyncio.subprocess.Process, health: Health) -> None:
        """Read where the process answers, then look now and then whether it is well."""
        assert process.stdout is not None
        while not (address := json.loads(await process.stdout.readline() or "{}").get("url", "")):
            if process.stdout.at_eof():
                return
        timeout = aiohttp.ClientTimeout(total=ASK_SEC)
        async with aiohttp.ClientSession(base_url=address, timeout=timeout) as http:

            async def metrics() -> str:
                async with http.get("/metrics") as answer:
                    return await answer.text()

            CHILD_METRICS[str(self.number)] = metrics
            while True:
                health.set(self.name, await _problem_of(http))
                await asyncio.sleep(LOOK_SEC if health.snapshot()[self.name] is None else LOOK_SEC / 10)


async def _problem_of(http: aiohttp.ClientSession) -> str | None:
    try:
        async with http.get("/readyz") as answer:
            return None if answer.status == 200 else "; ".join((await answer.json())["reasons"])
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return f"does not answer: {type(error).__name__}"


def child_processes(settings: Settings, database_url: str, *words: str) -> list[ChildProcess]:
    """The second to the last of `settings.processes`; `words` are the command that each of them runs."""
    command = [sys.executable, "-m", "automata", *words, "--until-eof", "--host", "127.0.0.1", "--port", "0"]
    env = {f"AUTOMATA_{name.upper()}": _text(getattr(settings, name)) for name in _FLAG_SETTINGS}
    # They answer on loopback alone; the first process shows their metrics, and decides to whom.
    env |= {"AUTOMATA_DATABASE_URL": database_url, "AUTOMATA_PROCESSES": "1", "AUTOMATA_METRICS": "everybody"}
    return [
        ChildProcess(number, [*command, "-o", "json"], {**os.environ, **env}, settings.drain_sec)
        for number in range(2, settings.processes + 1)
    ]


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value).lower()
