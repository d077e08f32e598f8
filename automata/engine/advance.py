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
from automata.engine.context import OUTPUTS_NOT_MADE, error_of, task_context
from automata.engine.decision import (
    UNLOADED,
    Decision,
    Done,
    InstantRule,
    RunResult,
    RunView,
    Settled,
    Start,
    StepState,
    Timer,
    WaitUntil,
)
from automata.engine.moves import Moves
from automata.engine.reading import NeedsError
from automata.engine.states import RunStatus, TaskStatus
from automata.flow.plan import ExecutionPlan, PlanStep

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


class _Advance(Moves):
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
        super().__init__(plan, run, states, now, rules, answers)
        self.arrived = fired if isinstance(fired, Mapping) else {}
        self.fired = [name for name in fired if self._is_due(name)] if fired else []
        self.drops: list[str] = []
        self.outputs: Any = None  # the flow's own, once they are made

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
        if board.handling() and RUN not in board.failing:
            self._make_outputs()
            if self.needs:
                return None
        ready = dict.fromkeys(board.waiting())
        over = [group for group in board.ended if board.over(group)]
        for name in self.fired:
            self._guarded(self._wake, self.board.steps[name])
        while True:
            while ready or over or self.fresh or self.going:
                self._round(ready, over)
                ready, over = self._consequences()
            if RUN not in board.failing:
                self._make_outputs()
            if self.needs or self.asks:
                # Whoever stalled goes on with the answers: a handler of the failure would begin here for ever.
                return None
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
        for started in (self.starts, self.waits, self.calls):
            for name in [name for name in started if board.blocked(steps[name])]:
                del started[name]
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
        return {} if handler is None or self.board.handling() else {handler: None}

    # --- ends ------------------------------------------------------------------------------------------------------

    def _end(self) -> RunResult | None:
        board = self.board
        if board.active or self.needs or self.asks:
            return None
        if board.complete():
            return RunResult(RunStatus.SUCCEEDED, self.outputs)
        # Steps that wait for each other never get here from a checked file; a run must end all the same.
        self._close_run()
        message = "The remaining steps wait for each other."
        return RunResult(RunStatus.FAILED, error={"code": "stuck", "message": message, "step": None})

    def _make_outputs(self) -> None:
        """Make the flow's outputs when all steps are settled: where that fails the run does, as by a step.

        Nothing of it is stored while `on_failure` runs: each advance makes them again. What has begun to handle a
        failure is right for good, though what reads the clock might succeed the next time.
        """
        if self.plan.outputs is None or not self.board.complete():
            return
        reads = self.plan.output_reads
        try:
            self._load(reads)
            self.outputs = self.plan.outputs.render(self._context(None, reads))
            self.outputs_error = OUTPUTS_NOT_MADE if self.board.handling() else None
        except NeedsError:
            return
        except Exception as error:
            self.outputs_error = error_of(error, None)
        if self.outputs_error:
            self.board.failing.add(RUN)

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
                self._settle(step, TaskStatus.CANCELLED, since=self._since(step))
        return self._decision(RunResult(RunStatus.CANCELLED))
