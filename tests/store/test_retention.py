"""Which runs are deleted for their age, what goes with them, and what is left when a sweep ends half way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from automata.errors import Usage
from automata.settings import MAX_RETENTION_DAYS, Settings, load
from automata.store.database import Connection, Database
from automata.store.new_runs import NewRun, create_runs
from automata.store.orchestrator_queue import FinishRow, RunWrites, apply_writes
from automata.store.retention import BEFORE_ALL, RUN_TABLES, STEP_TABLES, PrunedBatch, prune_batch
from automata.store.tables import metadata
from tests.emptying import empty

DAYS = 30
EVERY = sorted({*RUN_TABLES, *STEP_TABLES, "run_results"})
_numbers = iter(range(1_000_000))


def old_id(ago: timedelta) -> UUID:
    """An id as it was made so long ago."""
    return UUID(int=(int((datetime.now(UTC) - ago).timestamp() * 1000) << 80) + next(_numbers))


async def a_run(
    conn: Connection, ago: timedelta, *, ended: bool = True, steps: int = 2, status: str = "SUCCEEDED", **more: Any
) -> UUID:
    """A run that was made and ended so long ago, with a row in every table that has rows of runs."""
    flow = more.pop("flow", UUID(int=1))
    run = NewRun(flow, UUID(int=2), {}, id=old_id(ago), **more)
    await create_runs(conn, [run])
    for number in range(steps):
        key = {"run": run.id, "step": f"s{number}"}
        await conn.execute("INSERT INTO tasks (run_id, step, status) VALUES (%(run)s, %(step)s, 'SUCCEEDED')", key)
        await conn.execute("INSERT INTO task_attempts (run_id, step, attempt) VALUES (%(run)s, %(step)s, 1)", key)
        await conn.execute(
            "INSERT INTO approvals (run_id, step, approved, decided_by) VALUES (%(run)s, %(step)s, true, 'ada')", key
        )
        await conn.execute(
            "INSERT INTO recordings (run_id, step, attempt, exchanges) VALUES (%(run)s, %(step)s, 1, '[]')", key
        )
        await conn.execute(
            "INSERT INTO task_logs (run_id, step, attempt, lines) VALUES (%(run)s, %(step)s, 1, '[]')", key
        )
        await letter(conn, run.id, f"s{number}", "discarded")
    if ended:
        await apply_writes(conn, RunWrites(finish=[FinishRow(run.id, flow, status, None, None, None)]))
        await conn.execute("UPDATE run_results SET finished_at = now() - %s WHERE run_id = %s", [ago, run.id])
        await conn.execute("INSERT INTO run_slots (run_id, slot) VALUES (%s, 'left')", [run.id])
        await conn.execute(
            "INSERT INTO run_attempts (run_id, attempt, status, started_at, finished_at)"
            " VALUES (%s, 1, 'FAILED', now(), now())",
            [run.id],
        )
    return run.id


async def letter(conn: Connection, run: UUID, step: str, state: str) -> None:
    await conn.execute(
        "INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, state, resolved_at)"
        " VALUES (%s, %s, %s, %s, 3, 'http_status', %s, %s)",
        [run, UUID(int=1), UUID(int=2), step, state, None if state == "open" else datetime.now(UTC)],
    )


async def torn(conn: Connection) -> None:
    async with conn.transaction():
        await prune_batch(conn, DAYS, rows=5)
        raise ZeroDivisionError


async def there(conn: Connection) -> set[UUID]:
    return {row[0] for row in await (await conn.execute("SELECT id FROM runs")).fetchall()}


async def rows(conn: Connection, *tables: str) -> dict[str, int]:
    counts = {}
    for table in tables or EVERY:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}".encode())).fetchone()
        counts[table] = row[0] if row else -1
    return counts


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await Database.open(database_url) as db, db.connection() as conn:
        await empty(conn, EVERY)
        yield conn


async def test_a_run_goes_when_it_ended_more_than_the_days_ago_and_not_before(conn: Connection) -> None:
    edge, minute = timedelta(days=DAYS), timedelta(minutes=1)
    await a_run(conn, edge + minute)
    young = await a_run(conn, edge - minute)
    fresh = await a_run(conn, timedelta(0))
    assert await prune_batch(conn, DAYS) == PrunedBatch(None, runs=1, rows=12)
    assert await there(conn) == {young, fresh}


async def test_a_run_that_began_long_ago_and_ended_lately_stays(conn: Connection) -> None:
    run = await a_run(conn, timedelta(days=400))
    await conn.execute("UPDATE run_results SET finished_at = now()")
    await prune_batch(conn, DAYS)
    assert await there(conn) == {run}


async def test_a_run_that_has_not_ended_stays_however_old(conn: Connection) -> None:
    run = await a_run(conn, timedelta(days=400), ended=False)
    before = await rows(conn)
    assert (await prune_batch(conn, DAYS)).runs == 0
    assert await there(conn) == {run}
    assert await rows(conn) == before


async def test_nothing_of_a_deleted_run_is_left_anywhere(conn: Connection) -> None:
    run = await a_run(conn, timedelta(days=31))
    await conn.execute(
        "INSERT INTO task_queue (run_id, step, lane, ready_at, version_id)"
        " VALUES (%s, 'late', '@advance', now(), gen_random_uuid())",
        [run],
    )
    assert min((await rows(conn)).values()) > 0, "a table that the test does not fill proves nothing"
    await prune_batch(conn, DAYS)
    assert set((await rows(conn)).values()) == {0}


def test_every_table_with_rows_of_runs_is_one_that_retention_knows() -> None:
    """Who adds a table: name it in WHOLE or PARTS, and say in retention_take.sql whether its rows keep their run."""
    of_runs = {table.name for table in metadata.tables.values() if "run_id" in table.columns}
    assert of_runs == {*RUN_TABLES, *STEP_TABLES, "run_results"} - {"runs"}


async def test_a_run_stays_until_somebody_decided_about_its_dead_letters(conn: Connection) -> None:
    run = await a_run(conn, timedelta(days=400), status="FAILED")
    await letter(conn, run, "s9", "open")
    await prune_batch(conn, DAYS)
    assert await there(conn) == {run}
    await conn.execute("UPDATE dead_letters SET state = 'discarded', resolved_at = now() WHERE step = 's9'")
    await prune_batch(conn, DAYS)
    assert await there(conn) == set()


async def test_a_letter_keeps_the_runs_above_too_as_a_retry_has_them_go_on(conn: Connection) -> None:
    top = await a_run(conn, timedelta(days=403), status="FAILED")
    middle = await a_run(conn, timedelta(days=402), status="FAILED", parent_run_id=top, parent_step="s0", depth=1)
    bottom = await a_run(conn, timedelta(days=401), status="FAILED", parent_run_id=middle, parent_step="s0", depth=2)
    beside = await a_run(conn, timedelta(days=400), status="FAILED", parent_run_id=top, parent_step="s1", depth=1)
    await letter(conn, bottom, "s9", "open")
    await prune_batch(conn, DAYS)
    assert await there(conn) == {top, middle, bottom} - {beside}


async def test_a_letter_that_an_earlier_release_left_keeps_no_run_that_succeeded(conn: Connection) -> None:
    run = await a_run(conn, timedelta(days=400))
    await letter(conn, run, "s9", "open")
    await prune_batch(conn, DAYS)
    assert await there(conn) == set()


async def test_a_child_stays_while_its_parent_runs_and_goes_once_that_ended(conn: Connection) -> None:
    parent = await a_run(conn, timedelta(days=90), ended=False)
    child = await a_run(conn, timedelta(days=80), parent_run_id=parent, parent_step="s0", depth=1)
    await prune_batch(conn, DAYS)
    assert await there(conn) == {parent, child}
    await apply_writes(conn, RunWrites(finish=[FinishRow(parent, UUID(int=1), "SUCCEEDED", None, None, None)]))
    await prune_batch(conn, DAYS)
    assert await there(conn) == {parent}, "the parent ended just now, so it stays for its own days"


async def test_a_child_whose_parent_is_gone_goes_too(conn: Connection) -> None:
    await a_run(conn, timedelta(days=80), parent_run_id=old_id(timedelta(days=90)), parent_step="s0", depth=1)
    await prune_batch(conn, DAYS)
    assert await there(conn) == set()


async def test_an_idempotency_key_is_free_again_once_its_run_is_gone(conn: Connection) -> None:
    first = await a_run(conn, timedelta(days=31), idempotency_key="order-1")
    again = NewRun(UUID(int=1), UUID(int=2), {}, idempotency_key="order-1")
    (same,) = await create_runs(conn, [again])
    assert (same.id, same.created) == (first, False)
    await prune_batch(conn, DAYS)
    (made,) = await create_runs(conn, [again])
    assert made.created


async def test_batches_walk_on_over_what_stays(conn: Connection) -> None:
    kept = set()
    for number in range(10):
        run = await a_run(conn, timedelta(days=60 - number))
        if number in (0, 1, 2, 7):
            await conn.execute("UPDATE run_results SET finished_at = now() WHERE run_id = %s", [run])
            kept.add(run)
    swept, turns = PrunedBatch(BEFORE_ALL), []
    while swept.after is not None:
        swept = await prune_batch(conn, DAYS, swept.after, runs=3)
        turns.append(swept.runs)
    assert turns == [0, 3, 2, 1]
    assert await there(conn) == kept


async def test_a_run_of_many_steps_is_gone_at_once_and_its_rows_in_pieces(conn: Connection) -> None:
    await a_run(conn, timedelta(days=60), steps=24)
    swept = await prune_batch(conn, DAYS, rows=10)
    assert swept == PrunedBatch(BEFORE_ALL, runs=1, rows=10), "the same place again: rows are left"
    assert await rows(conn, "runs", "task_queue", "run_slots") == {"runs": 0, "task_queue": 0, "run_slots": 0}
    turns = 1
    while swept.after is not None:
        swept = await prune_batch(conn, DAYS, swept.after, rows=10)
        assert swept.runs == 0, "it is counted once"
        assert swept.rows <= 10
        turns += 1
    assert turns == 15
    assert set((await rows(conn)).values()) == {0}


async def test_what_a_killed_sweep_left_is_found_by_the_next_walk(conn: Connection) -> None:
    await a_run(conn, timedelta(days=60), steps=8)
    stays = await a_run(conn, timedelta(days=1), steps=1)
    await prune_batch(conn, DAYS, rows=5)
    with pytest.raises(ZeroDivisionError):
        await torn(conn)
    assert (await rows(conn, "tasks"))["tasks"] == 4, "what was not committed did not happen"
    after: UUID | None = BEFORE_ALL
    while after is not None:
        after = (await prune_batch(conn, DAYS, after)).after
    assert await there(conn) == {stays}
    assert set((await rows(conn)).values()) == {0, 1}
    assert (await rows(conn, "tasks", "run_results")) == {"tasks": 1, "run_results": 1}


async def test_a_result_that_another_holds_is_passed_by(database_url: str, conn: Connection) -> None:
    held = await a_run(conn, timedelta(days=60))
    await a_run(conn, timedelta(days=50))
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM run_results WHERE run_id = %s FOR UPDATE", [held])
        assert (await prune_batch(conn, DAYS)).runs == 1
        assert await there(conn) == {held}
    assert (await prune_batch(conn, DAYS)).runs == 1


def test_retention_is_off_unless_it_is_asked_for_and_bounded() -> None:
    assert Settings().retention_days == load({}).retention_days == 0
    assert load({"AUTOMATA_RETENTION_DAYS": str(MAX_RETENTION_DAYS)}).retention_days == MAX_RETENTION_DAYS
    for bad in (str(MAX_RETENTION_DAYS + 1), "-1", "1.5", "a week"):
        with pytest.raises(Usage, match="AUTOMATA_RETENTION_DAYS"):
            load({"AUTOMATA_RETENTION_DAYS": bad})
