"""One run in one batch: what is known of it, what the engine decided, and what that writes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from automata.engine.advance import Decision, RunView, StepState, Timer
from automata.engine.context import in_failure_handler
from automata.engine.decision import CHILD_CANCELLED, CHILD_FAILED, FOREVER, UNLOADED, Child, Error, Settled, Start
from automata.engine.fairness import Shares
from automata.engine.states import RunStatus, TaskStatus, WaitKind
from automata.errors import Invalid
from automata.flow.plan import ExecutionPlan
from automata.services.continued_runs import ContinuedChild, next_look
from automata.services.direct_dispatch import DirectDispatch
from automata.services.plan_cache import CompiledVersion
from automata.services.step_waits import ChildAnswer, ResolvedChild
from automata.store import orchestrator_queue
from automata.store.json_codec import dumps, loads
from automata.store.new_runs import NewRun
from automata.store.orchestrator_queue import (
    DispatchRow,
    EnqueueRow,
    FinishRow,
    RunLetterRow,
    RunSnapshot,
    RunWrites,
    SettleRow,
    WakeUp,
)
from automata.store.queue_sentinels import ADVANCE, CANCEL, CREATED
from automata.store.run_retries import FailingRun
from automata.store.waiting_codec import ApprovalWait, ChildRunWait, TaskReads, Wait, encode
from automata.store.worker_queue import Claim, RunInfo, TaskResult

StepOutputs = Mapping[tuple[UUID, str], tuple[str, Any]]

MAX_SNAPSHOT_STEPS = 100  # steps of a run whose snapshot goes along: a worker may hold a thousand of them
_UNDER_WAY = frozenset({TaskStatus.QUEUED, TaskStatus.RUNNING})


@dataclass(slots=True)
class RunAdvance:
    """A run that is being advanced; its wake-ups are why."""

    snapshot: RunSnapshot
    compiled: CompiledVersion
    view: RunView
    states: dict[str, StepState]
    arrived: dict[str, Any]  # by step: what came for it; None where only time passed
    wakeups: list[WakeUp]
    decision: Decision = field(default_factory=Decision)
    answers: dict[str, ChildAnswer] = field(default_factory=dict)  # to `decision.asks`, by step
    going_on: Sequence[str] | None = None  # failed steps whose child goes on; None while nobody has looked
    slot: str | None = None  # of the flow's `concurrency`
    decided: bool = False

    @property
    def plan(self) -> ExecutionPlan:
        """The compiled flow, where it can be executed."""
        assert self.compiled.plan is not None  # the caller has looked
        return self.compiled.plan

    @property
    def is_new(self) -> bool:
        """Whether the run begins with this advance, if its flow's `concurrency` admits it."""
        steps = {item.step for item in self.wakeups}
        return CREATED in steps and CANCEL not in steps

    def leaves_letter(self, item: Settled) -> bool:
        """Whether a failure opens a dead letter: none that is contained, nor that of a child, which has its own."""
        if item.status is not TaskStatus.FAILED:
            return False
        is_childs = (item.error or {}).get("code") == CHILD_FAILED
        return not (is_childs or self.snapshot.contained or self.plan.contains_failure_of(item.step))

    def errors(self) -> dict[str, Exception | None]:
        """The answers as the engine takes them, by step: the error, or None where the child can be started."""
        return {step: answer if isinstance(answer, Invalid) else None for step, answer in self.answers.items()}

    def failed_by_child(self) -> list[str]:
        """The steps that fail the run because a child of theirs did not succeed."""
        return [
            step
            for step, error in self.failures().items()
            if error.get("code") in (CHILD_FAILED, CHILD_CANCELLED)
            and error.get("step") == step
            and not self.plan.contains_failure_of(step)
        ]

    def failures(self) -> dict[str, Error]:
        """The errors of the steps that have FAILED, those that fail by the decision among them."""
        failed = {item.step: item.error or {} for item in self.decision.settle if item.status is TaskStatus.FAILED}
        states = self.states.items()
        return failed | {step: state.error or {} for step, state in states if state.status is TaskStatus.FAILED}

    def is_about_to_fail(self) -> bool:
        """Whether the decision ends the run FAILED, or begins its `on_failure`: nothing moves in it then."""
        decision, plan = self.decision, self.plan
        if decision.result:
            return decision.result.status is RunStatus.FAILED
        if plan.on_failure is None or any(self._handles(step) for step in self.states):
            return False
        moves = (decision.start, decision.wait, decision.call, decision.settle)
        return any(self._handles(item.step) for begun in moves for item in begun)

    def _handles(self, step: str) -> bool:
        return in_failure_handler(self.plan, self.plan.step(step))

    def orphans(self) -> list[UUID]:
        """Children whose waiting step is over before they have ended."""
        over = {item.step for item in self.decision.settle}
        unheard = [item for item in self.wakeups if item.step in over and _is_unheard(self.arrived.get(item.step))]
        return orchestrator_queue.child_runs_waited_for(item.wait for item in unheard)

    def take_fetched(self, outputs: StepOutputs) -> None:
        """Put into `states` what the engine asked for: outputs that it needs, and the truth about dropped work."""
        run_id, states = self.snapshot.id, self.states
        for step in self.decision.needs:
            status, step_outputs = outputs[run_id, step]
            states[step] = StepState(TaskStatus(status), None, step_outputs, states[step].error)
        for step in self.decision.drop:
            if dropped := outputs.get((run_id, step)):
                states[step] = StepState(TaskStatus(dropped[0]))
            else:  # a worker was faster: it runs, and the run waits for it
                states[step] = StepState(TaskStatus.RUNNING, states[step].since)

    def settled(self) -> dict[str, tuple[str, Any]]:
        """What is known here of final steps, as the database would give it; those with outputs to be read are not."""
        known: dict[str, tuple[str, Any]] = {}
        for name, state in self.states.items():
            if state.status is TaskStatus.FAILED:
                known[name] = (state.status, state.error)
            elif state.outputs is not UNLOADED:
                known[name] = (state.status, state.outputs)
        for item in self.decision.settle:
            outputs = item.error if item.status is TaskStatus.FAILED else item.outputs
            known[item.step] = (item.status, None if outputs is None else loads(dumps(outputs)))
        return known


