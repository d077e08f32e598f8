"""Where every step of a run stands during one advance, and what follows from it without any template.

A scope is a `parallel`, or the run itself (named ""). A failure that nothing contains makes its scopes failing: in
them nothing begins any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from automata.engine.decision import StepState
from automata.engine.states import TaskStatus
from automata.flow.plan import ExecutionPlan, PlanStep, item_name, item_of

RUN = ""

# Identity tests on these are several times cheaper than asking whether a status is in a set: hashing an enum member
# is a Python call, and wide runs ask thousands of times.
_SUCCEEDED, _SKIPPED = TaskStatus.SUCCEEDED, TaskStatus.SKIPPED
_QUEUED, _RUNNING, _FAILED = TaskStatus.QUEUED, TaskStatus.RUNNING, TaskStatus.FAILED


class _Steps(dict[str, PlanStep]):
    """The steps of a plan, and those of items that somebody asked for."""

    __slots__ = ("plan",)

    def __init__(self, plan: ExecutionPlan) -> None:
        super().__init__(plan.steps)
        self.plan = plan

    def __missing__(self, name: str) -> PlanStep:
        step = self[name] = self.plan.step(name)
        return step


class Board:
    """`states` grows as the engine decides. `ended` counts the settled children of each group that has begun.

    `resumed`: steps that may begin in a scope that is failing, and the groups around them.
    `items`: of each `foreach` that has begun, the items that a step was begun for.
    """

    __slots__ = ("active", "ended", "failing", "items", "plan", "resumed", "settled", "states", "steps")

    def __init__(self, plan: ExecutionPlan, states: Mapping[str, StepState], resumed: Iterable[str] = ()) -> None:
        self.plan = plan
        self.steps: Mapping[str, PlanStep] = _Steps(plan) if plan.foreach_ids else plan.steps
        self.items: dict[str, dict[int, None]] = {}
        self.states = dict(states)
        self.active: dict[str, None] = {}
        self.ended: dict[str, int] = {}
        self.failing: set[str] = set()
        self.settled = 0
        self.resumed = {name for step in resumed for name in self._path(step)}
        self._read()

    def _read(self) -> None:
        """One pass over what is stored; a running group has no state of its own, its descendants tell."""
        steps, ended = self.steps, self.ended
        failed: list[str] = []
        for name, state in self.states.items():
            status, parent = state.status, steps[name].parent
            moving = status is _QUEUED or status is _RUNNING
            if parent is not None and (item := item_of(name)):
                self.items.setdefault(parent, {})[item[1]] = None
            if moving:
                self.active[name] = None
            else:
                self.settled += name in self.plan.steps
                if status is _FAILED:
                    failed.append(name)
            if parent is not None:
                ended[parent] = ended.get(parent, 0) + (not moving)
        for group in list(ended):
            self._begin_parents(group)
        for name in failed:
            self.spread(name)

    def _path(self, name: str | None) -> Iterator[str]:
        """A step and the groups around it."""
        while name is not None:
            yield name
            name = self.steps[name].parent

    def _begin_parents(self, name: str) -> None:
        parent = self.steps[name].parent
        while parent is not None and parent not in self.ended:
            self.ended[parent] = 0
            parent = self.steps[parent].parent

    # --- changes ---------------------------------------------------------------------------------------------------

    def settle(self, step: PlanStep, state: StepState) -> None:
        """Give a step its final state, and count it for its group."""
        self.states[step.id] = state
        self.active.pop(step.id, None)
        self.settled += step.id in self.plan.steps
        if step.parent is not None:
            if item := item_of(step.id):
                self.items.setdefault(step.parent, {})[item[1]] = None
            self.ended[step.parent] = self.ended.get(step.parent, 0) + 1

    def begin(self, name: str, state: StepState) -> None:
        """Note that a step is queued or runs."""
        self.states[name] = state
        self.active[name] = None
        if item := item_of(name):
            self.items.setdefault(item[0], {})[item[1]] = None

    def retract(self, name: str) -> None:
        """Take back a `begin` of this very call."""
        del self.states[name]
        del self.active[name]
        if item := item_of(name):
            del self.items[item[0]][item[1]]

    def spread(self, name: str) -> None:
        """Let a FAILED step fail the scopes around it, up to one that contains failures."""
        step = self.steps[name]
        while not step.continue_on_error and step.id != self.plan.on_failure:
            if step.parent is None:
                self.failing.add(RUN)
                return
            self.failing.add(step.parent)
            step = self.steps[step.parent]

    # --- questions -------------------------------------------------------------------------------------------------

    def status(self, name: str) -> TaskStatus | None:
        """None for a step that nothing was decided about."""
        state = self.states.get(name)
        return None if state is None else state.status

    def final(self, name: str) -> bool:
        """Whether a step is settled."""
        return name in self.states and name not in self.active

    def over(self, group: str) -> bool:
        """Whether a group has begun, and all its children are settled, and it is not settled itself.

        Of a `foreach` this cannot be said here: how many items it has is written nowhere but in its list.
        """
        if self.steps[group].foreach:
            return False
        return self.ended.get(group, -1) == len(self.steps[group].children) and group not in self.states

    def waiting(self) -> Iterator[str]:
        """Steps that may begin now as far as order is concerned, in plan order; `on_failure` is not among them."""
        if not self.states:
            yield from self.plan.roots
            return
        handler = self.plan.on_failure
        for name, step in self.plan.steps.items():
            if name not in self.states and name != handler and self.may_begin(step):
                yield name

    def may_begin(self, step: PlanStep) -> bool:
        """Nothing was decided about the step yet, its parent runs, and what it depends on is satisfied."""
        states, ended = self.states, self.ended
        if step.id in states or step.id in ended:
            return False
        if step.parent is not None and (step.parent not in ended or step.parent in states):
            return False
        for dep in step.deps:
            state = states.get(dep)
            if state is None:
                return False
            status = state.status
            if status is not _SUCCEEDED and status is not _SKIPPED and not self._outlived(dep, step):
                return False
        return True

    def _outlived(self, dep: str, step: PlanStep) -> bool:
        """Whether a dependency that did not succeed is satisfied all the same.

        Its failure is contained by itself, or by a settled group around it that `step` stands outside of. Waiting for
        the group matters: until then a CANCELLED step may be the trace of a failure that reaches further.
        """
        if not self.final(dep):
            return False
        before = self.steps[dep]
        status = self.states[dep].status
        if status is _SUCCEEDED or status is _SKIPPED or (status is _FAILED and before.continue_on_error):
            return True
        if before.parent is None:
            return before.id != self.plan.on_failure and self._top(step) == self.plan.on_failure
        return before.parent not in self.around(step) and self._outlived(before.parent, step)

    def blocked(self, step: PlanStep) -> bool:
        """Whether one of the scopes around the step is failing, and nobody asked for the step all the same."""
        return step.id not in self.resumed and any(scope in self.failing for scope in self.around(step))

    def around(self, step: PlanStep) -> Iterator[str]:
        """The scopes around a step, inner ones first. `on_failure` stands outside of the run that failed."""
        while step.parent is not None:
            yield step.parent
            step = self.steps[step.parent]
        if step.id != self.plan.on_failure:
            yield RUN

    def _top(self, step: PlanStep) -> str:
        while step.parent is not None:
            step = self.steps[step.parent]
        return step.id

    def children(self, group: PlanStep) -> Sequence[str]:
        """The steps of a group; of a `foreach` those of the items that were begun, in their order."""
        if group.foreach is None:
            return group.children
        return [item_name(group.id, index) for index in sorted(self.items.get(group.id, ()))]

    def moving(self, group: str) -> int:
        """How many steps of a `foreach` are under way."""
        steps = self.steps
        return sum(steps[name].parent == group for name in self.active)

    def inside(self, group: str) -> Iterator[str]:
        """All descendants of a group, parents first; steps of items are not among them."""
        for child in self.steps[group].children:
            yield child
            yield from self.inside(child)

    def handler(self) -> set[str]:
        """`on_failure` with everything inside of it."""
        name = self.plan.on_failure
        return set() if name is None else {name, *self.inside(name)}

    def handling(self) -> bool:
        """Whether `on_failure` has begun."""
        name = self.plan.on_failure
        return name is not None and (name in self.states or name in self.ended)

    def complete(self) -> bool:
        """Whether every step of the flow proper is settled."""
        handler = self.handler()
        return self.settled - sum(map(self.final, handler)) == len(self.plan.steps) - len(handler)
