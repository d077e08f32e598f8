"""The worker's side of the queue: claim, renew, complete, retry, release.

Failure argument. A claim hands out a random fence and makes the row ready again when the lease ends. Completing
needs the fence, so of two workers that ran the same task (one slept past its lease) exactly one is accepted. A
claim that a database crash forgets is claimed again under another fence; a result is committed with the disk.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat
from psycopg import AsyncConnection

from automata.store.codec import dumps_or_none
from automata.store.queue import ITEM, Loaded, code_of, columns, load_outputs
from automata.store.sql import statement


# Values, though not frozen: a frozen one costs three times as much to make, and a batch makes thousands.
@dataclass(slots=True)
class RunInfo:
    id: UUID
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: dict[str, Any]
    attempt: int
    traceparent: str | None = None


@dataclass(slots=True)
class Claim:
    """`losses`: how many workers were lost with this task. `reads`: step -> (status, outputs).

    `item`: (index, value) for a step of a `foreach`. `earlier`: how many of its attempts came before the run was
    retried; the retry policy does not count them. `known`: see services/direct_dispatch.py.
    """

    run: RunInfo
    step: str
    fence: UUID
    attempt: int
    losses: int
    version_id: UUID
    earlier: int
    now: datetime
    reads: dict[str, tuple[str, Any]]
    item: tuple[int, Any] | None = None
    known: Loaded | None = None


@dataclass(slots=True)
class Result:
    """`outputs` is JSON text already: the worker encoded it when it checked that it can be stored.

    `known` is what came with the claim.
    """

    run_id: UUID
    step: str
    fence: UUID
    status: str
    outputs: str | None = None
    error: Any = None
    known: Loaded | None = None


@dataclass(slots=True)
class Retry:
    run_id: UUID
    step: str
    fence: UUID
    delay_ms: int
    error: Any


def new_fence() -> UUID:
    """Random: one that a database crash forgot can never be handed out again."""
    return uuid_utils.compat.uuid4()


async def claim(conn: AsyncConnection[Any], lane: str, limit: int, lease_sec: float, worker: str) -> list[Claim]:
    """Up to `limit` tasks, leased for `lease_sec`; `conn` is in autocommit: the claim is committed at once."""
    async with conn.transaction():
        await conn.execute("SET LOCAL synchronous_commit = off")
        cursor = await conn.execute(
            statement("claim"), {"lane": lane, "limit": limit, "lease": lease_sec, "worker": worker}
        )
        rows = await cursor.fetchall()
    if not rows:
        return []
    cursor = await conn.execute(statement("claim_runs"), {"ids": list({row[0] for row in rows})})
    runs = {row[0]: RunInfo(*row) for row in await cursor.fetchall()}
    # A fan-out's tasks read the same outputs: fetched once for the batch, not once a task.
    wanted = list({(row[0], step) for row in rows for step in _names(row[6])})
    found = await load_outputs(conn, wanted) if wanted else {}
    return [
        Claim(
            runs[run_id],
            step,
            fence,
            attempt,
            losses,
            version_id,
            earlier,
            now,
            {name: found[run_id, name] for name in _names(reads) if (run_id, name) in found},
            _item(reads),
        )
        for run_id, step, fence, attempt, losses, version_id, reads, earlier, now in rows
    ]


def _names(reads: Sequence[str]) -> Sequence[str]:
    return reads[2:] if reads[:1] == [ITEM] else reads


def _item(reads: Sequence[str]) -> tuple[int, Any] | None:
    if reads[:1] != [ITEM]:
        return None
    index, value = json.loads(reads[1])
    return index, value


async def complete(conn: AsyncConnection[Any], results: Sequence[Result]) -> set[tuple[UUID, str]]:
    """Write results; returns the accepted ones. The rest lost their lease or were cancelled: drop them."""
    cursor = await conn.execute(statement("complete"), columns(_RESULT, [_row(item) for item in results]))
    return set(await cursor.fetchall())


async def finish(conn: AsyncConnection[Any], results: Sequence[Result]) -> dict[UUID, datetime]:
    """Like `complete`, with the run's lock taken and no wake-up left: advance these runs before the transaction ends.

    Returns the fences of the accepted ones, each with the transaction's time. The others were not accepted here,
    because another orchestrator holds the run, or at all: `complete` knows.
    """
    rows = sorted((_row(item) for item in results), key=lambda row: row[:2])
    cursor = await conn.execute(statement("finish"), columns(_RESULT, rows))
    return dict(await cursor.fetchall())


_RESULT = ("run_id", "step", "fence", "status", "outputs", "error", "code")


def _row(item: Result) -> tuple[Any, ...]:
    code = code_of(item.error) if item.status == "FAILED" else None
    return item.run_id, item.step, item.fence, item.status, item.outputs, dumps_or_none(item.error), code


async def retry(conn: AsyncConnection[Any], retries: Sequence[Retry]) -> set[tuple[UUID, str]]:
    """Put failed attempts back for later; returns the accepted ones."""
    rows = [(item.run_id, item.step, item.fence, item.delay_ms, dumps_or_none(item.error)) for item in retries]
    cursor = await conn.execute(statement("retry"), columns(("run_id", "step", "fence", "delay_ms", "error"), rows))
    return set(await cursor.fetchall())


async def renew(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]], lease_sec: float) -> set[UUID]:
    """Extend leases; returns the fences that still hold."""
    cursor = await conn.execute(statement("renew"), columns(("run_id", "step", "fence"), held) | {"lease": lease_sec})
    return {row[0] for row in await cursor.fetchall()}


async def still_held(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]]) -> set[UUID]:
    """The fences of claims that are neither lost nor cancelled; renews nothing."""
    cursor = await conn.execute(statement("still_held"), columns(("run_id", "step", "fence"), held))
    return {row[0] for row in await cursor.fetchall()}


async def release(conn: AsyncConnection[Any], held: Sequence[tuple[UUID, str, UUID]]) -> None:
    """Give tasks back unfinished (a drain)."""
    await conn.execute(statement("release"), columns(("run_id", "step", "fence"), held))
