"""When groups began, as the real orchestrator and worker leave their rows behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from automata.engine.states import RunStatus
from automata.store.group_starts import group_starts
from automata.store.run_retries import retry_run
from automata.store.run_tasks import list_attempts
from tests.drive import BROKEN, Drive, drive, fan, step


@pytest.fixture(params=[True, False], ids=["one process", "separate"])
async def site(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Drive]:
    async with drive(database_url, joined=request.param) as site:
        yield site


def each(id: str, *after: str, **more: Any) -> dict[str, Any]:
    return step(id, *after, foreach="{{ inputs.list }}", **more)


async def starts(site: Drive, run: UUID) -> dict[str, datetime]:
    async with site.db.connection() as conn:
        return await group_starts(conn, run)


async def first_queued(site: Drive, run: UUID, prefix: str) -> datetime:
    """When the first of the steps was queued whose names begin so."""
    rows = (await site.tasks(run)).items()
    return min(row.queued_at for name, row in rows if name.startswith(prefix) and row.queued_at)


async def test_a_group_begins_with_its_first_step_and_not_with_what_ends_it(site: Drive) -> None:
    gate = asyncio.Event()
    site.play.script["outer.right.slow"] = [gate]
    branches = {
        "left": [step("quick"), each("load"), fan("inner", branches={"one": [step("deep")]})],
        "right": [step("slow")],
    }
    flow = await site.put("groups", fan("outer", branches=branches), inputs={"list": {"type": "array"}})
    run = await site.start(flow, list=[1, 2, 3])
    await site.called("outer.left.inner.one.deep")
    began = await starts(site, run)
    assert began["outer"] == await first_queued(site, run, "outer."), "while it runs"
    gate.set()
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert await starts(site, run) == began
    for group in ("outer", "outer.left.load", "outer.left.inner"):
        inside = await first_queued(site, run, f"{group}[" if group.endswith("load") else f"{group}.")
        assert began[group] == inside, group
    assert began["outer"] < began["outer.left.inner"]


async def test_a_group_of_a_retried_run_began_when_it_was_first_tried(site: Drive) -> None:
    site.play.script["fan.a.x"] = [BROKEN]
    flow = await site.put("groups", fan("fan", branches={"a": [step("x")]}))
    run = await site.start(flow)
    assert (await site.ended(run)).status is RunStatus.FAILED
    async with site.db.transaction() as conn:
        await retry_run(conn, run)
    site.notify()
    await site.called("fan.a.x", 2)
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    async with site.db.connection() as conn:
        attempts = await list_attempts(conn, run, "fan.a.x")
    assert (await starts(site, run))["fan"] == attempts[0].started_at
