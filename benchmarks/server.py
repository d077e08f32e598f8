"""The system under test: everything in one process, as `automata up` runs it, with a step type that does nothing.

Usage: python -m benchmarks.server DATABASE_URL [first|helper]. Prints its address on the first line of its output.
`first` and `helper` are the processes of a crew that rings through PostgreSQL; only the first has an API.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import uvloop

from automata.api.app import create_app
from automata.cli.composition import ALL, API, ORCHESTRATOR, WORKER, compose
from automata.services.process import RunningProcess, serve
from automata.settings import Settings
from automata.steps.contract import Outcome, StepContext


class Noop:
    """A step that a worker claims, runs and completes, and that costs nothing itself."""

    name = "noop"
    kind = "work"
    scope = "result"
    config_schema: Mapping[str, Any] = {}

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        return Outcome(outputs={"ok": True})


class Nap(Noop):
    """A step that waits for a second, as for a service: slots run out long before the processor does."""

    name = "nap"

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        await asyncio.sleep(1)
        return Outcome(outputs={})


async def announce(running: RunningProcess) -> None:
    print(running.address, flush=True)


if __name__ == "__main__":
    settings = Settings(port=0, allow_loopback=True)
    types = {"noop": Noop(), "nap": Nap()}
    parts = {"first": {API, ORCHESTRATOR, WORKER}, "helper": {ORCHESTRATOR, WORKER}}.get("".join(sys.argv[2:]), ALL)
    composition = compose(settings, parts, types=types, make_app=create_app)
    uvloop.run(serve(settings, sys.argv[1], composition, on_ready=announce))
