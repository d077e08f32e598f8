"""Recorded runs: what workers kept of their requests, and which ended runs a replay can go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from automata.store.arrays import array_params
from automata.store.database import Connection
from automata.store.flow_visibility import and_visible, viewer_values
from automata.store.run_secret_values import secret_values_around

MAX_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class Recording:
    """What one attempt of a step sent and was answered; `exchanges` is JSON text."""

    run_id: UUID
    step: str
    attempt: int
    exchanges: str


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """An ended run of a recorded version, nothing of it masked beyond what the worker masked.

    `steps`: full id -> {status, attempts, outputs, error}; `exchanges` in the order of their steps and attempts;
    `given`: what other flows and people answered, full id -> {output} or {error}; `secret_values`: those of
    run_secret_values.py.
    """

    id: UUID
    flow: str
    version: int
    commit_sha: str | None
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Any
    spec: Any
    variables: Any
    status: str
    outputs: Any
    error: Any
    steps: dict[str, Any] = field(default_factory=dict)
    exchanges: list[dict[str, Any]] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    secret_values: list[Any] = field(default_factory=list)


_COLUMNS = ("run_id", "step", "attempt", "exchanges")


async def save_recordings(conn: Connection, recordings: Sequence[Recording]) -> None:
    """Store exchanges; what was stored of the same attempt before stays."""
    if not recordings:
        return
    await conn.execute(
        "INSERT INTO recordings (run_id, step, attempt, exchanges)"
        " SELECT * FROM unnest(%(run_id)s::uuid[], %(step)s::text[], %(attempt)s::int[], %(exchanges)s::json[])"
        " ON CONFLICT DO NOTHING",
        array_params(_COLUMNS, [(row.run_id, row.step, row.attempt, row.exchanges) for row in recordings]),
    )


async def recorded_ids(conn: Connection, flow_id: UUID, limit: int) -> list[tuple[UUID, int, str]]:
    """(id, version, status) of the newest recorded runs of a flow that ended by themselves, newest first.

    Looks at the newest 10,000 runs. Those that were retried are left out: they came to their ends in several goes.
    """
    cursor = await conn.execute(_LAST, {"flow": flow_id, "limit": min(limit, MAX_RUNS), "window": WINDOW})
    return await cursor.fetchall()


async def recorded_run(conn: Connection, run_id: UUID) -> RecordedRun | None:
    """None when it is unknown, not at an end, was not recorded, or was retried."""
    async with conn.cursor(row_factory=class_row(RecordedRun)) as cursor:
        await cursor.execute(_ONE + and_visible("r.flow_id"), {"run": run_id, **viewer_values()})
        run = await cursor.fetchone()
    if run:
        await _fill(conn, {run.id: run})
    return run


WINDOW = 10_000
_FROM = sql.SQL("""
FROM runs r
JOIN run_results e ON e.run_id = r.id
JOIN flow_versions v ON v.id = r.version_id
JOIN flows f ON f.id = r.flow_id
WHERE v.spec ? 'recording' AND v.spec ->> 'recording' <> 'off' AND e.status <> 'CANCELLED'
  AND NOT EXISTS (SELECT FROM run_attempts a WHERE a.run_id = r.id)
""")
_LAST = (
    sql.SQL("SELECT r.id, v.number, e.status ")
    + _FROM
    + sql.SQL(
        "AND r.id IN (SELECT id FROM runs WHERE flow_id = %(flow)s ORDER BY id DESC LIMIT %(window)s)"
        " ORDER BY r.id DESC LIMIT %(limit)s"
    )
)
_ONE = (
    sql.SQL(
        "SELECT r.id, f.name AS flow, v.number AS version, v.commit_sha, r.trigger, r.scheduled_for, r.created_at,"
        " r.inputs, coalesce(v.spec_written, v.spec::json) AS spec,"
        " coalesce(v.variables_written, v.variables::json) AS variables, e.status, e.outputs, e.error "
    )
    + _FROM
    + sql.SQL("AND r.id = %(run)s")
)


async def _fill(conn: Connection, runs: Mapping[UUID, RecordedRun]) -> None:
    ids = list(runs)
    steps = await conn.execute(
        "SELECT run_id, step, status, attempt, outputs, error FROM tasks WHERE run_id = ANY(%s::uuid[])", [ids]
    )
    for run, step, status, attempt, outputs, error in await steps.fetchall():
        runs[run].steps[step] = {"status": status, "attempts": attempt, "outputs": outputs, "error": error}
    kept = await conn.execute(
        "SELECT run_id, step, attempt, exchanges FROM recordings WHERE run_id = ANY(%s::uuid[]) ORDER BY step, attempt",
        [ids],
    )
    for run, step, attempt, exchanges in await kept.fetchall():
        runs[run].exchanges.extend({"step": step, "attempt": attempt, **exchange} for exchange in exchanges)
    for run, step, answer in await _answers(conn, ids):
        runs[run].given[step] = answer
    for run, values in (await secret_values_around(conn, ids)).items():
        runs[run].secret_values.extend(values)


async def _answers(conn: Connection, ids: list[UUID]) -> list[tuple[UUID, str, dict[str, Any]]]:
    """What flows that were called came to, and what people decided."""
    children = await conn.execute(
        "SELECT r.parent_run_id, r.parent_step, e.status, e.outputs, e.error"
        " FROM runs r JOIN run_results e ON e.run_id = r.id"
        " WHERE r.parent_run_id = ANY(%s::uuid[])",
        [ids],
    )
    answers = []
    for run, step, status, outputs, error in await children.fetchall():
        answer = {"output": outputs or {}} if status == "SUCCEEDED" else {"error": error or {"code": status}}
        answers.append((run, step, answer))
    decided = await conn.execute(
        "SELECT run_id, step, approved, decided_by, comment FROM approvals WHERE run_id = ANY(%s::uuid[])", [ids]
    )
    for run, step, approved, by, comment in await decided.fetchall():
        answers.append((run, step, {"output": {"approved": approved, "by": by, "comment": comment}}))
    return answers


async def step_exchanges(conn: Connection, run_id: UUID, step: str) -> list[tuple[int, list[dict[str, Any]]]]:
    """What the attempts of one step sent and were answered, (attempt, exchanges), while the run goes too."""
    cursor = await conn.execute(
        "SELECT attempt, exchanges FROM recordings WHERE run_id = %s AND step = %s ORDER BY attempt", [run_id, step]
    )
    return await cursor.fetchall()
