"""Places of a flow's `concurrency`. A run that waits for one keeps its first wake-up in the queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from psycopg.rows import args_row

from automata.store.database import Connection
from automata.store.queue_sentinels import ADVANCE, CREATED
from automata.store.waiting_codec import SlotWait, encode_array


class SlotUsage(NamedTuple):
    """`waiting`: how many runs wait that are older than the one that asks."""

    holders: list[UUID]
    waiting: int


async def lock_slots(conn: Connection, slots: Sequence[str]) -> None:
    """To the end of the transaction, in one order for everybody: nobody waits in a circle."""
    for slot in sorted(slots):
        await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [slot])


async def slot_usage(conn: Connection, slot: str, oldest: UUID) -> SlotUsage:
    """Who is there before `oldest`; the slot is locked."""
    cursor = conn.cursor(row_factory=args_row(SlotUsage))
    await cursor.execute(
        "SELECT ARRAY(SELECT run_id FROM run_slots WHERE slot = %(slot)s) AS holders,"
        " (SELECT count(*) FROM task_queue WHERE lane = %(lane)s AND step = %(step)s AND reads = %(reads)s"
        "   AND run_id < %(oldest)s) AS waiting",
        {"slot": slot, "lane": ADVANCE, "step": CREATED, "reads": encode_array(SlotWait(slot)), "oldest": oldest},
    )
    usage = await cursor.fetchone()
    assert usage is not None
    return usage


async def runs_overtaking(conn: Connection, runs: Mapping[UUID, UUID]) -> set[UUID]:
    """Those of the runs (run -> flow) before which an older run of their flow is due that nobody has decided about.

    Another orchestrator has it in hand; it is decided in a moment. One that is to begin later holds up nobody.
    """
    cursor = await conn.execute(
        "SELECT run.id FROM unnest(%(ids)s::uuid[], %(flows)s::uuid[]) AS run(id, flow_id) WHERE EXISTS ("
        "  SELECT FROM task_queue AS queue JOIN runs ON runs.id = queue.run_id"
        "  WHERE queue.lane = %(lane)s AND queue.ready_at <= now() AND queue.step = %(step)s AND queue.reads = '{}'"
        "    AND queue.run_id < run.id AND runs.flow_id = run.flow_id AND queue.run_id <> ALL(%(ids)s::uuid[]))",
        {"ids": list(runs), "flows": list(runs.values()), "lane": ADVANCE, "step": CREATED},
    )
    return {id for (id,) in await cursor.fetchall()}


async def take_slots(conn: Connection, runs: Mapping[UUID, str]) -> None:
    """Give runs their places (run -> slot); the slots are locked. Taking one twice is fine."""
    await conn.execute(
        "INSERT INTO run_slots (run_id, slot) SELECT * FROM unnest(%s::uuid[], %s::text[]) ON CONFLICT DO NOTHING",
        [list(runs), list(runs.values())],
    )


async def free_slots(conn: Connection, runs: Sequence[UUID]) -> None:
    """Take the places of these runs back; `wake_next_runs` lets others follow."""
    await conn.execute("DELETE FROM run_slots WHERE run_id = ANY(%s)", [list(runs)])


async def wake_next_runs(conn: Connection, slot: str, count: int) -> int:
    """Let the `count` oldest waiting runs look again; the slot is locked. One that is looked at needs no wake-up."""
    cursor = await conn.execute(
        "UPDATE task_queue SET ready_at = now() WHERE (run_id, step) IN ("
        "  SELECT run_id, step FROM task_queue WHERE lane = %(lane)s AND step = %(step)s AND reads = %(reads)s"
        "  ORDER BY run_id LIMIT %(count)s FOR UPDATE SKIP LOCKED)",
        {"lane": ADVANCE, "step": CREATED, "reads": encode_array(SlotWait(slot)), "count": count},
    )
    return cursor.rowcount
