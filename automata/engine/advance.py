"""What happens next in a run: a pure function of the plan, the stored states and the time.

It goes in rounds. A round decides every step that may begin, as things stood when the round began; what it settles
decides who may begin in the next one, until nothing moves. So the order in which steps are written never matters: of
two transforms that may begin together, one that fails does not keep the other from being decided. Nothing is
remembered between calls. Everything derived (groups that run, scopes that fail) follows from the states alone, so a
process that dies between two calls costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from automata.engine.board import RUN
from automata.engine.context import (
    shaped_error,
    task_context,
)
from automata.engine.decision import (
    UNLOADED,
    Call,
    Child,
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
from automata.engine.reading import NeedsError, Reading
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import Invalid
from automata.flow.compile import ExecutionPlan, PlanStep, group_outputs, item_name
from automata.flow.template import TemplateError

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


def advance(
    plan: ExecutionPlan,
    run: RunView,
    states: Mapping[str, StepState],
    fired: Collection[str] | Mapping[str, Any],
    now: datetime,
    rules: Mapping[str, InstantRule],
    answers: Mapping[str, Exception | None] | None = None,
) -> Decision:
    """Decide everything that can be decided.

    `states`: final ones of settled steps; QUEUED or RUNNING for work that is in the queue and for timers that wait.
    A `parallel` that runs has none. `fired`: timers that were due, as a mapping with what arrived for each; other
    names in it mean nothing. `rules` by step type. `answers` are those to what the last call asked. Does not raise
    for anything that a flow or its data can do: a step or the run fails instead.
    """
    return _Advance(plan, run, states, fired, now, rules, answers or {}).decide()


class _Advance(Reading):
    def __init__(
        self,
        plan: ExecutionPlan,
        run: RunView,
        states: Mapping[str, StepState],
        fired: Collection[str] | Mapping[str, Any],
        now: datetime,
        rules: Mapping[str, InstantRule],
        answers: Mapping[str, Exception | None],
    ) -> None:
        super().__init__(plan, run, states, now)
        self.rules = rules
        self.answers = answers
        self.arrived: Mapping[str, Any] = fired if isinstance(fired, Mapping) else {}
        self.fired = [name for name in fired if self._is_due(name)] if fired else []
        self.asks: list[Child] = []
        self.stalled: list[PlanStep] = []
        self.settled: list[Settled] = []
        self.starts: dict[str, Start] = {}
        self.waits: dict[str, Timer] = {}
        self.calls: dict[str, Child] = {}
        self.drops: list[str] = []
        self.fresh: list[PlanStep] = []
        self.opened: list[PlanStep] = []
        started = self.board.ended
        self.going = {name: None for name in plan.foreach_ids if name in started and name not in states}

    def decide(self) -> Decision:
        if self.run.cancelled:
            return self._cancel()
        result = self._settle_all()
        if self.needs or self.asks:
            self._foresee()
            return Decision(needs=frozenset(self.needs), asks=tuple(self.asks))
        if self.drops:
            return Decision(drop=tuple(self.drops))
        return self._decision(result)

    def _decision(self, result: RunResult | None) -> Decision:
        return Decision(
            start=tuple(self.starts.values()),
            wait=tuple(self.waits.values()),
            call=tuple(self.calls.values()),
            settle=tuple(self.settled),
            result=result,
        )

    def _is_due(self, name: str) -> bool:
        """A driver may have taken the timer's row away already, so a timer without a state counts as waiting."""
        try:
            step = self.board.steps[name]
        except KeyError:
            return False
        return step.kind == "timer" and not self.board.final(name)

    def _foresee(self) -> None:
        """Also ask for what the steps after the stalled ones will read: one more name is cheaper than one more trip."""
        seen: set[str] = set()
        stack = list(self.stalled)
        while stack:
            step = stack.pop()
            if step.id in seen:
                continue
            seen.add(step.id)
            self.needs.update(self._missing(step.condition_reads))
            if step.kind != "work":
                self.needs.update(self._missing(step.reads))
                nearby = (*step.dependents, *self.board.children(step), *((step.parent,) if step.parent else ()))
                stack.extend(self.board.steps[name] for name in nearby)
        if not self.board.active:
            self.needs.update(self._missing(self.plan.output_reads))

    # --- rounds ----------------------------------------------------------------------------------------------------

    def _settle_all(self) -> RunResult | None:
        board = self.board
        ready = dict.fromkeys(board.waiting())
        over = [group for group in board.ended if board.over(group)]
        for name in self.fired:
            self._guarded(self._wake, self.board.steps[name])
        while True:
            while ready or over or self.fresh or self.going:
                self._round(ready, over)
                ready, over = self._consequences()
            if not board.failing:
                return self._end()
            if not (ready := self._close_scopes()) and not self.fresh:
                return self._end_failed()

    def _round(self, ready: Iterable[str], over: Iterable[str]) -> None:
        board, steps = self.board, self.board.steps
        for name in over:
            self._guarded(self._finish_group, steps[name])
        for name in ready:
            step = steps[name]
            if not board.failing or not board.blocked(step):
                self._guarded(self._begin, step)
        going, self.going = self.going, {}
        for name in going:
            self._guarded(self._go_on, steps[name])

    def _guarded(self, move: Any, step: PlanStep) -> None:
        """One step's templates and rules must not take the others down with them."""
        try:
            move(step)
        except NeedsError:
            self.stalled.append(step)
        except Exception as error:
            self._fail(step, error)

    def _consequences(self) -> tuple[dict[str, None], list[str]]:
        """What may begin and which groups are over, now that this round's changes count."""
        board, steps = self.board, self.board.steps
        changed, self.fresh = self.fresh, []
        opened, self.opened = self.opened, []
        over: dict[str, None] = {}
        for step in changed:
            if step.parent is not None:
                if board.over(step.parent):
                    over[step.parent] = None
                elif steps[step.parent].foreach:
                    self.going[step.parent] = None
            if board.status(step.id) is TaskStatus.FAILED:
                board.spread(step.id)
        following = (name for step in changed for name in self._followers(step))
        children = (name for step in opened for name in step.children)
        ready = {name: None for names in (following, children) for name in names if board.may_begin(steps[name])}
        return ready, list(over)

    def _followers(self, step: PlanStep) -> Iterator[str]:
        yield from step.dependents
        if step.kind == "group":  # what waited for a step inside may have waited for the group to contain its failure
            for name in self.board.inside(step.id):
                yield from self.board.steps[name].dependents

    # --- moves of one step -----------------------------------------------------------------------------------------

    def _begin(self, step: PlanStep) -> None:
        if step.condition is not None:
            self._load(step.condition_reads)
            if not step.condition.render(self._context(step, step.condition_reads)):
                self._skip(step)
                return
        if step.kind == "work":
            self.board.begin(step.id, _QUEUED)
            self.starts[step.id] = Start(step.id, self._reads(step), self._item(step))
        elif step.foreach:
            self._items(step)
            self.board.ended[step.id] = 0
            self.going[step.id] = None
        elif step.kind == "group":
            self.board.ended[step.id] = 0
            self.opened.append(step)
        else:
            self._begin_instant(step)

    def _begin_instant(self, step: PlanStep) -> None:
        self._load(step.reads)
        config = step.config.render(self._context(step, step.reads))
        answer = self.rules[step.type].begin(config, self.now)
        if isinstance(answer, Done):
            self._succeed(step, answer.result, self.now)
            return
        if isinstance(answer, Call):
            self._ask(Child(step.id, answer))
        else:
            self.waits[step.id] = Timer(step.id, answer.until, answer.note)
        self.board.begin(step.id, StepState(TaskStatus.RUNNING, self.now))

    def _ask(self, child: Child) -> None:
        """Whether a run can be written is not for us to know: the driver looks, and calls again with the answer."""
        if child.step not in self.answers:
            self.asks.append(child)
            raise NeedsError
        if error := self.answers[child.step]:
            raise error
        self.calls[child.step] = child

    def _wake(self, step: PlanStep) -> None:
        self._load(step.reads)
        state = self.board.states.get(step.id)
        since = (state.since if state else None) or self.now
        answer = self.rules[step.type].wake(since, self.now, self.arrived.get(step.id))
        if isinstance(answer, Done):
            self._succeed(step, answer.result, since)
        else:  # it rang too early: what it waits for has not come
            self.board.begin(step.id, StepState(TaskStatus.RUNNING, since))
            self.waits[step.id] = Timer(step.id, answer.until)

    def _succeed(self, step: PlanStep, result: Any, since: datetime | None) -> None:
        outputs = result
        if step.outputs is not None:
            outputs = step.outputs.render({**self._context(step, step.reads), "result": result})
        self._settle(step, TaskStatus.SUCCEEDED, outputs, since=since)

    def _skip(self, step: PlanStep) -> None:
        for name in (step.id, *self.board.inside(step.id)):
            self._settle(self.board.steps[name], TaskStatus.SKIPPED)

    def _fail(self, step: PlanStep, error: Exception) -> None:
        self._cancel_inside(step)
        state = self.board.states.get(step.id)
        since = state.since if state else self.now
        self._settle(step, TaskStatus.FAILED, error=_error(error, step.id), since=since)

    def _finish_group(self, step: PlanStep) -> None:
        """All children are settled: their failure is the group's, and a CANCELLED one leaves nothing to succeed."""
        statuses = [self.board.status(child) for child in self.board.children(step)]
        if TaskStatus.FAILED in statuses and (error := self._failure_inside(step)):
            self._settle(step, TaskStatus.FAILED, error=error, since=self._since(step))
        elif TaskStatus.CANCELLED in statuses:
            self._settle(step, TaskStatus.CANCELLED, since=self._since(step))
        elif step.foreach:
            self._settle(step, TaskStatus.SUCCEEDED, self._gathered(step), since=self._since(step))
        elif step.outputs is None:
            self._settle(step, TaskStatus.SUCCEEDED, since=self._since(step))
        else:
            inside = frozenset(self.board.inside(step.id))
            self._load(inside)
            self._succeed(step, group_outputs(self.plan, step.id, self._known(inside)), self._since(step))

    # --- steps with a `foreach` ------------------------------------------------------------------------------------

    def _go_on(self, step: PlanStep) -> None:
        """Begin further items, or end the step when there are none.

        The list is not stored: it is made again from what it was made of, which does not change. With no limit all
        items begin at once, so while one of them moves there is nothing to do, and nothing to be read.
        """
        board, each = self.board, step.foreach
        if each is None or step.id in board.states:
            return
        moving = board.moving(step.id)
        if moving and each.max_parallel is None:
            return
        items = self._items(step)
        begun = board.items.setdefault(step.id, {})
        room = len(items) if each.max_parallel is None or each.body.kind == "instant" else each.max_parallel - moving
        for index in range(len(items)):
            if room <= 0:
                break
            if index in begun:
                continue
            item = board.steps[item_name(step.id, index)]
            if not board.failing or not board.blocked(item):
                self._guarded(self._begin, item)
                room -= 1
        if board.ended[step.id] >= len(items):
            self._finish_group(step)

    def _gathered(self, step: PlanStep) -> list[Any]:
        """The outputs of all items in order; null for one that was skipped, or failed under `continue_on_error`."""
        children = self.board.children(step)
        succeeded = [name for name in children if self.board.status(name) is TaskStatus.SUCCEEDED]
        self._load(succeeded)
        done = set(succeeded)
        return [self.board.states[name].outputs if name in done else None for name in children]

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
        self.fresh.append(step)

    def _since(self, group: PlanStep) -> datetime | None:
        states = self.board.states
        children = self.board.children(group)
        return min((since for child in children if (since := states[child].since)), default=None)

    # --- scopes that fail ------------------------------------------------------------------------------------------

    def _close_scopes(self) -> dict[str, None]:
        """Take back what waits in failing scopes and end those where nothing runs; gives what may begin then."""
        board = self.board
        self._retract()
        held = self._held()
        if RUN in board.failing and RUN not in held:
            return self._close_run()
        for name in [name for name in board.ended if name in board.failing and name not in held]:
            self._close(self.board.steps[name])
        return {}

    def _retract(self) -> None:
        """What this very call was about to start is as if it had never been asked for."""
        board, steps = self.board, self.board.steps
        for made in (self.starts, self.waits, self.calls):
            for name in [name for name in made if board.blocked(steps[name])]:
                del made[name]
                board.retract(name)

    def _held(self) -> set[str]:
        """Failing scopes in which something is active; what need not be waited for is noted as a drop."""
        board = self.board
        held: set[str] = set()
        self.drops = []
        for name in board.active:
            step = self.board.steps[name]
            scopes = [scope for scope in board.around(step) if scope in board.failing]
            idle = step.kind == "timer" or board.status(name) is TaskStatus.QUEUED
            if scopes and idle and name not in board.resumed:
                self.drops.append(name)
            held.update(scopes)
        return held

    def _close_run(self) -> dict[str, None]:
        handler = self.plan.on_failure
        for step in self.plan.steps.values():
            if step.parent is None and step.id != handler:
                self._close(step)
        begun = handler is None or handler in self.board.states or handler in self.board.ended
        return {} if handler is None or begun else {handler: None}

    def _close(self, step: PlanStep) -> None:
        """End what is left of a step when its scope fails: what never ran, and what ran in part, is CANCELLED."""
        if step.id in self.board.states:
            return
        self._cancel_inside(step)
        error = self._failure_inside(step) if step.id in self.board.failing else None
        if error:
            self._settle(step, TaskStatus.FAILED, error=error, since=self._since(step))
        else:
            self._settle(step, TaskStatus.CANCELLED)

    def _cancel_inside(self, step: PlanStep) -> None:
        for child in self.board.children(step):
            self._close(self.board.steps[child])

    def _failure_inside(self, group: PlanStep) -> Error | None:
        """The error of the first child, in the order of the file, whose failure is also the group's."""
        for child in self.board.children(group):
            if self.board.status(child) is TaskStatus.FAILED and not self.board.steps[child].continue_on_error:
                return shaped_error(self.board.states[child].error, child)
        return None

    # --- ends ------------------------------------------------------------------------------------------------------

    def _end(self) -> RunResult | None:
        board = self.board
        if board.complete():
            return self._success()
        if board.active or self.needs or self.asks:
            return None
        # Steps that wait for each other never get here from a checked file; a run must end all the same.
        self._close_run()
        message = "The remaining steps wait for each other."
        return RunResult(RunStatus.FAILED, error={"code": "stuck", "message": message, "step": None})

    def _success(self) -> RunResult | None:
        plan = self.plan
        if plan.outputs is None:
            return RunResult(RunStatus.SUCCEEDED)
        try:
            self._load(plan.output_reads)
            return RunResult(RunStatus.SUCCEEDED, plan.outputs.render(self._context(None, plan.output_reads)))
        except NeedsError:
            return None
        except Exception as error:
            return RunResult(RunStatus.FAILED, error=_error(error, None))

    def _end_failed(self) -> RunResult | None:
        """A run that fails ends when nothing is active and its `on_failure`, if it has one, is settled."""
        board, handler = self.board, self.plan.on_failure
        if RUN not in board.failing or board.active or (handler is not None and handler not in board.states):
            return self._end() if RUN not in board.failing else None
        return RunResult(RunStatus.FAILED, error=self._failure())

    def _cancel(self) -> Decision:
        """Take everything back, also what runs; when nothing is left, the rest is CANCELLED and so is the run.

        A timer that fired has no row any more that could be taken back: it is part of the rest.
        """
        board, handler = self.board, self.plan.on_failure
        if active := tuple(name for name in board.active if name not in self.fired):
            return Decision(drop=active)
        for name in self.fired:
            if name not in board.states:
                board.begin(name, StepState(TaskStatus.RUNNING, self.now))
        unused = board.handler() if handler not in board.states and handler not in board.ended else ()
        for step in self.plan.steps.values():
            if step.id not in unused and not board.final(step.id):
                self._settle(step, TaskStatus.CANCELLED)
        return self._decision(RunResult(RunStatus.CANCELLED))


_QUEUED = StepState(TaskStatus.QUEUED)


def _error(error: Exception, step: str | None) -> dict[str, Any]:
    code = "step_crashed"
    if isinstance(error, TemplateError):
        code = "template_error"
    elif isinstance(error, Invalid):
        code = error.code
    message = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
    return {"code": code, "message": message, "step": step}
