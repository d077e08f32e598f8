"""New runs come in: each with its first wake-up, and once for each idempotency key and for each time of a schedule.

Failure argument. Runs and wake-ups are written by one statement: there are both or neither. The unique indexes decide
which of two equal requests was first; the other one reads the run of the first, after that was committed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row

from automata.engine.fairness import HEAD_START_SEC
from automata.engine.states import Trigger
from automata.errors import Conflict
from automata.store.arrays import array_params
from automata.store.ids import new_id
from automata.store.json_codec import dumps
from automata.store.sql import statement

Key = tuple[UUID, str | datetime | None]


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to be written. `ready_at` None: it begins at once, `head_start` seconds ahead (engine/fairness.py).

    `contained`: the step that starts it, or one further up, goes on when it fails, so that it opens no dead letter.
    """

    flow_id: UUID
    version_id: UUID
    inputs: Mapping[str, Any]
    trigger: Trigger = Trigger.API
    id: UUID = field(default_factory=new_id)
    idempotency_key: str | None = None
    schedule_id: UUID | None = None
    scheduled_for: datetime | None = None
    created_by: str | None = None
    ready_at: datetime | None = None
    parent_run_id: UUID | None = None
    parent_step: str | None = None
    depth: int = 0
    rerun_of: UUID | None = None
    traceparent: str | None = None
    contained: bool = False
    head_start: float = HEAD_START_SEC


# A value, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class CreatedRun:
    """`created` False: the same request was accepted before, and `id` is the run that it made then."""

    id: UUID
    created: bool
    created_at: datetime


# The parameters of create_runs.sql are the fields of NewRun, and what `_request` gives.
_AS_THEY_ARE = tuple(name for name in NewRun.__slots__ if name != "inputs")
_COLUMNS = (*_AS_THEY_ARE, "inputs", "request_hash")
_values = attrgetter(*_AS_THEY_ARE)


class _EarlierRun(NamedTuple):
    flow_id: UUID
    idempotency_key: str | None
    schedule_id: UUID | None
    scheduled_for: datetime | None
    id: UUID
    request_hash: str | None
    created_at: datetime


async def create_runs(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> list[CreatedRun]:
    """Write runs and their first wake-ups; the answers are in their order. Notify `runs.pending` after the commit.

    Raises Conflict `idempotency_mismatch` when a key was used before with another request.
    """
    created = []
    for answer in await create_runs_or_conflicts(conn, runs):
        if isinstance(answer, Conflict):
            raise answer
        created.append(answer)
    return created


async def create_runs_or_conflicts(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> list[CreatedRun | Conflict]:
    """Like `create_runs`, but a key that was used before with another request fails that run alone."""
    # In one order for everybody: two transactions with the same keys wait for each other in a line, not in a circle.
    ordered = sorted(runs, key=lambda run: (run.flow_id, run.idempotency_key or "", run.id))
    rows = [(*_values(run), *_request(run)) for run in ordered]
    cursor = await conn.execute(statement("create_runs"), array_params(_COLUMNS, rows))
    created_at = dict(await cursor.fetchall())
    earlier = {} if len(created_at) == len(runs) else await _earlier(conn, runs)
    return [
        CreatedRun(run.id, True, created_at[run.id])
        if run.id in created_at
        else _same_request(run, earlier[_unique_key(run)])
        for run in runs
    ]


async def run_of_key(conn: AsyncConnection[Any], flow_id: UUID, key: str) -> CreatedRun | None:
    """The run that was created under an idempotency key."""
    cursor = await conn.execute(
        "SELECT id, created_at FROM runs WHERE flow_id = %s AND idempotency_key = %s", [flow_id, key]
    )
    if row := await cursor.fetchone():
        id, created_at = row
        return CreatedRun(id, False, created_at)
    return None


def _request(run: NewRun) -> tuple[str, str | None]:
    """The inputs as JSON text, and with a key their hash.

    The hash is of the inputs alone: a client that asks again after a deployment still means the run it asked for.
    """
    inputs = dumps(run.inputs)
    return inputs, hashlib.sha256(inputs.encode()).hexdigest() if run.idempotency_key else None


def _unique_key(run: NewRun) -> Key:
    return (run.flow_id, run.idempotency_key) if run.idempotency_key else (run.schedule_id or run.id, run.scheduled_for)


async def _earlier(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> dict[Key, _EarlierRun]:
    """The runs that were first, by the key on which they won."""
    cursor = conn.cursor(row_factory=args_row(_EarlierRun))
    await cursor.execute(
        "SELECT flow_id, idempotency_key, schedule_id, scheduled_for, id, request_hash, created_at FROM runs"
        " WHERE (flow_id, idempotency_key) IN (SELECT * FROM unnest(%s::uuid[], %s::text[]))"
        " OR (schedule_id, scheduled_for) IN (SELECT * FROM unnest(%s::uuid[], %s::timestamptz[]))"
        " OR id = ANY(%s::uuid[])",
        [
            [run.flow_id for run in runs],
            [run.idempotency_key for run in runs],
            [run.schedule_id for run in runs],
            [run.scheduled_for for run in runs],
            [run.id for run in runs],
        ],
    )
    earlier: dict[Key, _EarlierRun] = {}
    for row in await cursor.fetchall():
        earlier[row.flow_id, row.idempotency_key] = row
        earlier[row.id, None] = row
        if row.schedule_id:
            earlier[row.schedule_id, row.scheduled_for] = row
    return earlier


def _same_request(run: NewRun, earlier: _EarlierRun) -> CreatedRun | Conflict:
    if run.idempotency_key and earlier.request_hash != _request(run)[1]:
        return Conflict(
            f"Idempotency-Key {run.idempotency_key!r} was used before with another request.",
            code="idempotency_mismatch",
            hint="Use a new key for a new request.",
            details={"run_id": str(earlier.id)},
        )
    return CreatedRun(earlier.id, False, earlier.created_at)
