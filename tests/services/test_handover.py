"""Results that move their runs at once, in the orchestrator of the worker's own process."""

from __future__ import annotations

import asyncio

from automata.engine.states import TaskStatus
from automata.services.orchestrator import Orchestrator
from automata.services.plans import Plans
from automata.settings import Settings
from automata.steps.registry import instant_rules
from automata.store import tasks
from automata.store.database import Connection
from automata.store.tasks import Claim, Result
from tests.drive import Drive, drive, step


def _by(claim: Claim, who: str) -> Result:
    return Result(claim.run.id, claim.step, claim.fence, TaskStatus.SUCCEEDED, f'{{"by": "{who}"}}')


async def _nothing(_: Connection) -> None:
    pass


def _orchestrator(it: Drive) -> Orchestrator:
    return Orchestrator(it.db, it.broker, Plans(it.db), instant_rules(), Settings())


async def _claimed(it: Drive, lease_sec: float) -> dict[str, Claim]:
    async with asyncio.timeout(20):
        while True:
            async with it.db.connection() as conn:
                claims = await tasks.claim(conn, "elsewhere", 10, lease_sec, "w")
            if claims:
                return {item.step: item for item in claims}
            await asyncio.sleep(0.01)


def test_a_late_result_is_read_by_no_step_though_its_batch_moves_the_run(database_url: str) -> None:
    """The late one and an accepted one of the same run are handed in together."""

    async def scenario() -> None:
        async with drive(database_url, poll_sec=60) as it:
            first, second = step("a", queue="elsewhere"), step("b", queue="elsewhere")
            last = step("c", "a", "b", condition="{{ steps.a.outputs.by == 'second' }}")
            run = await it.start(await it.put("late", first, second, last))
            late, good = await _claimed(it, 0), await _claimed(it, 30)
            orchestrator = _orchestrator(it)
            async with it.db.connection() as conn:
                await tasks.complete(conn, [_by(good["a"], "second")])
            accepted = await orchestrator.finish([_by(late["a"], "late"), _by(good["b"], "second")], _nothing)
            assert accepted <= {(run, "b")}
            it.ring()
            assert (await it.ended(run)).status == "SUCCEEDED"
            assert (await it.states(run))["c"] == "SUCCEEDED"

    asyncio.run(scenario())
