"""Retries of a run and of the runs below it at the same moment, and ones that are killed: both go on, or none does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest

from automata.errors import Conflict
from automata.store.run_retries import retry_run, run_attempts
from tests.child_runs import (
    FAILED,
    SUCCEEDED,
    children,
    forget,
    letters,
    put_pair,
    put_three,
    retry,
)
from tests.drive import BROKEN, Drive, drive


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url) as site:
        await forget(site)
        yield site


async def retry_one(site: Drive, run: UUID) -> UUID:
    async with site.db.transaction() as conn:
        return (await retry_run(conn, run, "ada")).run_id


async def race(site: Drive, targets: Sequence[UUID]) -> list[Any]:
    outcomes = await asyncio.gather(*(retry_one(site, run) for run in targets), return_exceptions=True)
    site.notify()
    return outcomes


@pytest.mark.parametrize("depth", [2, 3])
async def test_concurrent_retries_of_all_levels_make_each_call_once(site: Drive, depth: int) -> None:
    site.play.script["deeper"] = [BROKEN]
    top = await site.start(await put_three(site))
    await site.ended(top)
    (middle,) = await children(site, top)
    (bottom,) = await children(site, middle)
    outcomes = await race(site, [top, middle, bottom][:depth] * 4)
    assert all(isinstance(one, UUID | Conflict) for one in outcomes), outcomes
    for run in (top, middle, bottom):
        assert (await site.ended(run)).status is SUCCEEDED
    assert (site.play.made("deep"), site.play.made("deeper"), site.play.made("last")) == ([1], [1, 2], [1])
    assert (await children(site, top), await children(site, middle)) == ([middle], [bottom])


async def retry_and_die(site: Drive, run: UUID) -> None:
    async with site.db.transaction() as conn:
        await retry_run(conn, run)
        await conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_a_retry_that_is_killed_half_way_leaves_the_pair_as_it_was(site: Drive) -> None:
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    with pytest.raises(Exception, match="not reachable"):
        await retry_and_die(site, child)
    assert ((await site.ended(run)).status, (await site.ended(child)).status) == (FAILED, FAILED)
    assert len(await letters(site)) == 1
    await retry(site, child)
    assert (await site.ended(run)).status is SUCCEEDED


async def test_a_retry_of_the_child_waits_for_whoever_decides_about_its_parent(site: Drive) -> None:
    """The parent's end and the child's retry are one after the other, so one of them sees the other."""
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    async with site.db.transaction() as holder:
        await holder.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [str(run)])
        retrying = asyncio.create_task(retry(site, child))
        async with site.db.connection() as conn:
            await waiting_for_lock(conn)
        assert (await site.ended(child)).status is FAILED
    assert await retrying == {run, child}
    assert (await site.ended(run)).status is SUCCEEDED


async def waiting_for_lock(conn: Any) -> None:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    async with asyncio.timeout(60):
        while not (await (await conn.execute(query)).fetchone())[0]:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_who_had_the_child_go_on_is_written_with_every_run_that_did(site: Drive) -> None:
    site.play.script["tell"] = [BROKEN]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    await retry(site, run)
    await site.ended(run)
    for one in (run, child):
        async with site.db.connection() as conn:
            (attempt,) = await run_attempts(conn, one)
        assert (attempt.attempt, attempt.status, attempt.retried_by) == (1, "FAILED", "ada")


async def test_a_parent_that_missed_the_end_of_its_child_looks_again_by_itself(site: Drive) -> None:
    """The child may end in the moment in which its parent's waiting row is written, and find no row to wake."""
    hold = asyncio.Event()
    site.play.script["tell"] = [BROKEN, hold]
    run = await site.start(await put_pair(site))
    await site.ended(run)
    (child,) = await children(site, run)
    await retry(site, child)
    await site.called("tell", 2)
    await waits(site, run)
    async with site.db.transaction() as conn:
        await conn.execute("DELETE FROM task_queue WHERE run_id = %s", [child])
        await conn.execute(
            "INSERT INTO run_results (run_id, flow_id, status, started_at)"
            " SELECT id, flow_id, 'SUCCEEDED', now() FROM runs WHERE id = %s",
            [child],
        )
    assert (await site.ended(run)).status is SUCCEEDED
    hold.set()


async def waits(site: Drive, run: UUID) -> None:
    query = "SELECT count(*) FROM task_queue WHERE run_id = %s AND step = 'bill'"
    async with asyncio.timeout(60):
        while not await site.value(query, run):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
