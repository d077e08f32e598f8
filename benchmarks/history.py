"""A past: ended runs with their steps, and what waits in the queue; the server writes it, so a million are quick."""

from __future__ import annotations

from typing import Any

import psycopg

from automata.store.sql import with_fragments

STEPS = 10  # of a run

# An id begins with its time in milliseconds, like those that the product makes: the past is in order on the disk.
_RUNS = """
INSERT INTO runs (id, flow_id, version_id, trigger, inputs, idempotency_key, created_at)
SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '7000' || '8000'
        || lpad(to_hex(n), 12, '0'))::uuid,
       lpad(to_hex(n %% 20), 32, '0')::uuid, lpad(to_hex(n %% 20), 32, '0')::uuid, 'api', '{"n": 1}',
       CASE WHEN n %% 4 = 0 THEN 'key-' || n END, made
FROM generate_series(1, %(runs)s) AS n, LATERAL (SELECT now() - (%(runs)s - n) * interval '1 s' AS made) AS t
"""
_RESULTS = """
INSERT INTO run_results (run_id, flow_id, status, started_at, finished_at)
SELECT id, flow_id, CASE WHEN right(id::text, 2) = '00' THEN 'FAILED' ELSE 'SUCCEEDED' END, created_at,
       created_at + interval '1 s'
FROM runs
"""
_TASKS = """
INSERT INTO tasks (run_id, step, status, queued_at, started_at, finished_at, worker, outputs)
SELECT id, 's' || n, 'SUCCEEDED', created_at, created_at, created_at, 'w', '{"ok": true}'
FROM runs, generate_series(1, %(steps)s) AS n
"""
_ATTEMPTS = """
INSERT INTO task_attempts (run_id, step, attempt, started_at)
SELECT run_id, step, 1, started_at FROM tasks WHERE step = 's1'
"""
# What few runs have: one in ten.
_LETTERS = """
INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, state, resolved_at)
SELECT id, flow_id, version_id, 's1', 3, 'http_status', 'retried', now() FROM runs
WHERE right(id::text, 1) IN ('0', '8')
"""
_EARLIER = """
INSERT INTO run_attempts (run_id, attempt, status, started_at, finished_at)
SELECT run_id, 1, 'FAILED', created_at, created_at FROM dead_letters
"""
_APPROVALS = """
INSERT INTO approvals (run_id, step, approved, decided_by) SELECT run_id, 's2', true, 'ada' FROM dead_letters
"""
_QUEUE = with_fragments("""
INSERT INTO task_queue (run_id, step, lane, ready_at, version_id)
SELECT gen_random_uuid(), 's1', CASE WHEN n %% 2 = 0 THEN 'default' ELSE ${ADVANCE} END,
       now() + ((n %% 10) - 5) * interval '1 h', gen_random_uuid()
FROM generate_series(1, %(queued)s) AS n
""")
TABLES = "runs, run_results, tasks, task_attempts, task_queue, dead_letters, run_attempts, approvals"


_FLOWS = """
INSERT INTO flows (id, name) SELECT lpad(to_hex(n), 32, '0')::uuid, 'past-' || n FROM generate_series(0, 19) AS n
"""
_VERSIONS = """
INSERT INTO flow_versions (id, flow_id, number, content_hash, spec)
SELECT id, id, 1, 'past', json_build_object('name', name, 'steps', ARRAY[]::json[]) FROM flows WHERE name LIKE 'past-%'
"""


def fill(conn: psycopg.Connection[Any], steps: int, queued: int, of_run: int = STEPS) -> None:
    """`steps` finished steps, `of_run` a run, runs a second apart; and `queued` rows that wait, half of them for later.

    The tables are empty before. Statistics are taken, as autovacuum would have.
    """
    for text in (_RUNS, _RESULTS, _TASKS, _ATTEMPTS, _LETTERS, _EARLIER, _APPROVALS, _QUEUE):
        given = {"runs": steps // of_run, "steps": of_run, "queued": queued}
        conn.execute(text.encode(), given if "%" in text else None)
    conn.execute(f"ANALYZE {TABLES}".encode())


def name_flows(conn: psycopg.Connection[Any]) -> None:
    """Flows and versions for the runs of `fill`, for lists that show them: `past-0` to `past-19`."""
    conn.execute(_FLOWS.encode())
    conn.execute(_VERSIONS.encode())
