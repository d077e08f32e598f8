"""What a step may wait for besides time: the end of a child run, and a person's decision.

In a run that is retried a step goes on with the child that it has (continued_runs.py).

Failure argument. A child is written in the transaction that writes its parent's waiting row, under the lock of the
parent's run: there is one for a step, or none. The child's end and the waking of its parent are one transaction too.
The waiting row names the child, so nothing is searched for, and an early notification only makes the parent look
once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from automata.engine.decision import Child
from automata.engine.states import Trigger
from automata.errors import Invalid
from automata.flow.inputs import check_inputs, without_nulls
from automata.services.continued_runs import Ask, ContinuedChild, EndingChild, continued_children
from automata.services.plan_cache import PlanCache
from automata.store.approvals import approval_decisions
from automata.store.database import Connection
from automata.store.earlier_children import EarlierChild
from automata.store.flows import FlowTarget, flow_targets
from automata.store.new_runs import NewRun
from automata.store.orchestrator_queue import RunSnapshot, WakeUp, child_results
from automata.store.waiting_codec import ApprovalWait, ChildRunWait

MAX_DEPTH = 10


@dataclass(frozen=True, slots=True)
class ResolvedChild:
    """The flow, version and inputs of a child that can be started; `replaces` is the one that the step had."""

    flow_id: UUID
    version_id: UUID
    inputs: Mapping[str, Any]
    replaces: EarlierChild | None = None

    def new_run(self, parent: RunSnapshot, step: str, *, contained: bool) -> NewRun:
        """The child's run, one level deeper than `parent`. `contained`: see NewRun."""
        return NewRun(
            self.flow_id,
            self.version_id,
            self.inputs,
            Trigger.FLOW,
            created_by=f"run {parent.id}",
            parent_run_id=parent.id,
            parent_step=step,
            depth=parent.depth + 1,
            contained=contained,
        )


ChildAnswer = ResolvedChild | ContinuedChild | EndingChild | Invalid


async def load_arrivals(conn: Connection, wakeups: Sequence[WakeUp]) -> dict[tuple[UUID, str], Any]:
    """What came for the steps whose rows were just taken, by (run, step); nothing for those that wait for time."""
    children = {item.wait.run_id: (item, item.wait) for item in wakeups if isinstance(item.wait, ChildRunWait)}
    approvals = [(item.run_id, item.step) for item in wakeups if isinstance(item.wait, ApprovalWait)]
    arrivals: dict[tuple[UUID, str], Any] = {}
    if children:
        results = await child_results(conn, list(children))
        for id, (item, wait) in children.items():
            status, outputs, error = results.get(id, (None, None, None))
            arrivals[item.run_id, item.step] = {
                "run_id": str(id),
                "wait": wait.for_end,
                "status": status,
                "outputs": outputs,
                "error": error,
            }
    if approvals:
        arrivals |= await approval_decisions(conn, approvals)
    return arrivals


async def answer_asks(conn: Connection, plans: PlanCache, asks: Sequence[Ask]) -> dict[tuple[UUID, str], ChildAnswer]:
    """By (run, step): what a child that is asked for is made of or goes on with, or why it cannot be started."""
    retried = [ask for ask in asks if ask.run.attempt > 1]
    continued, replaced = await continued_children(conn, plans, retried) if retried else ({}, {})
    new = [(ask.run, ask.child) for ask in asks if ask.key not in continued]
    resolved = await _resolve_children(conn, plans, new) if new else {}
    for key, child in replaced.items():
        if isinstance(answer := resolved[key], ResolvedChild):
            resolved[key] = replace(answer, replaces=child)
    return {**continued, **resolved}


async def _resolve_children(
    conn: Connection, plans: PlanCache, asks: Sequence[tuple[RunSnapshot, Child]]
) -> dict[tuple[UUID, str], ResolvedChild | Invalid]:
    heads = await flow_targets(conn, {child.call.flow for _, child in asks})
    known = await plans.get({head.version_id for head in heads.values() if head.version_id})
    answers: dict[tuple[UUID, str], ResolvedChild | Invalid] = {}
    for run, child in asks:
        head = heads.get(child.call.flow)
        try:
            answers[run.id, child.step] = _resolved(run, child, head, known)
        except Invalid as error:
            answers[run.id, child.step] = error
    return answers


def _resolved(run: RunSnapshot, child: Child, head: FlowTarget | None, known: Mapping[UUID, Any]) -> ResolvedChild:
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
        declared = compiled.plan.inputs
        inputs = check_inputs(declared, without_nulls(declared, child.call.inputs))
    except Invalid as error:
        raise Invalid(f"The flow `{name}` cannot be started: {error.message}", code="invalid_input") from error
    return ResolvedChild(head.id, head.version_id, inputs)
