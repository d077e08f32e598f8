"""How long the server works for each page of the console, over a past of 100,000 runs.

python -m benchmarks.console [--runs 100000] [-o json]. Pages are asked through ASGI in this process, as an admin; the
median of several is shown. Exits 1 when a page takes longer than BOUND_MS.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from automata.broker.local import LocalBroker
from automata.cli.site import create_site
from automata.engine.decision import FOREVER
from automata.settings import Settings
from automata.store.database import Database
from automata.store.embedded import start_embedded
from automata.store.flow_writes import DesiredFlow
from automata.store.sql import with_fragments
from automata.store.sync import apply, ensure_source, lock_source
from benchmarks.__main__ import DATA, _fresh_database

BOUND_MS = 100.0
FLOWS, STEPS, REPEATED = 200, 4, 15
SHA = "a" * 40

# One run in 50 is not finished, one in 12 of the others failed, one in 50 was cancelled; the newest is a moment old.
_RUNS = """
INSERT INTO runs (id, flow_id, version_id, trigger, inputs, created_at)
SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '70008000'
        || lpad(to_hex(n), 12, '0'))::uuid,
       flow.id, flow.current_version_id, CASE n %% 3 WHEN 0 THEN 'schedule' WHEN 1 THEN 'api' ELSE 'webhook' END,
       '{"order_id": 4711, "pin": "12345678"}', made
FROM generate_series(1, %(runs)s) AS n,
     LATERAL (SELECT now() - (%(runs)s - n) * interval '6 s' AS made) AS at,
     LATERAL (SELECT id, current_version_id FROM flows ORDER BY id OFFSET n %% %(flows)s LIMIT 1) AS flow
"""
_RESULTS = """
INSERT INTO run_results (run_id, flow_id, status, started_at, finished_at, outputs, error)
SELECT id, flow_id, status, created_at, created_at + interval '2 s', '{"ok": true}',
       CASE WHEN status = 'FAILED' THEN %(error)s::json END
FROM (SELECT *, CASE WHEN n %% 12 = 1 THEN 'FAILED' WHEN n %% 50 = 2 THEN 'CANCELLED' ELSE 'SUCCEEDED' END AS status
      FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM runs) AS numbered) AS told
WHERE n %% 50 > 0
"""
_TASKS = """
INSERT INTO tasks (run_id, step, status, queued_at, started_at, finished_at, worker, outputs)
SELECT run_id, 's' || n, CASE WHEN n = 2 AND status = 'FAILED' THEN 'FAILED' ELSE 'SUCCEEDED' END,
       started_at, started_at, finished_at, 'w', '{"ok": true}'
FROM run_results, generate_series(1, %(steps)s) AS n
"""
_LETTERS = """
INSERT INTO dead_letters (run_id, flow_id, version_id, step, attempts, code, error, state, resolved_at, created_at)
SELECT run_id, result.flow_id, version_id, 's2', 3, CASE n %% 4 WHEN 0 THEN 'timeout' ELSE 'http_status' END,
       %(error)s,
       CASE WHEN n %% 3 = 0 THEN 'retried' ELSE 'open' END, CASE WHEN n %% 3 = 0 THEN now() END, result.finished_at
FROM (SELECT *, row_number() OVER (ORDER BY run_id) AS n FROM run_results WHERE status = 'FAILED') AS result
JOIN runs ON runs.id = run_id
"""
_QUEUE = with_fragments("""
INSERT INTO task_queue (run_id, step, lane, ready_at, queued_at, version_id, reads)
SELECT id, CASE n %% 5 WHEN 0 THEN ${CREATED} ELSE 's1' END, CASE WHEN n %% 5 < 2 THEN ${ADVANCE} ELSE 'default' END,
       CASE WHEN n %% 5 = 1 THEN %(never)s ELSE now() END, created_at, version_id,
       CASE WHEN n %% 5 = 1 THEN ARRAY['approval', 'May order 4711 be paid?'] ELSE '{}' END