@dataclass(slots=True)
class BatchWrites(RunWrites):
    """What a batch writes, and what it does to runs that are not of the batch.

    `fresh_outputs`: JSON text of the outputs that a worker of this process completes with the batch.
    """

    dispatch: DirectDispatch = field(default_factory=DirectDispatch)
    fresh_outputs: Mapping[tuple[UUID, str], str | None] = field(default_factory=dict)
    shares: Shares = field(default_factory=Shares)
    children: list[NewRun] = field(default_factory=list)
    continued: list[tuple[UUID, str | None]] = field(
        default_factory=list
    )  # children that go on, and who had them do so
    replaced: list[UUID] = field(default_factory=list)  # children that nobody waits for any more
    going_on: list[FailingRun] = field(default_factory=list)
    orphans: list[UUID] = field(default_factory=list)
    freed_slots: dict[UUID, str] = field(default_factory=dict)  # of the runs that end, by run
    ended: list[tuple[RunAdvance, str, Any]] = field(default_factory=list)
    dispatched: list[tuple[RunAdvance, Start, UUID]] = field(default_factory=list)  # with the fence

    def end_run(self, run_advance: RunAdvance, status: RunStatus, outputs: Any, error: Any) -> None:
        """The run is over: its result, the parent that waits for it, and the place that it frees."""
        run = run_advance.snapshot
        self.finish.append(FinishRow(run.id, run.flow_id, status, run.began or run.now, outputs, error))
        if status is RunStatus.FAILED and not run.contained and (error or {}).get("step") is None:
            self.letters.append(RunLetterRow(run.id, run.flow_id, run.version_id, run.attempt, error))
        self.ended.append((run_advance, status, error))
        if run.parent:
            self.wake.append(run.parent)
        if run_advance.slot:
            self.freed_slots[run.id] = run_advance.slot

    def add_decision(self, run_advance: RunAdvance) -> None:
        """Take over what was decided about one run."""
        run, decision = run_advance.snapshot, run_advance.decision
        for start in decision.start:
            self._start(run_advance, start)
        if decision.wait:
            before = {item.step: item.wait for item in run_advance.wakeups}
            for timer in decision.wait:
                wait = before.get(timer.step) or _wait_of(timer)
                until = next_look(run) if isinstance(wait, ChildRunWait) else timer.until
                self.enqueue.append(EnqueueRow(run.id, timer.step, ADVANCE, until, run.version_id, encode(wait)))
        for child in decision.call:
            self._call(run_advance, child)
        for item in decision.settle:
            self._settle(run_advance, item)
        if result := decision.result:
            self.end_run(run_advance, result.status, result.outputs, result.error)

    def _call(self, run_advance: RunAdvance, child: Child) -> None:
        """Write the child, or have the one that there is go on, and the row that waits for it."""
        run, answer, wait = run_advance.snapshot, run_advance.answers[child.step], child.call.wait
        if isinstance(answer, ContinuedChild):
            id, until = answer.id, None if answer.over else next_look(run)
            if answer.reopen:
                self.continued.append((id, run.retried_by))
        else:
            assert isinstance(answer, ResolvedChild)  # the engine calls only what could be resolved
            contained = wait and (run.contained or run_advance.plan.contains_failure_of(child.step))
            new = answer.new_run(run, child.step, contained=contained)
            self.children.append(replace(new, head_start=self._head_start(new.flow_id)))
            id, until = new.id, FOREVER if wait else None
            if earlier := answer.replaces:
                self.replaced.append(earlier.id)
                self.orphans += [] if earlier.status else [earlier.id]
        reads = encode(ChildRunWait(id, wait))
        self.enqueue.append(EnqueueRow(run.id, child.step, ADVANCE, until, run.version_id, reads))

    def go_on_instead(self, run_advance: RunAdvance, steps: Sequence[str]) -> None:
        """Another attempt at these steps, whose children go on by now; `on_failure` is left out."""
        run, plan = run_advance.snapshot, run_advance.plan
        for item in run_advance.decision.settle:
            if not in_failure_handler(plan, plan.step(item.step)):
                self._settle(run_advance, item)
        error = run_advance.failures()[steps[0]]
        self.going_on.append(FailingRun(run.id, run.began or run.now, error, steps, run.retried_by))

    def _settle(self, run_advance: RunAdvance, item: Settled) -> None:
        run, letter = run_advance.snapshot, run_advance.leaves_letter(item)
        since = item.since or run.now
        self.settle.append(SettleRow(run.id, item.step, item.status, since, item.outputs, item.error, letter))

    def _head_start(self, flow: UUID) -> float:
        return self.shares.head_start(flow, time.monotonic())

    def _start(self, run_advance: RunAdvance, start: Start) -> None:
        run, lane = run_advance.snapshot, run_advance.plan.step(start.step).queue
        reads = encode(TaskReads(start.reads, start.item))
        # The attempts of a run that was retried count on from what the database knows.
        fence = self.dispatch.take(lane) if run.attempt == 1 else None
        if fence is None:
            ready = run.now - timedelta(seconds=self._head_start(run.flow_id))
            self.enqueue.append(EnqueueRow(run.id, start.step, lane, ready, run.version_id, reads))
        else:
            self.hand.append(DispatchRow(run.id, start.step, lane, run.version_id, reads, fence))
            self.dispatched.append((run_advance, start, fence))

    def unread(self) -> list[tuple[UUID, str]]:
        """Steps that dispatched work reads and that are not known here, by run."""
        wanted: dict[tuple[UUID, str], None] = {}
        for run_advance, start, _ in self.dispatched:
            if start.reads:
                known = run_advance.settled()
                wanted |= {(run_advance.snapshot.id, name): None for name in start.reads if name not in known}
        return list(wanted)

    def claims(self, outputs: StepOutputs) -> list[tuple[Claim, CompiledVersion]]:
        """What is dispatched, as a claim would find it; `outputs` are those of `unread`."""
        return [
            (_claim(run_advance, start, fence, outputs), run_advance.compiled)
            for run_advance, start, fence in self.dispatched
        ]


