"""What the templates of one advance read, and what has to be fetched before they can."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from automata.engine.board import Board
from automata.engine.context import add_failure, ambient, base_context, first_failure, in_failure_handler, shaped_error
from automata.engine.decision import UNLOADED, Error, RunView, StepState
from automata.engine.states import TaskStatus
from automata.errors import Invalid
from automata.flow.model import MAX_ITEMS
from automata.flow.plan import ExecutionPlan, PlanStep, item_of, step_context
from automata.flow.template import AMBIENT_KEY


class NeedsError(Exception):
    """Outputs are missing; what they are was noted."""


class Reading:
    """`needs`: the steps whose outputs were asked for and are not there."""

    def __init__(self, plan: ExecutionPlan, run: RunView, states: Mapping[str, StepState], now: datetime) -> None:
        self.plan = plan
        self.run = run
        self.now = now
        self.board = Board(plan, states, run.resumed)
        self.needs: set[str] = set()
        self.outputs_error: Error | None = None  # why the flow's outputs cannot be made
        self._shared: dict[str, Any] | None = None
        self._lists: dict[str, list[Any]] = {}

    def _load(self, reads: Collection[str]) -> None:
        """Note which of these outputs are missing. A step without them waits for the next call."""
        if reads and (missing := list(self._missing(reads))):
            self.needs.update(missing)
            raise NeedsError

    def _missing(self, reads: Iterable[str]) -> Iterator[str]:
        states, steps = self.board.states, self.board.steps
        for name in reads:
            state = states.get(name)
            if state is not None and state.outputs is UNLOADED and state.status is TaskStatus.SUCCEEDED:
                step = steps[name]
                # A `parallel` without outputs has those of its steps.
                if not step.branches or step.outputs is not None:
                    yield name

    def _known(self, reads: Iterable[str]) -> dict[str, tuple[str, Any]]:
        states = self.board.states
        return {name: (state.status.value, state.outputs) for name in reads if (state := states.get(name))}

    def _context(self, step: PlanStep | None, reads: Collection[str]) -> dict[str, Any]:
        if self._shared is None:
            self._shared = base_context(self.run)
        context = dict(self._shared)
        context["steps"] = step_context(self.plan, reads, self._known(reads)) if reads else {}
        context[AMBIENT_KEY] = ambient(self.run.id, step.id if step else "", self.run.attempt, self.now)
        if step is not None and (item := self._item(step)):
            context["index"], context["item"] = item
        if step is not None and self._handles_failure(step):
            add_failure(context, self._failure())
        return context

    def _reads(self, step: PlanStep) -> tuple[str, ...]:
        """What a worker must be given; in `on_failure` also the row of the failure that it handles, or what the outputs
        that could not be made are made of."""
        reads = step.reads
        if self._handles_failure(step):
            reads = reads | (self.plan.output_reads if self.outputs_error else {self._first_failed()})
        return tuple(sorted(reads)) if reads else ()

    def _handles_failure(self, step: PlanStep) -> bool:
        return self.plan.on_failure is not None and in_failure_handler(self.plan, step)

    def _first_failed(self) -> str:
        failed = (name for name, state in self.board.states.items() if state.status is TaskStatus.FAILED)
        first = first_failure(self.plan, failed)
        assert first is not None, "a run fails by a step"
        return first

    def _failure(self) -> Error:
        if self.outputs_error:
            return self.outputs_error
        name = self._first_failed()
        return shaped_error(self.board.states[name].error, name)

    # --- steps with a `foreach` ------------------------------------------------------------------------------------

    def _items(self, step: PlanStep) -> list[Any]:
        """Raises Invalid for what is no list, or one that is too long."""
        known = self._lists.get(step.id)
        if known is None and step.foreach:
            self._load(step.foreach.reads)
            known = step.foreach.items.render(self._context(step, step.foreach.reads))
            if not isinstance(known, list):
                raise Invalid(f"`foreach` gave {_kind(known)}, not a list.", code="foreach_not_a_list")
            if len(known) > MAX_ITEMS:
                raise Invalid(f"`foreach` gave {len(known)} items; {MAX_ITEMS} is the most.", code="foreach_too_long")
            self._lists[step.id] = known
        return known or []

    def _item(self, step: PlanStep) -> tuple[int, Any] | None:
        """(index, value) of a step of an item."""
        name = item_of(step.id)
        if name is None:
            return None
        parent, index = name
        return index, self._items(self.board.steps[parent])[index]


def _kind(value: Any) -> str:
    names = {dict: "an object", str: "a text", type(None): "nothing", bool: "true or false"}
    return names.get(type(value), "a number")
