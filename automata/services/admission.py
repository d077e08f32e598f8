"""Whether a run may begin under its flow's `concurrency`.

Failure argument. A place is a row that is written in the transaction in which its run begins and deleted in the one
in which it ends, so none leaks and none is given twice: both happen under the slot's lock. Who waits is woken after
the commit of an end; if that wake-up is lost with its process, the waiting row's own time comes after RECHECK_SEC.
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
from automata.store import slots
from automata.store.database import Connection
from automata.store.queue import Loaded

RECHECK_SEC = 60
RECHECK = timedelta(seconds=RECHECK_SEC)
A_MOMENT = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Applicant:
    """A run that has not begun, and the slot that it needs a place of."""

    run: Loaded
    plan: ExecutionPlan
    slot: str


@dataclass(frozen=True, slots=True)
class Verdicts:
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


async def admit(conn: Connection, applicants: Sequence[Applicant]) -> Verdicts:
    """Give places to those who may begin now, the oldest first, and say what becomes of the rest.

    `early` came before an older run that another orchestrator has in hand: they ask again in a moment, undecided.
    """
    early = await slots.overtaking(conn, {one.run.id: one.run.flow_id for one in applicants})
    groups: defaultdict[str, list[Applicant]] = defaultdict(list)
    for one in applicants:
        if one.run.id not in early:
            groups[one.slot].append(one)
    await slots.lock(conn, list(groups))
    admitted: dict[UUID, str] = {}
    waiting: dict[UUID, str] = {}
    skipped: set[UUID] = set()
    to_cancel: set[UUID] = set()
    for slot, group in groups.items():
        group.sort(key=lambda one: one.run.id)
        there = await slots.crowd(conn, slot, group[0].run.id)
        taken = len(there.holders) + there.waiting
        for one in group:
            limits = one.plan.concurrency
            assert limits is not None  # it has a slot
            if one.run.id in there.holders or taken < limits.limit:
                admitted[one.run.id] = slot
                taken += 1
            elif limits.policy == "skip":
                skipped.add(one.run.id)
            else:
                waiting[one.run.id] = slot
                if limits.policy == "cancel_running":
                    to_cancel |= {*there.holders}
    if admitted:
        await slots.hold(conn, admitted)
    return Verdicts(frozenset(early), waiting, frozenset(skipped), tuple(to_cancel))


async def let_next(conn: Connection, freed: Sequence[str]) -> int:
    """After runs with these slots have ended: wake as many as may follow. A transaction of its own."""
    counts = Counter(freed)
    await slots.lock(conn, list(counts))
    return sum([await slots.wake_next(conn, slot, counts[slot]) for slot in sorted(counts)])