FROM (SELECT runs.*, row_number() OVER (ORDER BY id) AS n FROM runs
      WHERE NOT EXISTS (SELECT FROM run_results WHERE run_id = runs.id)) AS moving
""")
_AUDIT = """
INSERT INTO audit_log (actor, role, address, request_id, action, object, before, after, at)
SELECT 'person-' || n %% 40, 'operator', '192.0.2.7', md5(n::text),
       CASE n %% 4 WHEN 0 THEN 'run.cancel' ELSE 'run.retry' END,
       'run/' || n, '{"status": "FAILED"}', '{"status": "PENDING", "inputs": {"order_id": 4711}}',
       now() - (%(runs)s - n) * interval '20 s'
FROM generate_series(1, %(runs)s) AS n
"""
_TOKENS = """
INSERT INTO access_tokens (hash, name, mail, role, labels, created_by, expires_at)
SELECT decode(md5(n::text) || md5('x' || n), 'hex'), 'token-' || n, n || '@example.com', 'operator', '{}', 'ada',
       now() + interval '9 d'
FROM generate_series(1, 300) AS n
"""
_TABLES = (
    "runs, run_results, tasks, task_queue, dead_letters, audit_log, access_tokens, schedules, flows, flow_versions"
)
_ERROR = {
    "code": "http_status",
    "message": "POST /charge answered 503",
    "step": "s2",
    "request": {"method": "POST", "body": "12345678"},
}


def spec(number: int) -> dict[str, Any]:
    config = {"url": "https://example.com/"}
    steps: list[dict[str, Any]] = [{"id": "s1", "type": "http", "config": config}]
    steps += [{**steps[0], "id": f"s{step}", "depends_on": [f"s{step - 1}"]} for step in range(2, STEPS + 1)]
    return {
        "name": f"flow-{number:03}",
        "description": "Sells an order.",
        "inputs": {"order_id": {"type": "integer"}, "pin": {"secret": True}},
        "steps": steps,
        "schedules": [{"name": "nightly", "cron": f"{number % 60} 2 * * *"}, {"name": "often", "interval_sec": 900}],
    }


async def install(db: Database) -> None:
    """Flows, as a sync leaves them."""
    async with db.transaction() as conn:
        source = await ensure_source(conn, "https://example.com/flows.git", branch="main", environment="prod")
        row = await lock_source(conn, source.id)
        wanted = [DesiredFlow(one["name"], one, one["name"], commit_sha=SHA) for one in map(spec, range(FLOWS))]
        await apply(conn, row, wanted, sha=SHA, tree_sha=SHA, started_at=datetime.now(UTC))


def fill(url: str, runs: int) -> None:
    """A past whose statistics are known, as autovacuum would have them known."""
    values = {"runs": runs, "flows": FLOWS, "steps": STEPS, "error": json.dumps(_ERROR), "never": FOREVER}
    with psycopg.connect(url, autocommit=True) as conn:
        for text in (_RUNS, _RESULTS, _TASKS, _LETTERS, _QUEUE, _AUDIT, _TOKENS):
            conn.execute(text.encode(), values)
        conn.execute(f"VACUUM ANALYZE {_TABLES}".encode())


async def pages(db: Database) -> dict[str, str]:
    """Name -> address; of a kind that has many, the one in the middle."""

    async def one(query: str) -> Any:
        async with db.connection() as conn:
            row = await (await conn.execute(query.encode())).fetchone()
        assert row is not None, query
        return row[0]

    failed = await one("SELECT run_id FROM run_results WHERE status = 'FAILED' ORDER BY run_id DESC OFFSET 100 LIMIT 1")
    moving = await one("SELECT max(run_id::text) FROM task_queue WHERE step = 's1'")
    letter = await one("SELECT max(id) FROM dead_letters WHERE state = 'open'")
    source = await one("SELECT id FROM sync_sources")
    return {
        "overview, 24 h": "/",
        "overview, 7 d": "/?span=7d",
        "flows": "/flows",
        "a flow": "/flows/flow-007",
        "its spec": "/flows/flow-007/spec",
        "its versions": "/flows/flow-007/versions",
        "start a run": "/flows/flow-007/run",
        "runs": "/runs",
        "runs that failed": "/runs?status=FAILED",
        "runs of a flow": "/runs?flow=flow-007",
        "unfinished runs of a flow": "/runs?flow=flow-007&status=RUNNING",
        "runs of two days ago": f"/runs?trigger=webhook&until={_days_ago(2)}",
        "a run that failed": f"/runs/{failed}",
        "a run that moves": f"/runs/{moving}",
        "a step": f"/runs/{failed}/steps/s2",
        "cancel all: the question": "/runs/all?do=cancel",
        "retry all: the question": "/runs/all?do=retry",
        "retry all of a flow": "/runs/all?do=retry&flow=flow-007",
        "dead letters": "/dead-letters",
        "dead letters of a code": "/dead-letters?flow=flow-001&code=timeout",
        "dead letters of all states": "/dead-letters?state=all",
        "a dead letter": f"/dead-letters/{letter}",
        "discard all: the question": "/dead-letters/all?do=discard",
        "approvals": "/approvals",
        "schedules": "/schedules",
        "schedules that are late": "/schedules?state=late",
        "sync": "/sync",
        "a source": f"/sync/{source}",
        "audit": "/audit",
        "audit of one": "/audit?actor=person-7",
        "audit of a kind": "/audit?action=session.",
        "audit of old days": f"/audit?until={_days_ago(9)}",
        "tokens": "/tokens",
    }


def _days_ago(days: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(time.time() - days * 86_400))


async def measure(url: str, runs: int) -> dict[str, Any]:
    async with await Database.open(url, max_size=4) as db:
        await install(db)
        began = time.perf_counter()
        await asyncio.to_thread(fill, url, runs)
        seeded = time.perf_counter() - began
        app = create_site(db, LocalBroker(), Settings())
        transport = httpx.ASGITransport(app)
        headers = {"accept": "text/html"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
            found = {name: await _time(http, path) for name, path in (await pages(db)).items()}
    return {"runs": runs, "seeded_sec": round(seeded, 1), "bound_ms": BOUND_MS, "pages": found}


async def _time(http: httpx.AsyncClient, path: str) -> dict[str, Any]:
    taken = []
    for _ in range(REPEATED + 1):
        began = time.perf_counter()
        answer = await http.get(path)
        taken.append(1000 * (time.perf_counter() - began))
        answer.raise_for_status()
    first, *rest = taken
    return {
        "path": path,
        "median_ms": round(statistics.median(rest), 1),
        "max_ms": round(max(rest), 1),
        "first_ms": round(first, 1),
        "kb": round(len(answer.content) / 1000, 1),
    }


def table(report: dict[str, Any]) -> Table:
    shown = Table(title=f"{report['runs']:,} runs; seeded in {report['seeded_sec']} s")
    for column in ("page", "median ms", "max ms", "first ms", "kB"):
        shown.add_column(column, justify="left" if column == "page" else "right")
    for name, one in report["pages"].items():
        shown.add_row(name, *(f"{one[key]:,.1f}" for key in ("median_ms", "max_ms", "first_ms", "kb")))
    return shown


def main(options: argparse.Namespace) -> int:
    with start_embedded(DATA) as embedded:
        report = asyncio.run(measure(_fresh_database(embedded.url), options.runs))
    if options.output == "json":
        print(json.dumps(report, indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(table(report))
    slow = [name for name, one in report["pages"].items() if one["median_ms"] > BOUND_MS]
    if slow:
        print(f"longer than {BOUND_MS:.0f} ms: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    sys.exit(main(parser.parse_args()))
