"""What the database refuses of one run holds up no other, and ends that run where a person can see it."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from automata.broker.local import LocalBroker
from automata.flow.model import Flow
from automata.services.orchestrator import Orchestrator
from automata.services.plan_cache import PlanCache
from automata.services.run_advancer import MAX_LOSSES, RunAdvancer
from automata.settings import Settings
from automata.steps.registry import instant_rules
from automata.store.database import Database
from automata.store.flows import put_api_flow
from automata.store.new_runs import NewRun, create_runs

RUNS = 9  # the refused one is in the middle
LIMIT = {"limit": 100}
STEPS = [{"id": "pause", "type": "delay", "config": {"duration_sec": 3600}}]
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.run_id = '{run}' AND NEW.step = 'pause' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON task_queue FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def started(db: Database, concurrency: dict[str, int] | None) -> list[UUID]:
    more = {"concurrency": concurrency} if concurrency else {}
    async with db.transaction() as conn:
        put = await put_api_flow(conn, Flow.from_spec({"name": "waits", "steps": STEPS, **more}), author="test")
        new = [NewRun(put.flow.id, put.version.id, {}) for _ in range(RUNS)]
        return [run.id for run in await create_runs(conn, new)]


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(query.encode()).fetchall()


@pytest.mark.parametrize("code", ["22021", "P0001", "23514"])  # of a value, of a trigger, of a check
@pytest.mark.parametrize("concurrency", [None, LIMIT], ids=["free", "limited"])
async def test_a_run_that_the_database_refuses_holds_up_no_other(
    concurrency: dict[str, int] | None, code: str, fresh_database_url: str
) -> None:
    url = fresh_database_url
    async with await Database.open(url) as db:
        broker = LocalBroker()
        orchestrator = Orchestrator(db, broker, RunAdvancer(db, broker, PlanCache(db), instant_rules()), Settings())
        runs = await started(db, concurrency)
        refused = runs[RUNS // 2]
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(REFUSE.format(run=refused, code=code).encode())
        for _ in range(4 * RUNS):
            await orchestrator.run_once()
        assert {run for (run,) in rows(url, "SELECT run_id FROM task_queue WHERE step = 'pause'")} == {*runs} - {
            refused
        }
        assert rows(url, f"SELECT FROM task_queue WHERE run_id = '{refused}' AND losses > 0") == [()]
        for _ in range(MAX_LOSSES):
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute("UPDATE task_queue SET ready_at = now() WHERE run_id = %s", [refused])
            await orchestrator.run_once()
        ends = rows(url, "SELECT run_id, status, error ->> 'code' FROM run_results")
        assert ends == [(refused, "FAILED", "engine_error")]
        assert rows(url, f"SELECT FROM run_slots WHERE run_id = '{refused}'") == []
        assert rows(url, f"SELECT FROM task_queue WHERE run_id = '{refused}'") == []
