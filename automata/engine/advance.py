"""What happens next in one run: Plan + states + what fired -> a Decision. Pure, and the same from any stored state.

The order of thought: what fired is settled; what may begin begins, and what that settles lets others begin, until
nothing changes; failing scopes are cleared; groups that are over are closed; then the run is over, or it waits.
Nothing is remembered between calls, so asking twice gives the same answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from automata.engine.board import RUN, Board
from automata.engine.context import (
    add_failure,
    ambient,
    base_context,
    first_failure,
    in_failure_handler,
    shaped_error,
    task_context,
)
from automata.engine.decision import (
    UNLOADED,
    Decision,
    Done,
    Error,
    InstantRule,
    RunResult,
    RunView,
    Settled,
    Start,
    StepState,
    Timer,
    WaitUntil,
)
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import Invalid
from automata.flow.compile import Plan, PlanStep, group_outputs, step_context
from automata.flow.template import AMBIENT_KEY, TemplateError

__all__ = [
    "UNLOADED",
    "Decision",
    "Done",
    "InstantRule",
    "RunResult",
    "RunView",
    "Settled",
    "Start",
    "StepState",
    "Timer",
    "WaitUntil",
    "advance",
    "task_context",
]

_QUEUED, _RUNNING = TaskStatus.QUEUED, TaskStatus.RUNNING
_SUCCEEDED, _FAILED = TaskStatus.SUCCEEDED, TaskStatus.FAILED
_SKIPPED, _CANCELLED = TaskStatus.SKIPPED, TaskStatus.CANCELLED


def advance(
    plan: Plan,
    run: RunView,
    states: Mapping[str, StepState],
    fired: Collection[str],
    now: datetime,
    rules: Mapping[str, InstantRule],
) -> Decision:
    """Decide everything that can be decided now.

    `states` holds final states as stored, QUEUED for work that nobody has claimed (a waiting retry too), RUNNING for
    claimed work and timers. `fired` names timers whose time has come; they stand in `states` as RUNNING. A `parallel`
    that runs has no state: its descendants tell. See Decision for what the caller does with the answer.
    """
    return _Advance(plan, run, states, now, rules).decide(fired)


class _NeedsError(Exception):
    """Outputs that a template reads are not loaded; raised inside one step, collected over all."""

    def __init__(self, steps: Iterable[str]) -> None:
        self.steps = frozenset(steps)


class _Advance:
    def __init__(
        self,
        plan: Plan,
        run: RunView,
        states: Mapping[str, StepState],
        now: datetime,
        rules: Mapping[str, InstantRule],
    ) -> None:
        self.plan = plan
        self.run = run
        self.now = now
        self.rules = rules
        self.board = Board(plan, states)
        self.ready: deque[str] = deque()
        self.needs: set[str] = set()
        self.start: list[Start] = []
        self.wait: list[Timer] = []
        self.settled: list[Settled] = []
        self._base: dict[str, Any] | None = None

    def decide(self, fired: Collection[str]) -> Decision:
        if self.run.cancelled:
            return self._cancel(fired)
        for name in fired:
            self._attempt(name, self._wake)
        self.ready.extend(self.board.waiting())
        for group in list(self.board.ended):
            self._close_if_over(group)
        self._settle_down()
        result = self._finish()
        if self.needs:
            return Decision(needs=frozenset(self.needs))
        if drop := self._to_drop():
            return Decision(drop=drop)
        return Decision(start=tuple(self.start), wait=tuple(self.wait), settle=tuple(self.settled), result=result)

    # --- beginning -------------------------------------------------------------------------------------------------

    def _settle_down(self) -> None:
        """To the fixpoint: begin what may begin, then clear what a failure has closed off."""
        while True:
            while self.ready:
                name = self.ready.popleft()
                step = self.plan.steps[name]
                if self.board.may_begin(step) and not self.board.blocked(step):
                    self._attempt(name, self._begin)
            if not self.board.failing or not self._clear_failing():
                return

    def _attempt(self, name: str, what: Any) -> None:
        step = self.plan.steps[name]
        try:
            what(step)
        except _NeedsError as error:
            self.needs |= error.steps
        except Invalid as error:
            self._fail(step, error)

    def _begin(self, step: PlanStep) -> None:
        if step.condition is not None and not step.condition.render(self._context(step, step.condition_reads)):
            self._skip(step)
        elif step.kind == "work":
            self._queue(step)
        elif step.kind == "group":
            self.board.ended.setdefault(step.id, 0)
            self.ready.extend(step.children)
        else:
            self._instant(step)

    def _queue(self, step: PlanStep) -> None:
        reads = set(step.reads)
        if step.id == self.plan.on_failure or in_failure_handler(self.plan, step):
            # Its context names the error, which is in the failed step's row.
            reads |= {failed} if (failed := self._first_failure()) else set()
        known = tuple(sorted(name for name in reads if self.board.final(name)))
        self.start.append(Start(step.id, known))
        self.board.begin(step.id, StepState(_QUEUED, self.now))

    def _instant(self, step: PlanStep) -> None:
        rule = self.rules[step.type]
        config = step.config.render(self._context(step, step.reads))
        begun = rule.begin(config, self.now)
        if isinstance(begun, WaitUntil) and begun.until <= self.now:
            begun = rule.wake(self.now, self.now)
        if isinstance(begun, Done):
            self._succeed(step, begun.result, self.now)
        else:
            self.wait.append(Timer(step.id, begun.until))
            self.board.begin(step.id, StepState(_RUNNING, self.now))

    def _wake(self, step: PlanStep) -> None:
        state = self.board.states.get(step.id)
        if state is None or self.board.final(step.id):
            return
        since = state.since or self.now
        self._succeed(step, self.rules[step.type].wake(since, self.now).result, since)

    def _skip(self, step: PlanStep) -> None:
        # The group first: settled children of a group that has no state would look like one that is over.
        self._settle(step, _SKIPPED)
        for name in self.board.inside(step.id):
            self._settle(self.plan.steps[name], _SKIPPED)

    # --- ending ----------------------------------------------------------------------------------------------------

    def _succeed(self, step: PlanStep, result: Any, since: datetime | None) -> None:
        outputs = result
        if step.outputs is not None:
            outputs = step.outputs.render(self._context(step, step.reads) | {"result": result})
        self._settle(step, _SUCCEEDED, outputs, None, since)

    def _fail(self, step: PlanStep, error: Invalid) -> None:
        code = "template_error" if isinstance(error, TemplateError) else error.code
        reason = {"code": code, "message": str(error), "step": step.id}
        begun = step.kind != "group" or step.id in self.board.ended
        since = state.since if (state := self.board.states.get(step.id)) else self.now
        # Spread first: settling may close the group around the step, which must know by then that it failed.
        self.board.spread(step.id)
        self._settle(step, _FAILED, None, reason, since)
        if not begun:
            for name in self.board.inside(step.id):
                self._settle(self.plan.steps[name], _CANCELLED)

    def _settle(
        self,
        step: PlanStep,
        status: TaskStatus,
        outputs: Any = None,
        error: Error | None = None,
        since: datetime | None = None,
    ) -> None:
        self.board.settle(step, StepState(status, since, outputs, error))
        self.settled.append(Settled(step.id, status, outputs, error, since))
        self.ready.extend(step.dependents)
        if step.kind == "group" and status is not _SUCCEEDED:
            # What waits for a step inside of a group that failed may go on once the group has contained the failure.
            for name in self.board.inside(step.id):
                self.ready.extend(self.plan.steps[name].dependents)
        if step.parent is not None:
            self._close_if_over(step.parent)

    def _close_if_over(self, group: str) -> None:
        if self.board.over(group):
            self._attempt(group, self._close)

    def _close(self, step: PlanStep) -> None:
        children = [self.board.states[name] for name in step.children]
        if step.id in self.board.failing:
            failed = next(state for state in self._failed_inside(step))
            self._settle(step, _FAILED, None, failed.error)
        elif any(state.status is _CANCELLED for state in children):
            self._settle(step, _CANCELLED)
        elif step.outputs is None:
            self._settle(step, _SUCCEEDED)
        else:
            inside = list(self.board.inside(step.id))
            known = self._known(inside)
            self._succeed(step, group_outputs(self.plan, step.id, known), None)

    def _failed_inside(self, step: PlanStep) -> Iterable[StepState]:
        """The failures that made a group fail, in plan order; a group's own error is its first child's."""
        for name in step.children:
            if self.board.status(name) is _FAILED and not self.plan.steps[name].continue_on_error:
                yield self.board.states[name]

    # --- failing ---------------------------------------------------------------------------------------------------

    def _clear_failing(self) -> bool:
        """Settle what nobody will begin any more; True when something was settled."""
        before = len(self.settled)
        self._retract()
        ended, states = self.board.ended, self.board.states
        for name, step in self.plan.steps.items():
            if name not in states and name not in ended and name != self.plan.on_failure and self.board.blocked(step):
                self._settle(step, _CANCELLED)
        return len(self.settled) > before

    def _retract(self) -> None:
        """Take back what this very call began before it learned of the failure: nobody has heard of it yet."""
        for begun in (self.start, self.wait):
            for item in [item for item in begun if self.board.blocked(self.plan.steps[item.step])]:
                begun.remove(item)  # type: ignore[arg-type]
                self.board.retract(item.step)

    def _to_drop(self) -> tuple[str, ...]:
        """Queued work and timers inside of failing scopes."""
        if not self.board.failing:
            return ()
        return tuple(
            name
            for name in self.board.active
            if self._can_be_taken_back(name) and self.board.blocked(self.plan.steps[name])
        )

    def _can_be_taken_back(self, name: str) -> bool:
        return self.board.status(name) is _QUEUED or self.plan.steps[name].kind == "timer"

    def _cancel(self, fired: Collection[str]) -> Decision:
        """End everything. The caller takes back even what runs; what ended meanwhile keeps its result."""
        if drop := tuple(name for name in self.board.active if name not in fired):
            return Decision(drop=drop)
        handler = self.board.handler()
        for name, step in self.plan.steps.items():
            if not self.board.final(name) and (name not in handler or name in self.board.states):
                self.board.settle(step, StepState(_CANCELLED))
                self.settled.append(Settled(name, _CANCELLED))
        error = {"code": "cancelled", "message": "The run was cancelled.", "step": None}
        return Decision(settle=tuple(self.settled), result=RunResult(RunStatus.CANCELLED, None, error))

    # --- the run ---------------------------------------------------------------------------------------------------

    def _finish(self) -> RunResult | None:
        handler = self.board.handler()
        ended = sum(1 for name in handler if self.board.final(name))
        if self.board.settled - ended < len(self.plan.steps) - len(handler):
            return None
        if RUN in self.board.failing:
            return self._finish_failed()
        return None if self.needs or self.board.active else self._finish_succeeded()

    def _finish_failed(self) -> RunResult | None:
        name = self.plan.on_failure
        if name is not None and name not in self.board.states and name not in self.board.ended:
            self._attempt(name, self._begin)
            self._settle_down()
        if name is not None and not self.board.final(name):
            return None
        return RunResult(RunStatus.FAILED, None, self._error())

    def _finish_succeeded(self) -> RunResult | None:
        if self.plan.outputs is None:
            return RunResult(RunStatus.SUCCEEDED)
        try:
            context = self._shared() | {"steps": step_context(self.plan, *self._read(self.plan.output_reads))}
            context[AMBIENT_KEY] = ambient(self.run.id, "", self.run.attempt, self.now)
            return RunResult(RunStatus.SUCCEEDED, self.plan.outputs.render(context))
        except _NeedsError as error:
            self.needs |= error.steps
            return None
        except Invalid as error:
            reason = {"code": "template_error", "message": str(error), "step": None}
            return RunResult(RunStatus.FAILED, None, reason)

    def _first_failure(self) -> str | None:
        return first_failure(self.plan, (name for name, state in self.board.states.items() if state.status is _FAILED))

    def _error(self) -> dict[str, Any]:
        failed = self._first_failure()
        return shaped_error(self.board.states[failed].error if failed else None, failed or "")

    # --- contexts --------------------------------------------------------------------------------------------------

    def _shared(self) -> dict[str, Any]:
        if self._base is None:
            self._base = base_context(self.run)
        return dict(self._base)

    def _context(self, step: PlanStep, reads: frozenset[str]) -> dict[str, Any]:
        context = self._shared()
        context["steps"] = step_context(self.plan, *self._read(reads)) if reads else {}
        context[AMBIENT_KEY] = ambient(self.run.id, step.id, 1, self.now)
        if in_failure_handler(self.plan, step):
            add_failure(context, self._error())
        return context

    def _read(self, reads: Iterable[str]) -> tuple[list[str], dict[str, tuple[str, Any]]]:
        names = [name for name in reads if self.board.final(name)]
        return names, self._known(names)

    def _known(self, names: Iterable[str]) -> dict[str, tuple[str, Any]]:
        """(status, outputs) of settled steps; raises _NeedsError for what must be loaded first."""
        states, steps = self.board.states, self.plan.steps
        known: dict[str, tuple[str, Any]] = {}
        missing = []
        for name in names:
            state = states[name]
            derived = steps[name].kind == "group" and steps[name].outputs is None
            if state.status is _SUCCEEDED and state.outputs is UNLOADED and not derived:
                missing.append(name)
            known[name] = (state.status, state.outputs)
        if missing:
            raise _NeedsError(missing)
        return known
