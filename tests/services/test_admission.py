"""Who begins first under a flow's `concurrency` when two orchestrators share the runs out between them."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import psycopg

from automata.broker.local import LocalBroker
from automata.flow.model import Flow
from automata.services.orchestrator import Orchestrator
from automata.services.plan_cache import PlanCache
from automata.services.run_advancer import RunAdvancer
from automata.settings import Settings
from automata.steps.registry import instant_rules
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.store.new_runs import NewRun, create_runs

LIMITED: dict[str, Any] = {
    "name": "limited",
    "concurrency": {"limit": 1},
    "steps": [{"id": "d", "type": "delay", "config": {"duration_sec": 60}}],
}


def new_orchestrator(db: Database) -> Orchestrator:
    broker = LocalBroker()
    return Orchestrator(db, broker, RunAdvancer(db, broker, PlanCache(db), instant_rules()), Settings())


def holders(url: str) -> list[UUID]:
    with psycopg.connect(url) as conn:
        return [row[0] for row in conn.execute("SELECT run_id FROM run_slots")]


async def test_a_younger_run_does_not_overtake_one_that_another_orchestrator_has_in_hand(
    fresh_database_url: str,
) -> None:
    async with await Database.open(fresh_database_url) as db:
        async with db.transaction() as conn:
            put = await put_api_flow(conn, Flow.from_spec(LIMITED), author="test")
            new = [NewRun(put.flow.id, put.version.id, {}) for _ in range(2)]
            first, second = sorted(made.id for made in await create_runs(conn, new))
        orchestrator = new_orchestrator(db)
        with psycopg.connect(fresh_database_url) as other:
            other.execute("SELECT FROM task_queue WHERE run_id = %s FOR UPDATE", [first])
            await orchestrator.run_once()
            assert holders(fresh_database_url) == [], f"{second} came too early"
        async with asyncio.timeout(120):
            while not (there := holders(fresh_database_url)):  # noqa: ASYNC110 - each round is a turn
                await asyncio.sleep(await orchestrator.run_once() / 10)
        assert there == [first]


async def test_a_run_that_is_to_begin_later_holds_up_nobody(fresh_database_url: str) -> None:
    async with await Database.open(fresh_database_url) as db:
        async with db.transaction() as conn:
            put = await put_api_flow(conn, Flow.from_spec(LIMITED), author="test")
            old = NewRun(put.flow.id, put.version.id, {})
            (older,) = await create_runs(conn, [old])
            await conn.execute(
                "UPDATE task_queue SET ready_at = now() + interval '1 hour' WHERE run_id = %s", [older.id]
            )
            (younger,) = await create_runs(conn, [NewRun(put.flow.id, put.version.id, {})])
        await new_orchestrator(db).run_once()
        assert holders(fresh_database_url) == [younger.id]
