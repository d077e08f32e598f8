"""Whether a run may begin under its flow's `concurrency`.

Failure argument. A place is a row that is written in the transaction in which its run begins and deleted in the one
in which it ends, so none leaks and none is given twice: both happen under the slot's lock. A run that waits is woken
after the commit of an end; if that wake-up is lost with its process, the waiting row's own time comes after
RECHECK_SEC.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from automata.errors import Invalid
from automata.flow.plan import ExecutionPlan
from automata.store import concurrency_slots
from automata.store.database import Connection
from automata.store.orchestrator_queue import RunSnapshot

RECHECK_SEC = 60
RECHECK = timedelta(seconds=RECHECK_SEC)
RETRY_SOON = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run that has not begun, and the slot that it needs a place of."""

    run: RunSnapshot
    plan: ExecutionPlan
    slot: str


@dataclass(frozen=True, slots=True)
class Admissions:
    """What becomes of candidates by run; `waiting` with its slot. The ones in none of these begin."""

    early: frozenset[UUID]
    waiting: dict[UUID, str]
    skipped: frozenset[UUID]
    to_cancel: tuple[UUID, ...]


def slot_of(plan: ExecutionPlan, flow_id: UUID, context: Mapping[str, Any]) -> str | None:
    """The slot of a run, None when its flow has no `concurrency`. Raises Invalid when its key cannot be computed."""
    if plan.concurrency is None:
        return None
    key = plan.concurrency.key.render(context) if plan.concurrency.key else ""
    text = key if isinstance(key, str) else repr(key)
    if len(text) > 500:
        raise Invalid("The `key` of `concurrency` has more than 500 characters.", code="bad_config")
    return f"{flow_id}:{text}"


async def admit(conn: Connection, candidates: Sequence[Candidate]) -> Admissions:
    """Give places to the runs that may begin now, the oldest first, and say what becomes of the rest.

    `early` are ahead of an older run that another orchestrator has in hand: they ask again in a moment, undecided.
    """
    early = await concurrency_slots.runs_overtaking(
        conn, {candidate.run.id: candidate.run.flow_id for candidate in candidates}
    )
    groups: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.run.id not in early:
            groups[candidate.slot].append(candidate)
    await concurrency_slots.lock_slots(conn, list(groups))
    admitted: dict[UUID, str] = {}
    waiting: dict[UUID, str] = {}
    skipped: set[UUID] = set()
    to_cancel: set[UUID] = set()
    for slot, group in groups.items():
        group.sort(key=lambda candidate: candidate.run.id)
        usage = await concurrency_slots.slot_usage(conn, slot, group[0].run.id)
        taken = len(usage.holders) + usage.waiting
        for candidate in group:
            limits = candidate.plan.concurrency
            assert limits is not None  # it has a slot
            if candidate.run.id in usage.holders or taken < limits.limit:
                admitted[candidate.run.id] = slot
                taken += 1
            elif limits.policy == "skip":
                skipped.add(candidate.run.id)
            else:
                waiting[candidate.run.id] = slot
                if limits.policy == "cancel_running":
                    to_cancel |= {*usage.holders}
    if admitted:
        await concurrency_slots.take_slots(conn, admitted)
    return Admissions(frozenset(early), waiting, frozenset(skipped), tuple(to_cancel))


async def wake_next(conn: Connection, freed: Sequence[str]) -> int:
    """After runs with these slots have ended: wake as many as may follow. Needs a transaction of its own."""
    counts = Counter(freed)
    await concurrency_slots.lock_slots(conn, list(counts))
    return sum([await concurrency_slots.wake_next_runs(conn, slot, counts[slot]) for slot in sorted(counts)])
