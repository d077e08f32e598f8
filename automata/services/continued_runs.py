"""What a `flow` step does when it begins again in a run that is retried: it goes on with the run that it started.

A second run beside the first would make calls again that were made, under other idempotency keys. So the step waits for
its last run once more. One that had ended badly before the retry goes on first, as if it had been retried itself; one
that moves is waited for, and the end of any other is the answer. Only where the call is another one, since a step that
its inputs are made of was done again and gave something else, does the step start a new run, and the earlier one is not
waited for any more: it is cancelled, and its dead letters are closed.

Failure argument. All of it is in the transaction that advances the parent, under the parent's lock. Whoever has a run
go on holds the lock of its parent (store/run_retries.py), so of a retry of the run and a retry of its parent the second
sees the first. Nobody locks a run that moves, so it may end while its parent's waiting row is being written, and find
no row to wake: such a row comes due by itself after a while (`next_look`), and so does one that was woken too early.
A run above that moves while a run below is retried looks at it before it fails (`have_gone_on`), under its own lock.
A run whose cancel was asked for and not carried out is neither over nor to be waited for: its parent is put back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from automata.engine.decision import Call, Child
from automata.engine.states import RunStatus
from automata.errors import Invalid
from automata.flow.inputs import check_inputs
from automata.flow.plan import ExecutionPlan, item_of
from automata.services.plan_cache import CompiledVersion, PlanCache
from automata.store.database import Connection
from automata.store.earlier_children import EarlierChild, earlier_children, last_end
from automata.store.flows import FlowTarget, flow_targets
from automata.store.json_codec import dumps, loads
from automata.store.orchestrator_queue import RunSnapshot

MIN_LOOK = timedelta(seconds=1)
MAX_LOOK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Ask:
    """A child that a step of `run` asks for."""

    run: RunSnapshot
    plan: ExecutionPlan
    child: Child

    @property
    def key(self) -> tuple[UUID, str]:
        """The run and the step."""
        return self.run.id, self.child.step


@dataclass(frozen=True, slots=True)
class ContinuedChild:
    """The step goes on with the run `id`. `over`: there is nothing to wait for; `reopen`: that run goes on first."""

    id: UUID
    over: bool = False
    reopen: bool = False


@dataclass(frozen=True, slots=True)
class EndingChild:
    """The run is being cancelled; the step has to be asked again when that is done."""


def next_look(run: RunSnapshot) -> datetime:
    """When a run looks again at a child whose end it may have missed: the longer it waits, the more seldom."""
    waited = run.now - (run.retried_at or run.began or run.now)
    return run.now + min(max(waited, MIN_LOOK), MAX_LOOK)


async def continued_children(
    conn: Connection, plans: PlanCache, asks: Sequence[Ask]
) -> tuple[dict[tuple[UUID, str], ContinuedChild | EndingChild], dict[tuple[UUID, str], EarlierChild]]:
    """Of the asks of runs that are retried: what they go on with, and what a new run takes the place of."""
    earlier = await earlier_children(conn, [ask.key for ask in asks])
    versions = await plans.get({child.version_id for child in earlier.values()})
    flows = await flow_targets(conn, {ask.child.call.flow for ask in asks}) if earlier else {}
    sources = _SourceEnds(conn)
    continued: dict[tuple[UUID, str], ContinuedChild | EndingChild] = {}
    replaced: dict[tuple[UUID, str], EarlierChild] = {}
    for ask in asks:
        if (child := earlier.get(ask.key)) is None:
            continue
        version = versions[child.version_id]
        if _is_same_flow(ask, child, version, flows) and await _is_same_call(sources, ask, child, version):
            continued[ask.key] = _continued(ask, child)
        elif child.cancelling:
            continued[ask.key] = EndingChild()
        else:
            replaced[ask.key] = child
    return continued, replaced


def _continued(ask: Ask, child: EarlierChild) -> ContinuedChild | EndingChild:
    if not ask.child.call.wait:
        return ContinuedChild(child.id, over=True)
    if child.cancelling:
        return EndingChild()
    if child.status is None:
        return ContinuedChild(child.id)
    reopen = child.status == RunStatus.CANCELLED or (child.status == RunStatus.FAILED and _ended_before(ask.run, child))
    return ContinuedChild(child.id, over=not reopen, reopen=reopen)


def _ended_before(run: RunSnapshot, child: EarlierChild) -> bool:
    """Whether its end is what the parent is retried for. A later one is an answer: it went on, and failed again."""
    return child.ended_at is None or run.retried_at is None or child.ended_at < run.retried_at


def _is_same_flow(ask: Ask, child: EarlierChild, version: CompiledVersion, flows: Mapping[str, FlowTarget]) -> bool:
    """Whether the name means the child's flow: it did when the child was made, unless it is computed."""
    name = ask.child.call.flow
    target = flows.get(name)
    return target is None or target.id == child.flow_id or (version.plan is not None and name == version.plan.flow)


async def _is_same_call(sources: _SourceEnds, ask: Ask, child: EarlierChild, version: CompiledVersion) -> bool:
    """Whether the step calls the flow with the same inputs.

    Inputs that differ are the same when no step that they are made of was done again: then it is the clock, a new
    `uuid()` or the attempt's number that makes the difference, and the run has the ones of its first try.
    """
    plan = version.plan
    if plan is None or _inputs_of(ask.child.call, plan) == child.inputs:
        return True
    end = await sources.last_end(ask)
    return end is None or end <= child.created_at


class _SourceEnds:
    """When the steps that inputs are made of have ended; asked for once where items of a `foreach` share them."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._known: dict[tuple[UUID, frozenset[str]], datetime | None] = {}

    async def last_end(self, ask: Ask) -> datetime | None:
        key = ask.run.id, _sources(ask.plan, ask.child.step)
        if key not in self._known:
            self._known[key] = await last_end(self._conn, *key)
        return self._known[key]


def _inputs_of(call: Call, plan: ExecutionPlan) -> Mapping[str, object] | None:
    """As the database would give them back; None where the version does not take them."""
    try:
        inputs: Mapping[str, object] = loads(dumps(check_inputs(plan.inputs, call.inputs)))
    except Invalid:
        return None
    return inputs


def _sources(plan: ExecutionPlan, step: str) -> frozenset[str]:
    """The steps that a step's inputs, and the list that its item is of, are made of."""
    plan_step = plan.step(step)
    item = item_of(step)
    foreach = plan.step(item[0]).foreach if item else None
    return plan_step.reads | (foreach.reads if foreach else frozenset())


async def have_gone_on(conn: Connection, steps: Sequence[tuple[UUID, str]]) -> set[tuple[UUID, str]]:
    """Of failed steps those whose child moves again, or has succeeded meanwhile: somebody had that one go on alone."""
    children = await earlier_children(conn, steps)
    return {
        key
        for key, child in children.items()
        if child.status == RunStatus.SUCCEEDED or (child.status is None and not child.cancelling)
    }
