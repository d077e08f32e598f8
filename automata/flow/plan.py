"""A compiled flow: every step under its full id, what waits for what, and what templates read.

`step_context` and `group_outputs` give templates the outputs of the steps that they read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from automata.flow.model import Egress, Input, Recording, RetryPolicy
from automata.flow.steptypes import StepKind
from automata.flow.template import CompiledTemplate

Ids = tuple[str, ...]

_NOTHING: frozenset[str] = frozenset()
MAX_ITEM_STEPS = 20_000  # steps of items that a plan remembers: each turn of a wide run asks for all of them


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step; all ids are full ids. `deps` must be settled and the parent running before it may start.

    `secrets` are the names that its templates read, None when one of them is computed or all are read.
    """

    id: str
    short: str
    type: str
    kind: StepKind
    deps: Ids
    dependents: Ids
    parent: str | None
    branches: tuple[tuple[str, Ids], ...]
    children: Ids
    condition: CompiledTemplate | None
    condition_reads: frozenset[str]
    config: CompiledTemplate
    outputs: CompiledTemplate | None
    reads: frozenset[str]
    reads_secrets: bool
    retry: RetryPolicy
    timeout_sec: float
    continue_on_error: bool
    queue: str
    foreach: Foreach | None = None
    secrets: frozenset[str] | None = _NOTHING


@dataclass(frozen=True, slots=True)
class Foreach:
    """`foreach` of a step, which then is a group; its children are made when the list is known, one an item.

    `body`: what a child is like. `most`: so many at a time; None: all.
    """

    items: CompiledTemplate
    reads: frozenset[str]
    body: PlanStep
    max_parallel: int | None


def item_of(name: str) -> tuple[str, int] | None:
    """`load[3]` -> (`load`, 3), None for what is not a step of an item."""
    if name[-1:] != "]":
        return None
    step, _, index = name[:-1].rpartition("[")
    return step, int(index)


def item_name(step: str, index: int) -> str:
    """The full id of a step of an item, as `load[3]`; `item_of` takes it apart."""
    return f"{step}[{index}]"


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """`steps` is in an order that respects every dependency, parents before children, `on_failure` last.

    Steps of items are not among them; `step` knows them too, and remembers the last `MAX_ITEM_STEPS` or so.
    """

    flow: str
    steps: Mapping[str, PlanStep]
    roots: Ids
    short: Mapping[str, str]
    outputs: CompiledTemplate | None
    output_reads: frozenset[str]
    on_failure: str | None
    inputs: Mapping[str, Input]
    concurrency: Limits | None = None
    foreach_ids: Ids = ()
    recording: Recording | None = None
    egress: Egress | None = None
    calls_flows: bool = False  # whether a step starts a run of another flow
    _items: dict[str, PlanStep] = field(default_factory=dict, init=False, repr=False, compare=False)

    def step(self, name: str) -> PlanStep:
        """Any step by its full id. Raises KeyError."""
        plan_step = self.steps.get(name) or self._items.get(name)
        return plan_step if plan_step is not None else self._item(name)

    def contains_failure_of(self, name: str) -> bool:
        """Whether the run goes on when this step fails: it, or a group around it, has `continue_on_error`."""
        step = self.step(name)
        while not step.continue_on_error and step.parent is not None:
            step = self.steps[step.parent]
        return step.continue_on_error

    def _item(self, name: str) -> PlanStep:
        parent = item_of(name)
        step = self.steps[parent[0] if parent else name]
        if step.foreach is None:
            raise KeyError(name)
        if len(self._items) >= MAX_ITEM_STEPS:
            self._items.clear()
        plan_step = self._items[name] = replace(step.foreach.body, id=name)
        return plan_step


@dataclass(frozen=True, slots=True)
class Limits:
    """`concurrency` of a flow; `key` None: one limit for all its runs."""

    limit: int
    key: CompiledTemplate | None
    policy: str


# --- the context of templates --------------------------------------------------------------------------------------


def step_context(
    plan: ExecutionPlan, reads: Iterable[str], states: Mapping[str, tuple[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The `steps` of a template context, each step under its short and its full id.

    `states` gives (status, outputs) by full id. Only a step that SUCCEEDED has `outputs`; a step without a state
    has no entry, so that reading it is undefined.
    """
    context: dict[str, dict[str, Any]] = {}
    for full in reads:
        state = states.get(full)
        if state is None:
            continue
        status, outputs = state
        entry: dict[str, Any] = {"status": str(status)}
        if status == "SUCCEEDED":
            step = plan.steps[full]
            derived = step.branches and step.outputs is None
            entry["outputs"] = group_outputs(plan, full, states) if derived else outputs
        context[full] = context[plan.steps[full].short] = entry
    return context


def group_outputs(plan: ExecutionPlan, group: str, states: Mapping[str, tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    """`{branch: {step: outputs}}` of a `parallel`; steps that did not succeed are left out."""
    outputs_by_branch: dict[str, dict[str, Any]] = {}
    for branch, steps in plan.steps[group].branches:
        kept = outputs_by_branch[branch] = {}
        for full in steps:
            status, outputs = states.get(full, ("", None))
            if status == "SUCCEEDED":
                step = plan.steps[full]
                derived = step.branches and step.outputs is None
                kept[step.short] = group_outputs(plan, full, states) if derived else outputs
    return outputs_by_branch