def take_snapshot(result: TaskResult, now: datetime) -> RunSnapshot | None:
    """The snapshot that came with accepted work, as it is now that the work has ended.

    It is used up: a transaction that fails is tried again without it.
    """
    run, result.known = result.known, None
    if run:
        error = loads(dumps(result.error)) if result.status == TaskStatus.FAILED else None
        run.now, run.states[result.step] = now, (result.status, error, None)
    return run


def _snapshot_of(run_advance: RunAdvance) -> RunSnapshot | None:
    """The run as this advance leaves it; None unless the one step that it starts is all that moves in the run."""
    run, decision = run_advance.snapshot, run_advance.decision
    if len(decision.start) != 1 or decision.wait or decision.call or len(run_advance.states) > MAX_SNAPSHOT_STEPS:
        return None
    states = run.states
    for item in decision.settle:
        error = loads(dumps(item.error)) if item.status is TaskStatus.FAILED else None
        states[item.step] = (item.status, error, None)
    if any(status in _UNDER_WAY for status, _, _ in states.values()):
        return None
    run.began = run.began or run.now
    return run


def build_run_advance(
    run: RunSnapshot, compiled: CompiledVersion, wakeups: list[WakeUp], arrivals: Mapping[tuple[UUID, str], Any]
) -> RunAdvance:
    """What is known of `run` before the engine is asked; `arrivals` by run and step, see child_runs.load_arrivals."""
    states = {step: _state(*state) for step, state in run.states.items()}
    arrived: dict[str, Any] = {}
    for item in wakeups:
        if item.step not in (CREATED, CANCEL) and item.step not in states:
            # No result and no longer queued: a timer that was due.
            arrived[item.step] = arrivals.get((run.id, item.step))
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
        cancelled=any(item.step == CANCEL for item in wakeups),
        resumed=run.resumed,
    )
    return RunAdvance(run, compiled, view, states, arrived, wakeups)


