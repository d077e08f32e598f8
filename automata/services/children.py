"""What a step may wait for besides time: the end of another run, and a person's word.

Failure argument. A child is written in the transaction that writes its parent's waiting row, under the lock of the
parent's run: there is one for a step, or none. The child's end and the waking of its parent are one transaction too.
The waiting row names the child, so nothing is searched for, and an early ring only makes the parent look once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from automata.engine.decision import Child
from automata.engine.states import Trigger
from automata.errors import Invalid
from automata.flow.inputs import check_inputs
from automata.services.plans import Plans
from automata.store.approvals import decisions
from automata.store.database import Connection
from automata.store.flows import FlowHead, flow_heads
from automata.store.queue import APPROVAL, CHILD, Loaded, NewRun, WakeUp, child_results

MAX_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a child will be made of."""

    flow_id: UUID
    version_id: UUID
    inputs: Mapping[str, Any]

    def new_run(self, parent: Loaded, step: str) -> NewRun:
        return NewRun(
            self.flow_id,
            self.version_id,
            self.inputs,
            Trigger.FLOW,
            created_by=f"run {parent.id}",
            parent_run_id=parent.id,
            parent_step=step,
            depth=parent.depth + 1,
        )


async def arrivals(conn: Connection, wakeups: Sequence[WakeUp]) -> dict[tuple[UUID, str], Any]:
    """What came for the steps whose rows were just taken, by (run, step); nothing for those that wait for time."""
    children = {UUID(one.reads[1]): one for one in wakeups if one.reads[:1] == [CHILD]}
    asked = [(one.run_id, one.step) for one in wakeups if one.reads[:1] == [APPROVAL]]
    found: dict[tuple[UUID, str], Any] = {}
    if children:
        results = await child_results(conn, list(children))
        for id, one in children.items():
            status, outputs, error = results.get(id, (None, None, None))
            found[one.run_id, one.step] = {
                "run_id": str(id),
                "wait": one.reads[2] == "wait",
                "status": status,
                "outputs": outputs,
                "error": error,
            }
    if asked:
        found |= await decisions(conn, asked)
    return found


async def resolve(
    conn: Connection, plans: Plans, asks: Sequence[tuple[Loaded, Child]]
) -> dict[tuple[UUID, str], Resolved | Invalid]:
    """For each asked child what it is made of, or why it cannot be."""
    heads = await flow_heads(conn, {child.call.flow for _, child in asks})
    known = await plans.get({head.version_id for head in heads.values() if head.version_id})
    answers: dict[tuple[UUID, str], Resolved | Invalid] = {}
    for run, child in asks:
        head = heads.get(child.call.flow)
        try:
            answers[run.id, child.step] = _resolved(run, child, head, known)
        except Invalid as error:
            answers[run.id, child.step] = error
    return answers


def _resolved(run: Loaded, child: Child, head: FlowHead | None, known: Mapping[UUID, Any]) -> Resolved:
    name = child.call.flow
    if run.depth + 1 > MAX_DEPTH:
        raise Invalid(f"Flows may call each other {MAX_DEPTH} deep, and this is deeper.", code="too_deep")
    if head is None:
        raise Invalid(f"There is no flow `{name}`.", code="no_flow")
    if head.archived or head.version_id is None:
        raise Invalid(f"The flow `{name}` is archived.", code="flow_archived")
    compiled = known[head.version_id]
    if compiled.plan is None:
        raise Invalid(str(compiled.error), code="bad_version")
    try:
        inputs = check_inputs(compiled.plan.inputs, child.call.inputs)
    except Invalid as error:
        raise Invalid(f"The flow `{name}` cannot be started: {error.message}", code="invalid_input") from error
    return Resolved(head.id, head.version_id, inputs)
