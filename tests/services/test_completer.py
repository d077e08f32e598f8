"""The completer: what becomes of outcomes that cannot be committed as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from automata.errors import Invalid
from automata.services.run_advancer import Batch, BatchEffects, RunAdvancer
from automata.store import worker_queue
from automata.store.worker_queue import TaskResult
from tests.drive import drive, step

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def refuse_poison(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The database refuses each batch with an outcome that says `poison`; returns the sizes of the batches."""
    sizes: list[int] = []
    complete = worker_queue.complete

    async def refusing(conn: Any, results: Sequence[TaskResult]) -> set[Any]:
        sizes.append(len(results))
        if any("poison" in (result.outputs or "") for result in results):
            raise Invalid("no such character")
        return await complete(conn, results)

    monkeypatch.setattr(worker_queue, "complete", refusing)
    return sizes


def fail_to_advance_outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """The first batch of outcomes cannot be advanced; returns those batches."""
    failed: list[Batch] = []
    advance = RunAdvancer.advance

    async def failing(self: RunAdvancer, conn: Any, batch: Batch, dispatch: Any) -> BatchEffects:
        if batch.outputs and not failed:
            failed.append(batch)
            raise RuntimeError("something else is wrong with a run")
        return await advance(self, conn, batch, dispatch)

    monkeypatch.setattr(RunAdvancer, "advance", failing)
    return failed


async def test_an_outcome_that_the_database_refuses_fails_its_own_step_alone(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = refuse_poison(monkeypatch)
    async with drive(database_url, joined=False) as site:
        names, together = ["a", "b", "bad", "c", "d"], asyncio.Event()
        site.play.script |= {name: [together] for name in names} | {"bad": [together, {"text": "poison"}]}
        started = await site.start(await site.put("poisoned", *(step(name) for name in names)))
        for name in names:
            await site.called(name)
        together.set()
        run = await site.ended(started)
        assert run.error
        assert run.error["code"] == "not_storable"
        assert await site.states(run.id) == dict.fromkeys(names, "SUCCEEDED") | {"bad": "FAILED"}
    assert max(sizes) > 1, "they were completed together"


async def test_outcomes_are_committed_although_their_runs_cannot_be_advanced(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = fail_to_advance_outcomes(monkeypatch)
    async with drive(database_url) as site:
        run = await site.ended(await site.start(await site.put("stuck", step("a"), step("b", "a"))))
        assert (run.status, len(failed)) == ("SUCCEEDED", 1)
        assert site.play.made("a") == [1], "the outcome was accepted, so no second call is made"
