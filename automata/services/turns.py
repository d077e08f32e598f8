"""One run in one batch of the orchestrator: what is known of it, what the engine decided, and what that writes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from automata.engine.advance import Decision, RunView, StepState, Timer
from automata.engine.decision import FOREVER, UNLOADED, Start
from automata.engine.fairness import Shares
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import Invalid
from automata.flow.plan import ExecutionPlan
from automata.services.children import Resolved
from automata.services.handover import Handover
from automata.services.plans import Compiled
from automata.store import queue
from automata.store.codec import dumps, loads
from automata.store.queue import Changes, Loaded, NewRun, WakeUp
from automata.store.tasks import Claim, Result, RunInfo

Known = Mapping[tuple[UUID, str], tuple[str, Any]]

MAX_KNOWN = 100  # steps of a run whose picture is kept: a worker may hold a thousand of them
_MOVING = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})


@dataclass(slots=True)
class Turn:
    loaded: Loaded
    compiled: Compiled
    view: RunView
    states: dict[str, StepState]
    fired: dict[str, Any]  # what arrived; None where only time passed
    wakeups: list[WakeUp]
    decision: Decision = field(default_factory=Decision)
    answers: dict[str, Resolved | Invalid] = field(default_factory=dict)
    slot: str | None = None  # of the flow's `concurrency`
    decided: bool = False

    @property
    def plan(self) -> ExecutionPlan:
        assert self.compiled.plan is not None  # whoever asks has looked
        return self.compiled.plan

    @property
    def is_new(self) -> bool:
        """Whether the run begins with this turn, if anybody lets it."""
        steps = {item.step for item in self.wakeups}
        return queue.CREATED in steps and queue.CANCEL not in steps

    def errors(self) -> dict[str, Exception | None]:
        return {step: answer if isinstance(answer, Invalid) else None for step, answer in self.answers.items()}

    def orphans(self) -> list[UUID]:
        """Children whose waiting step is over without their word."""
        over = {item.step for item in self.decision.settle}
        unheard = [item for item in self.wakeups if item.step in over and _is_unheard(self.fired.get(item.step))]
        return queue.awaited(item.reads for item in unheard)

    def settled(self) -> dict[str, tuple[str, Any]]:
        """What is known here of final steps, as the database would give it; those with outputs to be read are not."""
        found: dict[str, tuple[str, Any]] = {}
        for name, state in self.states.items():
            if state.status is TaskStatus.FAILED:
                found[name] = (state.status, state.error)
            elif state.outputs is not UNLOADED:
                found[name] = (state.status, state.outputs)
        for item in self.decision.settle:
            outputs = item.error if item.status is TaskStatus.FAILED else item.outputs
            found[item.step] = (item.status, None if outputs is None else loads(dumps(outputs)))
        return found


@dataclass(slots=True)
class Outcome(Changes):
    """What a batch writes, and what it does to runs that are not of the batch.

    `fresh`: JSON text of the outputs that the worker of this process hands in with the batch.
    """

    fresh: Mapping[tuple[UUID, str], str | None] = field(default_factory=dict)
    shares: Shares = field(default_factory=Shares)
    children: list[NewRun] = field(default_factory=list)
    orphans: list[UUID] = field(default_factory=list)
    freed: dict[UUID, str] = field(default_factory=dict)
    ended: list[tuple[Turn, str, Any]] = field(default_factory=list)
    handed: list[tuple[Turn, Start, UUID]] = field(default_factory=list)  # with the fence

    def end(self, turn: Turn, status: RunStatus, outputs: Any, error: Any) -> None:
        run = turn.loaded
        self.finish.append((run.id, run.flow_id, status, run.began or run.now, outputs, error))
        self.ended.append((turn, status, error))
        if run.parent:
            self.wake.append(run.parent)
        if turn.slot:
            self.freed[run.id] = turn.slot

    def collect(self, turn: Turn, handover: Handover) -> None:
        """Take over what was decided about one run."""
        run, decision = turn.loaded, turn.decision
        for start in decision.start:
            self._start(turn, start, handover)
        if decision.wait:
            known = {item.step: item.reads for item in turn.wakeups}
            for timer in decision.wait:
                reads = _reads_of(timer, known.get(timer.step, ()))
                self.enqueue.append((run.id, timer.step, queue.ADVANCE, timer.until, run.version_id, reads))
        for child in decision.call:
            made = turn.answers[child.step]
            assert isinstance(made, Resolved)  # the engine calls what was answered so
            new = made.new_run(run, child.step)
            self.children.append(replace(new, head_start=self._head_start(new.flow_id)))
            waits, until = ("wait", FOREVER) if child.call.wait else ("nowait", None)
            reads = queue.SEPARATOR.join((queue.CHILD, str(new.id), waits))
            self.enqueue.append((run.id, child.step, queue.ADVANCE, until, run.version_id, reads))
        for item in decision.settle:
            self.settle.append((run.id, item.step, item.status, item.since or run.now, item.outputs, item.error))
        if result := decision.result:
            self.end(turn, result.status, result.outputs, result.error)

    def _head_start(self, flow: UUID) -> float:
        return self.shares.head_start(flow, time.monotonic())

    def _start(self, turn: Turn, start: Start, handover: Handover) -> None:
        run, lane = turn.loaded, turn.plan.step(start.step).queue
        given = () if start.item is None else (queue.ITEM, dumps(start.item))
        reads = queue.SEPARATOR.join((*given, *start.reads))
        # The attempts of a run that was retried count on from what the database knows.
        fence = handover.take(lane) if run.attempt == 1 else None
        if fence is None:
            ready = run.now - timedelta(seconds=self._head_start(run.flow_id))
            self.enqueue.append((run.id, start.step, lane, ready, run.version_id, reads))
        else:
            self.hand.append((run.id, start.step, lane, run.version_id, reads, fence))
            self.handed.append((turn, start, fence))

    def unread(self) -> list[tuple[UUID, str]]:
        """Steps that handed work reads and nobody here knows."""
        wanted: dict[tuple[UUID, str], None] = {}
        for turn, start, _ in self.handed:
            if start.reads:
                known = turn.settled()
                wanted |= {(turn.loaded.id, name): None for name in start.reads if name not in known}
        return list(wanted)

    def claims(self, found: Known) -> list[tuple[Claim, Compiled]]:
        """What was handed over, as a claim would have found it."""
        return [(_claim(turn, start, fence, found), turn.compiled) for turn, start, fence in self.handed]


def take_known(result: Result, now: datetime) -> Loaded | None:
    """The picture that came with accepted work, now that it has ended.

    It is used up: a transaction that fails is tried again without.
    """
    run, result.known = result.known, None
    if run:
        error = loads(dumps(result.error)) if result.status == TaskStatus.FAILED else None
        run.now, run.states[result.step] = now, (result.status, error, None)
    return run


def _picture(turn: Turn) -> Loaded | None:
    """What was loaded, as this turn leaves it; None unless the one step that it starts is all that moves."""
    run, decision = turn.loaded, turn.decision
    if len(decision.start) != 1 or decision.wait or decision.call or len(turn.states) > MAX_KNOWN:
        return None
    states = run.states
    for item in decision.settle:
        error = loads(dumps(item.error)) if item.status is TaskStatus.FAILED else None
        states[item.step] = (item.status, error, None)
    if any(status in _MOVING for status, _, _ in states.values()):
        return None
    run.began = run.began or run.now
    return run


def turn_of(run: Loaded, compiled: Compiled, wakeups: list[WakeUp], arrived: Mapping[tuple[UUID, str], Any]) -> Turn:
    states = {step: _state(*state) for step, state in run.states.items()}
    fired: dict[str, Any] = {}
    for item in wakeups:
        if item.step not in (queue.CREATED, queue.CANCEL) and item.step not in states:
            fired[item.step] = arrived.get((run.id, item.step))  # no result and no longer queued: a timer that was due
            states[item.step] = StepState(TaskStatus.RUNNING, item.queued_at)
    view = RunView(
        id=str(run.id),
        flow=compiled.flow,
        version=compiled.number,
        attempt=run.attempt,
        trigger=run.trigger,
        scheduled_for=run.scheduled_for,
        created_at=run.created_at,
        inputs=run.inputs,
        vars=compiled.variables,
        cancelled=any(item.step == queue.CANCEL for item in wakeups),
        resumed=run.resumed,
    )
    return Turn(run, compiled, view, states, fired, wakeups)


# One for all steps that stand so: most of them have nothing else to say.
_PLAIN = {status.value: StepState(status) for status in TaskStatus}


def _state(status: str, error: Any, since: datetime | None) -> StepState:
    if since is None and error is None:
        return _PLAIN[status]
    return StepState(TaskStatus(status), since, error=error)


def _claim(turn: Turn, start: Start, fence: UUID, found: Known) -> Claim:
    run = turn.loaded
    reads: dict[str, tuple[str, Any]] = {}
    if start.reads:
        known = turn.settled()
        for name in start.reads:
            if state := known.get(name) or found.get((run.id, name)):
                reads[name] = state
    return Claim(
        run=RunInfo(
            run.id, run.trigger, run.scheduled_for, run.created_at, dict(run.inputs), run.attempt, run.traceparent
        ),
        step=start.step,
        fence=fence,
        attempt=1,
        losses=0,
        version_id=run.version_id,
        earlier=0,
        now=run.now,
        reads=reads,
        item=None if start.item is None else (start.item[0], loads(dumps(start.item[1]))),
        known=_picture(turn),
    )


def _is_unheard(arrived: Any) -> bool:
    return isinstance(arrived, dict) and "status" in arrived and arrived["status"] is None


def _reads_of(timer: Timer, known: Sequence[str]) -> str:
    """What the row of a waiting step says beside its time: what it said before, or what it asks of whom."""
    if known:
        return queue.SEPARATOR.join(known)
    return "" if timer.note is None else queue.SEPARATOR.join((queue.APPROVAL, timer.note))