# Shared by all steps in a state: most of them have nothing else to say.
_PLAIN_STATES = {status.value: StepState(status) for status in TaskStatus}


def _state(status: str, error: Any, since: datetime | None) -> StepState:
    if since is None and error is None:
        return _PLAIN_STATES[status]
    return StepState(TaskStatus(status), since, error=error)


def _claim(run_advance: RunAdvance, start: Start, fence: UUID, outputs: StepOutputs) -> Claim:
    run = run_advance.snapshot
    reads: dict[str, tuple[str, Any]] = {}
    if start.reads:
        known = run_advance.settled()
        for name in start.reads:
            if state := known.get(name) or outputs.get((run.id, name)):
                reads[name] = state
    return Claim(
        run=RunInfo(
            run.id,
            run.trigger,
            run.scheduled_for,
            run.created_at,
            dict(run.inputs),
            run.attempt,
            run.traceparent,
            run.contained,
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
        known=_snapshot_of(run_advance),
    )


def _is_unheard(arrived: Any) -> bool:
    return isinstance(arrived, dict) and "status" in arrived and arrived["status"] is None


def _wait_of(timer: Timer) -> Wait | None:
    """A step that calls a run is written with the run that it waits for, and waits here for nothing more."""
    return ApprovalWait(timer.note) if timer.kind is WaitKind.APPROVAL else None
