"""Rehearse one run: the engine decides and the step code runs as in production; queue, database and network are here.

The driver keeps what the store keeps (final states, what waits, what runs) and answers the engine's `needs` and `drop`
as the orchestrator does. A step that starts gets a task of its own on the virtual loop; there are as many slots as
steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid5

from automata.engine.advance import advance, task_context
from automata.engine.decision import FOREVER, Child, Decision, InstantRule, RunView, Start, StepState, Timer
from automata.engine.retry import Failure, next_attempt_ms
from automata.engine.states import TaskStatus, Trigger
from automata.errors import Invalid
from automata.flow.inputs import check_inputs, without_nulls
from automata.flow.plan import ExecutionPlan, item_of
from automata.sandbox.clock import Clock, StalledError
from automata.sandbox.vetting import VettedTransport
from automata.steps.contract import Outcome, StepContext, StepType, Transport
from automata.steps.execute import error_of, execute_step
from automata.steps.secrets import masker

MAX_DEPTH = 10  # of flows that call each other, as in production
MAX_TURNS = 100_000  # decisions of one rehearsal; a thousand steps with ten attempts each stay far below


@dataclass(slots=True)
class StepRecord:
    """How one step went. Times are seconds of virtual time; None when it never began."""

    status: str
    attempts: int = 0
    outputs: Any = None
    error: Mapping[str, Any] | None = None
    began_sec: float | None = None
    ended_sec: float | None = None


@dataclass(slots=True)
class Rehearsal:
    """How a run went. `order` names steps as they ended, those that ran only; a group ends after what is inside it."""

    status: str
    outputs: Any
    error: Mapping[str, Any] | None
    steps: dict[str, StepRecord]
    order: list[str]
    elapsed_sec: float


class TransportSource(Protocol):
    """Whatever answers requests: mocks, or what was recorded."""

    def for_step(self, step: str) -> Transport: ...


@dataclass(frozen=True, slots=True)
class CalledFlow:
    """A flow that a step may call, with its own variables: a version keeps those that it reads, whoever calls it."""

    plan: ExecutionPlan
    variables: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RehearsalSetup:
    """What a rehearsal needs beside the plan. `given` are results of steps that shall not run: outputs, or an error.

    `flow` gives other flows by name. `calls` collects what they were started with, given result or not: (step, flow,
    inputs).
    """

    view: RunView
    clock: Clock
    transport: TransportSource
    types: Mapping[str, StepType]
    rules: Mapping[str, InstantRule]
    random: Callable[[], float]
    secrets: Mapping[str, str] = field(default_factory=dict)
    given: Mapping[str, Outcome] = field(default_factory=dict)
    flow: Callable[[str], CalledFlow | None] = lambda name: None
    depth: int = 0
    calls: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)


async def rehearse(plan: ExecutionPlan, setup: RehearsalSetup) -> Rehearsal:
    """Run to the end on the running (virtual) loop. Raises StalledError when the run can never end."""
    return await _Run(plan, setup).play()


class _Run:
    def __init__(self, plan: ExecutionPlan, setup: RehearsalSetup) -> None:
        self.plan = plan
        self.setup = setup
        self.mask = masker(setup.secrets)
        self.states: dict[str, StepState] = {}
        self.records: dict[str, StepRecord] = {}
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.fired: dict[str, Any] = {}
        self.children: dict[str, tuple[CalledFlow, Mapping[str, Any]]] = {}
        self.changed = asyncio.Event()

    async def play(self) -> Rehearsal:
        try:
            for _ in range(MAX_TURNS):
                decision = self._decide()
                self._apply(decision)
                if result := decision.result:
                    elapsed = self._seconds(self.setup.clock.now())
                    await self._last_children()
                    return Rehearsal(
                        result.status.value, result.outputs, result.error, self.records, self.order, elapsed
                    )
                await self.changed.wait()
                self.changed.clear()
            raise StalledError
        finally:
            for task in self.tasks.values():
                task.cancel()
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _last_children(self) -> None:
        """Let flows that nobody waits for come to their ends: what they send belongs to the case."""
        waiting = [task for name, task in self.tasks.items() if name in self.children and not task.done()]
        await asyncio.gather(*waiting)

    def _decide(self) -> Decision:
        fired, self.fired = self.fired, {}
        answers: dict[str, Exception | None] = {}
        setup = self.setup
        while True:
            decision = advance(self.plan, setup.view, self.states, fired, setup.clock.now(), setup.rules, answers)
            for name in decision.drop:
                self._drop(name)
            for child in decision.asks:
                answers[child.step] = self._ask(child)
            if not decision.drop and not decision.asks:
                return decision

    def _drop(self, name: str) -> None:
        """Take back what waits; what runs goes on, unless the run was cancelled."""
        if self.states[name].status is TaskStatus.RUNNING and name in self.records and not self.setup.view.cancelled:
            return
        self.tasks.pop(name).cancel()
        self._settle(name, TaskStatus.CANCELLED, None, None, self.states[name].since)

    def _apply(self, decision: Decision) -> None:
        now = self.setup.clock.now()
        for item in decision.settle:
            self._settle(item.step, item.status, item.outputs, item.error, item.since)
        for start in decision.start:
            self.states[start.step] = StepState(TaskStatus.RUNNING, now)
            self.records[start.step] = StepRecord(TaskStatus.RUNNING.value, began_sec=self._seconds(now))
            self.tasks[start.step] = asyncio.create_task(self._work(start))
        for timer in decision.wait:
            self.states[timer.step] = StepState(TaskStatus.RUNNING, now)
            self.tasks[timer.step] = asyncio.create_task(self._wait(timer))
        for child in decision.call:
            self.states[child.step] = StepState(TaskStatus.RUNNING, now)
            self.tasks[child.step] = asyncio.create_task(self._call(child))

    def _settle(
        self,
        step: str,
        status: TaskStatus,
        outputs: Any,
        error: Mapping[str, Any] | None,
        since: datetime | None = None,
    ) -> None:
        self.states[step] = StepState(status, since, outputs, error)
        record = self.records.setdefault(step, StepRecord(status.value))
        record.status, record.outputs, record.error = status.value, outputs, error
        ran, now = status in (TaskStatus.SUCCEEDED, TaskStatus.FAILED), self.setup.clock.now()
        if record.began_sec is None and (since is not None or ran):
            record.began_sec = self._seconds(since or now)
        if ran:
            record.attempts = record.attempts or 1
            record.ended_sec = self._seconds(now)
            self.order.append(step)

    def _seconds(self, moment: datetime) -> float:
        return (moment - self.setup.clock.start) / timedelta(seconds=1)

    # --- what a worker does ----------------------------------------------------------------------------------------

    def _arrive(self, step: str, arrived: Any = None) -> None:
        self.fired[step] = arrived
        self.changed.set()

    async def _wait(self, timer: Timer) -> None:
        result = self._given(timer.step)
        if result is not None and result.failure is None:
            self._arrive(timer.step, {"by": "sandbox", "comment": "", **(result.outputs or {})})
            return
        if timer.until == FOREVER and result is None:
            await asyncio.get_running_loop().create_future()  # nobody decides here: StalledError, unless others move
        delay = (timer.until - self.setup.clock.now()).total_seconds()
        await asyncio.sleep(max(delay, 0))
        while self.setup.clock.now() < timer.until:  # noqa: ASYNC110 - the clock counts microseconds, the loop floats
            await asyncio.sleep(1e-6)
        self._arrive(timer.step)

    def _given(self, step: str) -> Outcome | None:
        """The result that a case gives a step; one for a step with a `foreach` is that of each item."""
        if result := self.setup.given.get(step):
            return result
        item = item_of(step)
        return self.setup.given.get(item[0]) if item else None

    async def _work(self, start: Start) -> None:
        step = start.step
        policy = self.plan.step(step).retry
        record, since = self.records[step], self.states[step].since
        while True:
            record.attempts += 1
            outcome = await self._attempt(start, record.attempts)
            if outcome.failure is None:
                self._settle(step, TaskStatus.SUCCEEDED, outcome.outputs, None, since)
                break
            delay = next_attempt_ms(policy, record.attempts, outcome.failure, self.setup.random)
            if delay is None:
                self._settle(step, TaskStatus.FAILED, None, error_of(step, outcome), since)
                break
            self.states[step] = StepState(TaskStatus.QUEUED, self.setup.clock.now())
            await asyncio.sleep(delay / 1000)
            self.states[step] = StepState(TaskStatus.RUNNING, self.setup.clock.now())
        self.changed.set()

    async def _attempt(self, start: Start, attempt: int) -> Outcome:
        step = start.step
        if result := self._given(step):
            return result
        plan_step = self.plan.step(step)
        step_type = self.setup.types.get(plan_step.type)
        if step_type is None:
            message = f"The step type `{plan_step.type}` is not installed here."
            return Outcome(failure=Failure(message, "unknown_type"))
        view = self.setup.view
        known = {name: self._known(name) for name in start.reads}
        context = task_context(self.plan, view, step, known, attempt, self.setup.clock.now(), start.item)
        if plan_step.reads_secrets:
            context["secrets"] = self.setup.secrets
        call = StepContext(
            run_id=view.id,
            step=step,
            attempt=attempt,
            timeout_sec=plan_step.timeout_sec,
            idempotency_key=f"{view.id}:{step}",
            transport=VettedTransport(self.setup.transport.for_step(step), self.plan.egress),
            mask=self.mask,
        )
        return await execute_step(step_type, plan_step, context, call)

    def _known(self, name: str) -> tuple[str, Any]:
        state = self.states[name]
        return state.status.value, state.error if state.status is TaskStatus.FAILED else state.outputs

    # --- other flows -----------------------------------------------------------------------------------------------

    def _ask(self, child: Child) -> Exception | None:
        """Whether the flow that a step calls can be rehearsed; a step with a given result needs no flow."""
        if self._given(child.step):
            return None
        name = child.call.flow
        called = self.setup.flow(name)
        if called is None:
            return Invalid(f"There is no flow `{name}` here; a mock may give the step a result.", code="no_flow")
        if self.setup.depth >= MAX_DEPTH:
            return Invalid(f"Flows may call each other {MAX_DEPTH} deep, and this is deeper.", code="too_deep")
        try:
            inputs = without_nulls(called.plan.inputs, child.call.inputs)
            self.children[child.step] = (called, check_inputs(called.plan.inputs, inputs))
        except Invalid as error:
            return Invalid(f"The flow `{name}` cannot be started: {error.message}", code="invalid_input")
        return None

    async def _call(self, child: Child) -> None:
        """Rehearse the other flow on the same clock and mocks. What nobody waits for is rehearsed all the same."""
        self.setup.calls.append((child.step, child.call.flow, child.call.inputs))
        id = str(uuid5(UUID(self.setup.view.id), child.step))
        arrived = {"run_id": id, "wait": child.call.wait, "status": None, "outputs": None, "error": None}
        if not child.call.wait:
            self._arrive(child.step, arrived)
        result = self._given(child.step)
        if result is None:
            called, inputs = self.children[child.step]
            setup = replace(self.setup, view=self._child_view(id, called, inputs), given={}, depth=self.setup.depth + 1)
            rehearsal = await rehearse(called.plan, setup)
            arrived |= {"status": rehearsal.status, "outputs": rehearsal.outputs, "error": rehearsal.error}
        elif result.failure is None:
            arrived |= {"status": "SUCCEEDED", "outputs": result.outputs}
        else:
            arrived |= {"status": "FAILED", "error": error_of(child.step, result)}
        if child.call.wait:
            self._arrive(child.step, arrived)

    def _child_view(self, id: str, called: CalledFlow, inputs: Mapping[str, Any]) -> RunView:
        """The run of another flow begins now, for no schedule, with its own variables."""
        return RunView(
            id=id,
            flow=called.plan.flow,
            version=self.setup.view.version,
            attempt=1,
            trigger=Trigger.FLOW,
            scheduled_for=None,
            created_at=self.setup.clock.now(),
            inputs=inputs,
            vars=called.variables,
        )
