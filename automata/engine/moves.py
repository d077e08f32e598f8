"""What one step of a run can do in one advance: begin, wake, be skipped, fail, end its group, begin its items.

Each move changes the board and notes what the decision has to say of it. Whose turn it is, advance.py knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from automata.engine.context import error_of, shaped_error
from automata.engine.decision import Call, Child, Done, Error, InstantRule, RunView, Settled, Start, StepState, Timer
from automata.engine.reading import NeedsError, Reading
from automata.engine.states import TaskStatus
from automata.flow.plan import ExecutionPlan, PlanStep, group_outputs, item_name


class Moves(Reading):
    """`fresh` and `opened` are the steps that this round settled and the groups that it began.

    `going`: steps with a `foreach` whose next items may have to begin. `arrived`: what ended each wait, by step.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        run: RunView,
        states: Mapping[str, StepState],
        now: datetime,
        rules: Mapping[str, InstantRule],
        answers: Mapping[str, Exception | None],
    ) -> None:
        super().__init__(plan, run, states, now)
        self.rules = rules
        self.answers = answers
        self.arrived: Mapping[str, Any] = {}
        self.asks: list[Child] = []
        self.stalled: list[PlanStep] = []
        self.settled: list[Settled] = []
        self.starts: dict[str, Start] = {}
        self.waits: dict[str, Timer] = {}
        self.calls: dict[str, Child] = {}
        self.fresh: list[PlanStep] = []
        self.opened: list[PlanStep] = []
        started = self.board.ended
        self.going = {name: None for name in plan.foreach_ids if name in started and name not in states}

    # --- moves of one step -----------------------------------------------------------------------------------------

    def _guarded(self, move: Any, step: PlanStep) -> None:
        """One step's templates and rules must not take the others down with them."""
        try:
            move(step)
        except NeedsError:
            self.stalled.append(step)
        except Exception as error:
            self._fail(step, error)

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
            self.waits[step.id] = Timer(step.id, answer.until, answer.kind, answer.note)
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
            self.waits[step.id] = Timer(step.id, answer.until, answer.kind, answer.note)

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
        since = state.since if state else self._since(step) or self.now
        self._settle(step, TaskStatus.FAILED, error=error_of(error, step.id), since=since)

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
        """When a group began, as far as the states say: the driver may not have told when settled steps did."""
        states = [self.board.states.get(child) for child in self.board.children(group)]
        return min((state.since for state in states if state and state.since), default=None)

    # --- what is left of a step ---------------------------------------------------------------------------------------

    def _close(self, step: PlanStep) -> None:
        """End what is left of a step when its scope fails: what never ran, and what ran in part, is CANCELLED."""
        if step.id in self.board.states:
            return
        self._cancel_inside(step)
        error = self._failure_inside(step) if step.id in self.board.failing else None
        if error:
            self._settle(step, TaskStatus.FAILED, error=error, since=self._since(step))
        else:
            self._settle(step, TaskStatus.CANCELLED, since=self._since(step))

    def _cancel_inside(self, step: PlanStep) -> None:
        for child in self.board.children(step):
            self._close(self.board.steps[child])

    def _failure_inside(self, group: PlanStep) -> Error | None:
        """The error of the first child, in the order of the file, whose failure is also the group's."""
        for child in self.board.children(group):
            if self.board.status(child) is TaskStatus.FAILED and not self.board.steps[child].continue_on_error:
                return shaped_error(self.board.states[child].error, child)
        return None


_QUEUED = StepState(TaskStatus.QUEUED)
