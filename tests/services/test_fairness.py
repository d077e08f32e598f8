"""A flow with a crowd of tasks does not hold up the single run of another, with the worker here or elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from automata.operations.run_creation import RunCreator
from automata.steps.contract import Outcome, StepContext
from automata.store.new_runs import NewRun
from tests.drive import Drive, drive, step

CROWD = 200
SLOTS = 4


class Turnstile:
    """A step that ends when the test lets one through."""

    name = "turnstile"
    kind = "work"
    scope = "result"
    config_schema: Mapping[str, Any] = {}

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)
        self.inside = 0

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        self.inside += 1
        await self.gate.acquire()
        self.inside -= 1
        return Outcome(outputs={})


@pytest.mark.parametrize("joined", [True, False])
async def test_a_single_run_goes_ahead_of_a_crowd_that_was_there_before(database_url: str, joined: bool) -> None:
    stile = Turnstile()
    async with drive(database_url, {"turnstile": stile}, joined=joined, concurrency=SLOTS, batch=20) as it:
        intake = RunCreator(it.db, it.broker, 20)
        crowd = await it.put("crowd", {"id": "a", "type": "turnstile"})
        one = await it.put("one", step("a"), step("b", "a"))
        await intake.create_many([NewRun(*crowd, {}) for _ in range(CROWD)], together=False)
        await _until(it, CROWD)
        run = (await intake.create(NewRun(*one, {}))).id
        passed = 0
        ended = asyncio.create_task(it.ended(run))
        while not ended.done():
            if stile.inside == SLOTS:  # nobody else has a place: one makes way
                stile.gate.release()
                passed += 1
            await asyncio.sleep(0.02)
        await ended
        for _ in range(CROWD):
            stile.gate.release()
        await _until(it, 0)
        assert passed < CROWD // 4, f"{passed} of the crowd were let through first"


async def _until(it: Drive, queued: int) -> None:
    for _ in range(1000):
        if await it.value("SELECT count(*) FROM task_queue WHERE lane = 'default'") == queued:
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"never {queued} tasks")
