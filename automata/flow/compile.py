"""Flow -> ExecutionPlan: flattens the steps, orders them, and finds which outputs each template reads.

The flow was checked before; here a contradiction (a cycle, an unknown id) raises Invalid instead of looping.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from automata.errors import Invalid
from automata.flow.model import Concurrency, Flow, Step
from automata.flow.plan import ExecutionPlan, Foreach, Ids, Limits, PlanStep
from automata.flow.steptypes import STEP_TYPES, kind_of
from automata.flow.template import (
    CompiledTemplate,
    Reference,
    TemplateError,
    compile_condition,
    compile_config,
    compile_foreach,
    compile_value,
)

_NOTHING: frozenset[str] = frozenset()


def compile_flow(flow: Flow) -> ExecutionPlan:
    """Raises Invalid for a cycle or an unknown id, TemplateError for a template that does not compile."""
    return _Compiler(flow).plan()


def _limits(concurrency: Concurrency | None) -> Limits | None:
    if concurrency is None:
        return None
    return Limits(concurrency.limit, compile_value(concurrency.key) if concurrency.key else None, concurrency.policy)


@dataclass(slots=True)
class _Placed:
    """A step and where it stands."""

    step: Step
    parent: str | None
    previous: str | None
    branches: tuple[tuple[str, Ids], ...] = ()
    children: Ids = ()
    deps: Ids = ()


class _Compiler:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.placed: dict[str, _Placed] = {}
        self.failure = flow.on_failure.id if flow.on_failure else None
        self._place(flow.steps, "", None, chained=False)
        if flow.on_failure:
            self._place((flow.on_failure,), "", None, chained=False)
        self.short = {placed.step.id: full for full, placed in self.placed.items()}
        self._group_reads: dict[str, frozenset[str]] = {}
        for full, placed in self.placed.items():
            placed.deps = tuple(self._deps(full, placed))

    def plan(self) -> ExecutionPlan:
        dependents: dict[str, list[str]] = {full: [] for full in self.placed}
        for full, placed in self.placed.items():
            for dep in placed.deps:
                dependents[dep].append(full)
        order = self._ordered(dependents)
        steps = {full: self._step(full, tuple(dependents[full])) for full in order}
        outputs = self.flow.outputs
        compiled = None if outputs is None else _located("/outputs", lambda: compile_value(outputs))
        return ExecutionPlan(
            flow=self.flow.name,
            steps=steps,
            roots=tuple(full for full in order if self._is_root(full)),
            short=self.short,
            outputs=compiled,
            output_reads=_NOTHING if compiled is None else self._reads(compiled.references, "outputs"),
            on_failure=self.failure,
            inputs={declared.name: declared for declared in self.flow.inputs},
            concurrency=_limits(self.flow.concurrency),
            foreach_ids=tuple(full for full, step in steps.items() if step.foreach),
            recording=self.flow.recording,
            egress=self.flow.egress,
            calls_flows=any(step.type == "flow" for step in steps.values()),
        )

    # --- structure -------------------------------------------------------------------------------------------------

    def _place(self, steps: tuple[Step, ...], prefix: str, parent: str | None, chained: bool) -> Ids:
        previous = None
        ids = []
        for step in steps:
            full = prefix + step.id
            placed = self.placed[full] = _Placed(step, parent, previous if chained else None)
            placed.branches = tuple(
                (branch.id, self._place(branch.steps, f"{full}.{branch.id}.", full, chained=True))
                for branch in step.branches
            )
            placed.children = tuple(child for _, inside in placed.branches for child in inside)
            ids.append(full)
            previous = full
        return tuple(ids)

    def _deps(self, full: str, placed: _Placed) -> Iterator[str]:
        seen = set()
        named = [self._resolve(name, full) for name in placed.step.depends_on]
        for dep in ([placed.previous] if placed.previous else []) + named:
            if dep == self.failure:
                raise Invalid(f"`{full}` depends on `{dep}`, which runs only after a failure.", code="unknown_step")
            if dep not in seen:
                seen.add(dep)
                yield dep

    def _resolve(self, name: str, reader: str) -> str:
        full = name if name in self.placed else self.short.get(name)
        if full is None:
            raise Invalid(f"`{reader}` refers to the step `{name}`, which does not exist.", code="unknown_step")
        return full

    def _is_root(self, full: str) -> bool:
        placed = self.placed[full]
        return not placed.deps and placed.parent is None and full != self.failure

    def _ordered(self, dependents: Mapping[str, Iterable[str]]) -> list[str]:
        """Kahn's algorithm over the begins and ends of steps: a group ends after its children, which begin after it."""
        waits = {full: len(placed.deps) + (placed.parent is not None) for full, placed in self.placed.items()}
        unfinished = {full: len(placed.children) for full, placed in self.placed.items()}
        starts = [full for full in self.placed if not waits[full] and full != self.failure]
        order: list[str] = []
        for first in (starts, [self.failure] if self.failure else []):
            ready = deque(full for full in first if not waits[full])
            while ready:
                full = ready.popleft()
                order.append(full)
                for name in self._released(full, dependents, unfinished):
                    waits[name] -= 1
                    if not waits[name] and name != self.failure:
                        ready.append(name)
        if len(order) < len(self.placed):
            stuck = set(self.placed) - set(order)
            unended = stuck | {full for full, count in unfinished.items() if count}
            raise Invalid(f"The steps wait for each other: {self._cycle(stuck, unended)}.", code="cycle")
        return order

    def _released(
        self, full: str, dependents: Mapping[str, Iterable[str]], unfinished: dict[str, int]
    ) -> Iterator[str]:
        """What begins after this step began: a group's children, or what waited for a leaf and the groups it ends."""
        if self.placed[full].branches:
            yield from self.placed[full].children
            return
        ended: str | None = full
        while ended is not None:
            yield from dependents[ended]
            ended = self.placed[ended].parent
            if ended is not None:
                unfinished[ended] -= 1
                ended = None if unfinished[ended] else ended

    def _cycle(self, stuck: set[str], unended: set[str]) -> str:
        """Follow what each stuck step waits for until one comes twice."""
        path: list[str] = []
        at: str | None = min(stuck)
        while at is not None and at not in path:
            path.append(at)
            placed = self.placed[at]
            waits = [name for name in (*placed.deps, *placed.children) if name in unended]
            parent = [placed.parent] if placed.parent in stuck else []
            at = next(iter([*waits, *parent]), None)
        return " -> ".join(path if at is None else [*path[path.index(at) :], at])

    # --- templates -------------------------------------------------------------------------------------------------

    def _step(self, full: str, dependents: Ids) -> PlanStep:
        placed = self.placed[full]
        step = placed.step
        row = STEP_TYPES.get(step.type)
        key = None if row is None else row.address_key
        config = _located(f"/{full}/config", lambda: compile_config(step.config, key))
        outputs = None if step.outputs is None else _located(f"/{full}/outputs", lambda: compile_value(step.outputs))
        text = step.condition
        condition = None if text is None else _located(f"/{full}/condition", lambda: compile_condition(text))
        used = config.references + (outputs.references if outputs else ())
        reads = self._reads(used, full)
        if outputs is not None and placed.branches:
            reads |= self._inside(full)
        plan_step = PlanStep(
            id=full,
            short=step.id,
            type=step.type,
            kind=kind_of(step.type),
            deps=placed.deps,
            dependents=dependents,
            parent=placed.parent,
            branches=placed.branches,
            children=placed.children,
            condition=condition,
            condition_reads=self._reads(condition.references, full) if condition else _NOTHING,
            config=config,
            outputs=outputs,
            reads=reads,
            reads_secrets=any(reference.root == "secrets" for reference in used),
            secrets=_secrets(used),
            retry=step.retry,
            timeout_sec=step.timeout_sec,
            continue_on_error=step.continue_on_error,
            queue=step.queue,
        )
        return plan_step if step.foreach is None else self._each(plan_step, step.foreach, step.max_parallel)

    def _each(self, step: PlanStep, foreach: Any, most: int | None) -> PlanStep:
        """The group that stands for the step; what a condition says of the items is asked for each of them."""
        items = _located(f"/{step.id}/foreach", lambda: compile_foreach(foreach))
        of_items = step.condition is not None and any(
            reference.root in ("item", "index") for reference in step.condition.references
        )
        body = replace(step, deps=(), dependents=(), parent=step.id)
        whole = step
        if of_items:
            whole = replace(step, condition=None, condition_reads=_NOTHING)
        else:
            body = replace(body, condition=None, condition_reads=_NOTHING)
        each = Foreach(items, self._reads(items.references, step.id), body, most)
        return replace(whole, kind="group", outputs=None, reads=each.reads, foreach=each)

    def _reads(self, references: Iterable[Reference], reader: str) -> frozenset[str]:
        reads = _NOTHING
        for reference in references:
            if reference.root == "steps":
                full = self._resolve(reference.path[0], reader)
                status_only = reference.path[1:2] == ("status",)
                full_ids = frozenset((full,)) if status_only else self._read_of(full)
                reads = reads | full_ids if reads else full_ids
        return reads

    def _read_of(self, full: str) -> frozenset[str]:
        """A step and, for a group whose outputs are those of its steps, all that they are made of."""
        placed = self.placed[full]
        if not placed.branches or placed.step.outputs is not None:
            return frozenset((full,))
        return self._inside(full) | {full}

    def _inside(self, group: str) -> frozenset[str]:
        known = self._group_reads.get(group)
        if known is None:
            parts = [self._read_of(child) for child in self.placed[group].children]
            known = self._group_reads[group] = frozenset().union(*parts)
        return known


def _secrets(used: Iterable[Reference]) -> frozenset[str] | None:
    """The names of the secrets that are read; None when one of them is computed, or all are read."""
    names = {reference.path[0] if reference.path else None for reference in used if reference.root == "secrets"}
    return None if None in names else frozenset(str(name) for name in names)


def _located(pointer: str, compile: Any) -> CompiledTemplate:
    try:
        compiled: CompiledTemplate = compile()
    except TemplateError as error:
        error.pointer = pointer + (error.pointer or "")
        raise
    return compiled
