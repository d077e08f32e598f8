"""What each hot statement walks, as a line of plans.txt: a lost index is a changed line, not a slow month.

The plans are the generic ones, those that a connection keeps for a prepared statement. They are the same whatever the
planner was told of the tables: nothing yet, a handful of rows, or what they hold after a while of use. When a change is
meant: AUTOMATA_RECORD_PLANS=1 python -m pytest tests/store/test_plans.py, and review it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from automata.store.database import PLANS
from automata.store.sql import statement
from benchmarks.history import TABLES, fill

RECORDED = Path(__file__).with_name("plans.txt")
FILES = sorted(path.stem for path in Path(statement.__wrapped__.__code__.co_filename).parent.glob("*.sql"))
# Seldom executed and never prepared: planned each time for the tables as they are, so one plan of them is recorded.
PLANNED_EACH_TIME = {"reopen_runs", "take_old_runs"}
# These grow with every run. The queue and the schedules hold what is to come; a plan may read a small one whole.
GROWING = {"runs", "run_results", "tasks", "task_attempts", "dead_letters", "run_attempts", "approvals"}
# What the statistics were taken of: steps of the past and rows of the queue. Autovacuum leaves the first in an
# installation that is idle, and the next second fills its queue.
STATISTICS = {"empty": (0, 0), "small": (200, 20), "huge": (400_000, 20_000)}


@pytest.fixture(scope="module", params=STATISTICS)
def statistics(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def used(statistics: str, make_database: Callable[[], str]) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the product's, with tables of which the planner believes what the statistics say."""
    steps, queued = STATISTICS[statistics]
    settings = " ".join(f"-c {name}={value}" for name, value in PLANS.items())
    with psycopg.connect(make_database(), autocommit=True, options=settings) as conn:
        fill(conn, steps=steps, queued=queued)
        conn.execute(f"VACUUM ANALYZE {TABLES}".encode())
        conn.execute("SET plan_cache_mode = force_generic_plan")
        yield conn


def plan(conn: psycopg.Connection[Any], name: str) -> str:
    """`NAME: table.index, ...` in the order of the plan.

    `table WHOLE` and `index WHOLE` where all of it is read, `EACH WITH EACH` where rows of two sources are compared in
    pairs.
    """
    names: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    # For a limit that it does not know the planner assumes a tenth of the table; the server notices, and plans with it.
    limited = statement(name).replace("%(limit)s", "50")
    text = re.sub(r"%\((\w+)\)s", numbered, limited).replace("%%", "%")
    conn.execute(f"PREPARE one AS {text}".encode())
    try:
        nulls = f"({', '.join(['NULL'] * len(names))})" if names else ""
        row = conn.execute(f"EXPLAIN (FORMAT JSON, COSTS off) EXECUTE one{nulls}".encode()).fetchone()
    finally:
        conn.execute("DEALLOCATE one")
    assert row is not None
    return f"{name}: {', '.join(dict.fromkeys(_walks(row[0][0]['Plan'], [])))}"


def _walks(node: dict[str, Any], above: list[str]) -> Iterator[str]:
    kind, table = node["Node Type"], node.get("Relation Name")
    whole = "" if "Index Cond" in node else " WHOLE"
    if kind == "Bitmap Heap Scan":
        above = [table]
    elif kind == "Bitmap Index Scan":
        yield f"{above[0]}.{node['Index Name']}{whole}"
    elif "Index Name" in node:
        yield f"{table}.{node['Index Name']}{whole}"
    elif kind.endswith("Seq Scan"):
        yield f"{table} WHOLE"
    elif kind == "Tid Scan":
        yield f"{table}.ctid"
    elif kind == "Nested Loop" and "Join Filter" in node:
        yield "EACH WITH EACH"
    for index in node.get("Conflict Arbiter Indexes", ()):
        yield f"{table}.{index} (conflict)"
    for part in node.get("Plans", ()):
        yield from _walks(part, above)


@pytest.fixture(scope="module")
def plans(used: psycopg.Connection[Any], statistics: str) -> list[str]:
    return [plan(used, name) for name in _planned(statistics)]


def _planned(statistics: str) -> list[str]:
    return [name for name in FILES if statistics == "huge" or name not in PLANNED_EACH_TIME]


def test_every_statement_walks_what_it_is_recorded_to_walk_whatever_the_planner_believes(
    plans: list[str], statistics: str
) -> None:
    if os.environ.get("AUTOMATA_RECORD_PLANS") and statistics == "huge":
        RECORDED.write_text("\n".join(plans) + "\n")
    recorded = {line.split(":")[0]: line for line in RECORDED.read_text().splitlines()}
    assert plans == [recorded.get(name) for name in _planned(statistics)]


def test_no_statement_reads_the_past_from_end_to_end(plans: list[str]) -> None:
    whole = {line.split(":")[0]: found for line in plans if (found := re.findall(r"(\w+)(?:\.\w+)? WHOLE", line))}
    assert {name: tables for name, tables in whole.items() if GROWING & set(tables)} == {}


def test_no_statement_compares_each_row_with_each_other(plans: list[str]) -> None:
    assert [line for line in plans if "EACH WITH EACH" in line and line.split(":")[0] not in PLANNED_EACH_TIME] == []


@pytest.mark.parametrize(
    ("drop", "name"),
    [
        ("DROP INDEX task_queue_ready", "claim_tasks"),
        ("ALTER TABLE tasks DROP CONSTRAINT tasks_pkey", "load_outputs"),
        ("ALTER TABLE run_results DROP CONSTRAINT run_results_pkey", "take_old_runs"),
    ],
)
def test_a_lost_index_is_noticed(used: psycopg.Connection[Any], plans: list[str], drop: str, name: str) -> None:
    before = next((line for line in plans if line.startswith(f"{name}:")), None)
    with used.transaction(force_rollback=True):
        used.execute(drop.encode())
        assert plan(used, name) != before
