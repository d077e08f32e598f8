"""The orchestrator's side of the queue: runs come in, wake-ups are taken, decisions are applied.

Failure argument. Everything between `take` and the end of the transaction is one transaction: an orchestrator that
dies leaves the wake-ups where they were. The run's advisory lock, taken with the wake-up, keeps a second
orchestrator from deciding on an older picture of the same run. A decision that is applied twice changes nothing:
every insert says ON CONFLICT DO NOTHING on the task's or the run's own key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection

from automata.engine.fairness import HEAD_START_SEC
from automata.engine.states import Trigger
from automata.errors import Conflict
from automata.store.codec import dumps, dumps_or_none
from automata.store.limits import own_runs
from automata.store.sql import statement

ADVANCE = "@advance"
DEFAULT_LANE = "default"
CREATED = ""  # the `step` of a new run's first wake-up
CANCEL = "!cancel"  # the `step` of a request to cancel

# What a waiting row of ADVANCE waits for besides time: the first of its `reads`, then (child run, wait or nowait), or
# the prompt.
CHILD, APPROVAL = "flow", "approval"
ITEM = "[]"  # the first of the `reads` of an item's step; the second is [index, value] as JSON
SEPARATOR = "\x1f"  # of `reads` on their way into an array: no name has it

Row = tuple[Any, ...]


def new_id() -> UUID:
    """A UUIDv7: its order is the order of creation, so new rows share index pages."""
    return uuid_utils.compat.uuid7()


@dataclass(frozen=True, slots=True)
class NewRun:
    flow_id: UUID
    version_id: UUID
    inputs: Mapping[str, Any]
    trigger: Trigger = Trigger.API
    id: UUID = field(default_factory=new_id)
    idempotency_key: str | None = None
    schedule_id: UUID | None = None
    scheduled_for: datetime | None = None
    created_by: str | None = None
    ready_at: datetime | None = None  # begins at once when None
    parent_run_id: UUID | None = None
    parent_step: str | None = None
    depth: int = 0
    rerun_of: UUID | None = None
    traceparent: str | None = None
    head_start: float = HEAD_START_SEC  # seconds; see engine/fairness.py


# Values, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class CreatedRun:
    """`created` False: the same request was accepted before, `id` is the run that it made then."""

    id: UUID
    created: bool
    created_at: datetime


@dataclass(slots=True)
class WakeUp:
    run_id: UUID
    step: str
    queued_at: datetime | None
    losses: int
    reads: Sequence[str] = ()


@dataclass(slots=True)
class Loaded:
    """A run as the engine must see it. `states`: step -> (status, error, since).

    `attempt` counts from 1; `resumed` are the steps that a later attempt was asked for at `resumed_at`, empty for all.
    """

    id: UUID
    flow_id: UUID
    version_id: UUID
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Mapping[str, Any]
    now: datetime
    began: datetime | None
    states: dict[str, tuple[str, Any, datetime | None]]
    parent: tuple[UUID, str] | None = None
    depth: int = 0
    attempt: int = 1
    resumed: frozenset[str] = frozenset()
    resumed_at: datetime | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class Changes:
    """What one advance of a batch writes; one tuple a row, in the order of the statement's parameters.

    `retried`: the runs among them that are not in their first attempt. `hand` is work that the worker of this process
    gets with the commit, `hand_to` that worker's name and the seconds of its lease.
    """

    enqueue: list[Row] = field(default_factory=list)  # run_id, step, lane, ready_at|None, version_id, reads
    settle: list[Row] = field(default_factory=list)  # run_id, step, status, since, outputs, error
    finish: list[Row] = field(default_factory=list)  # run_id, flow_id, status, started_at, outputs, error
    wake: list[tuple[UUID, str]] = field(default_factory=list)  # run and step that wait for a run that ends here
    retried: list[UUID] = field(default_factory=list)
    hand: list[Row] = field(default_factory=list)  # run_id, step, lane, version_id, reads, fence
    hand_to: tuple[str, float] = ("", 0.0)


_ENQUEUE = ("run_id", "step", "lane", "ready_at", "version_id", "reads")
_HAND = ("run_id", "step", "lane", "version_id", "reads", "fence")
_SETTLE = ("run_id", "step", "status", "since", "outputs", "error", "code")
_FINISH = ("run_id", "flow_id", "status", "started_at", "outputs", "error")
_RUN = (
    "id",
    "flow_id",
    "version_id",
    "trigger",
    "inputs",
    "idempotency_key",
    "request_hash",
    "schedule_id",
    "scheduled_for",
    "created_by",
    "ready_at",
    "parent_run_id",
    "parent_step",
    "depth",
    "rerun_of",
    "traceparent",
    "head_start",
)


def columns(names: Sequence[str], rows: Iterable[Row]) -> dict[str, str]:
    """Rows to the array parameters of a set-based statement, as PostgreSQL writes arrays.

    The driver can write lists itself, one call a value: half of the time that Python spent on a batch.
    """
    lists: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [() for _ in names]
    return {name: _array(values) for name, values in zip(names, lists, strict=True)}


def _array(values: Sequence[Any]) -> str:
    return f"{{{','.join([_element(value) for value in values])}}}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, UUID):
        return value.hex
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f'"{value.isoformat()}"' if isinstance(value, datetime) else str(value)


async def create_runs(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> list[CreatedRun]:
    """Write runs and their first wake-ups; the answers are in the order given. Ring `runs.pending` after the commit.

    Raises Conflict `idempotency_mismatch` when a key was used before with another request.
    """
    created = []
    for one in await place_runs(conn, runs):
        if isinstance(one, Conflict):
            raise one
        created.append(one)
    return created


async def place_runs(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> list[CreatedRun | Conflict]:
    """Like `create_runs`; a key that was used before with another request is told of that run alone."""
    rows = [_run_row(run) for run in runs]
    # In one order for everybody: two that bring the same keys wait for each other in a line, not in a circle.
    ordered = sorted(rows, key=lambda row: (row[1], row[5] or "", row[0]))
    cursor = await conn.execute(statement("create_runs"), columns(_RUN, ordered))
    made = dict(await cursor.fetchall())
    earlier = {} if len(made) == len(runs) else await _earlier(conn, runs)
    return [
        CreatedRun(run.id, True, made[run.id])
        if run.id in made
        else _same_request(run, row[6], earlier[_first_key(run)])
        for run, row in zip(runs, rows, strict=True)
    ]


async def run_of_key(conn: AsyncConnection[Any], flow_id: UUID, key: str) -> CreatedRun | None:
    """The run that was created under an idempotency key."""
    cursor = await conn.execute(
        "SELECT id, created_at FROM runs WHERE flow_id = %s AND idempotency_key = %s", [flow_id, key]
    )
    row = await cursor.fetchone()
    return CreatedRun(row[0], False, row[1]) if row else None


async def request_cancel(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> set[UUID]:
    """Ask for the end of runs; returns those that were still active. Ring `runs.pending` after the commit."""
    cursor = await conn.execute(statement("cancel_runs"), {"ids": await own_runs(conn, ids)})
    return {row[0] for row in await cursor.fetchall()}


async def take(conn: AsyncConnection[Any], limit: int) -> tuple[list[WakeUp], int]:
    """Up to `limit` wake-ups with their runs locked, and how many runs another orchestrator holds."""
    cursor = await conn.execute(statement("advance_take"), {"limit": limit})
    rows = await cursor.fetchall()
    taken = [_wake_up(*row) for row in rows if row[4]]
    return taken, len(rows) - len(taken)


def _wake_up(run_id: UUID, step: str, queued_at: datetime, losses: int, _: bool, reads: Sequence[str]) -> WakeUp:
    return WakeUp(run_id, step, queued_at, losses, reads)


async def load(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> list[Loaded]:
    """Runs that are not finished, with the state of each step that has one."""
    cursor = await conn.execute(statement("advance_load"), {"ids": _array(ids)})
    return [_loaded(row) for row in await cursor.fetchall()]


async def load_outputs(
    conn: AsyncConnection[Any], wanted: Sequence[tuple[UUID, str]]
) -> dict[tuple[UUID, str], tuple[str, Any]]:
    """(run, step) -> (status, outputs) of settled steps."""
    cursor = await conn.execute(statement("outputs_load"), columns(("run_ids", "steps"), wanted))
    return {(run_id, step): (status, outputs) for run_id, step, status, outputs in await cursor.fetchall()}


async def drop(conn: AsyncConnection[Any], rows: Sequence[tuple[UUID, str, bool]]) -> list[UUID]:
    """Cancel queued work; with True as third member also what runs. What a worker claimed meanwhile stays.

    Returns the runs that dropped steps waited for, whose end nobody wants any more.
    """
    cursor = await conn.execute(statement("drop"), columns(("run_id", "step", "force"), rows))
    return awaited(row[0] for row in await cursor.fetchall())


def awaited(reads: Iterable[Sequence[str]]) -> list[UUID]:
    """The children that waiting rows wait for."""
    return [UUID(one[1]) for one in reads if list(one[:1]) == [CHILD] and one[2] == "wait"]


async def child_results(conn: AsyncConnection[Any], ids: Sequence[UUID]) -> dict[UUID, tuple[str, Any, Any]]:
    """(status, outputs, error) of those that are finished."""
    cursor = await conn.execute(
        "SELECT run_id, status, outputs, error FROM run_results WHERE run_id = ANY(%s)", [list(ids)]
    )
    return {id: (status, outputs, error) for id, status, outputs, error in await cursor.fetchall()}


async def apply(conn: AsyncConnection[Any], changes: Changes) -> bool:
    """Write decisions, in one round trip. Finishing comes last: it sweeps what the batch may have queued.

    False when some of `hand` was in the queue already: it is not the worker's then.
    """
    handed = None
    async with conn.pipeline():
        if changes.settle:
            rows = [(*row[:4], dumps_or_none(row[4]), dumps_or_none(row[5]), _own_code(row)) for row in changes.settle]
            await conn.execute(statement("settle"), columns(_SETTLE, rows) | {"retried": changes.retried})
        if changes.enqueue:
            await conn.execute(statement("enqueue"), columns(_ENQUEUE, changes.enqueue) | {"retried": changes.retried})
        if changes.hand:
            worker, lease_sec = changes.hand_to
            values = columns(_HAND, changes.hand) | {"worker": worker, "lease": lease_sec}
            handed = await conn.execute(statement("hand_over"), values)
        if changes.finish:
            rows = [(*row[:4], dumps_or_none(row[4]), dumps_or_none(row[5])) for row in changes.finish]
            await conn.execute(statement("finish_runs"), columns(_FINISH, rows))
        if changes.wake:
            await conn.execute(statement("wake_parents"), columns(("run_id", "step"), sorted(changes.wake)))
    return handed is None or handed.rowcount == len(changes.hand)


def _own_code(row: Row) -> str | None:
    """What a dead letter is filed under; None when the error of a settled step is that of a step inside of it."""
    return code_of(row[5]) if row[2] == "FAILED" and (row[5] or {}).get("step") == row[1] else None


def code_of(error: Any) -> str:
    """The code of an error as text that PostgreSQL keeps: step types of other packages choose it."""
    code = error.get("code") if isinstance(error, Mapping) else None
    return str(code or "failed").replace("\x00", "").encode(errors="replace").decode()[:100]


async def postpone(conn: AsyncConnection[Any], wakeups: Sequence[WakeUp]) -> None:
    """Put wake-ups back after their run could not be advanced: 1, 2, 4 … seconds later."""
    rows = [(item.run_id, item.step, item.queued_at, item.losses) for item in wakeups]
    await conn.execute(statement("postpone"), columns(("run_id", "step", "queued_at", "losses"), rows))


async def next_due(conn: AsyncConnection[Any], lane: str) -> float | None:
    """Seconds until the next row of a lane is ready, 0 when one is, None when there is none."""
    row = await (await conn.execute(statement("next_due"), {"lane": lane})).fetchone()
    return None if row is None else float(row[0])


def _run_row(run: NewRun) -> Row:
    inputs = dumps(run.inputs)
    return (
        run.id,
        run.flow_id,
        run.version_id,
        run.trigger,
        inputs,
        run.idempotency_key,
        # Of the inputs alone: a client that asks again after a deployment still means the run it asked for.
        hashlib.sha256(inputs.encode()).hexdigest() if run.idempotency_key else None,
        run.schedule_id,
        run.scheduled_for,
        run.created_by,
        run.ready_at,
        run.parent_run_id,
        run.parent_step,
        run.depth,
        run.rerun_of,
        run.traceparent,
        run.head_start,
    )


Key = tuple[UUID, str | datetime | None]


def _first_key(run: NewRun) -> Key:
    return (run.flow_id, run.idempotency_key) if run.idempotency_key else (run.schedule_id or run.id, run.scheduled_for)


async def _earlier(conn: AsyncConnection[Any], runs: Sequence[NewRun]) -> dict[Key, Row]:
    """The runs that were first, by the key on which they won."""
    cursor = await conn.execute(
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
    found: dict[Key, Row] = {}
    for flow_id, key, schedule_id, scheduled_for, *run in await cursor.fetchall():
        for name in ((flow_id, key), (schedule_id, scheduled_for), (run[0], None)):
            found[name] = tuple(run)
    return found


def _same_request(run: NewRun, request_hash: str | None, earlier: Row) -> CreatedRun | Conflict:
    if run.idempotency_key and earlier[1] != request_hash:
        return Conflict(
            f"Idempotency-Key {run.idempotency_key!r} was used before with another request.",
            code="idempotency_mismatch",
            hint="Use a new key for a new request.",
            details={"run_id": str(earlier[0])},
        )
    return CreatedRun(earlier[0], False, earlier[2])


def _loaded(row: Row) -> Loaded:
    states: dict[str, tuple[str, Any, datetime | None]] = {}
    if row[12]:
        for step, status, since in zip(row[12], row[13], row[14], strict=True):
            states[step] = (status, None, since)
    if row[8]:  # a settled step may still have its wake-up in the queue: the final state is the true one
        for step, status, error in zip(row[8], row[9], row[10], strict=True):
            states[step] = (status, error, None)
    began = min((moment for moment in (row[11], row[15], row[21]) if moment), default=None)
    parent = (row[16], row[17]) if row[16] else None
    attempt, resumed = 1 + (row[19] or 0), frozenset(row[20] or ())
    # A row has no length that mypy knows.
    return Loaded(*row[:8], began, states, parent, row[18], attempt, resumed, row[21], row[22])  # type: ignore[call-arg]
