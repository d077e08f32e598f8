"""Whether a run can go on by another version of its flow: what is kept of it must mean the same there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from automata.flow.model import Flow, Step, canonical_json
from automata.flow.plan import item_of


def changed_steps(before: Flow, after: Flow) -> frozenset[str]:
    """Steps (full ids) that only one of the flows has, or that mean another thing in the other.

    Names, dependencies, retries, time limits and queues say when and how a step runs, not what its results are. A group
    with other steps is another one: a step that is new in a group that is kept would never begin.
    """
    old, new = _steps(before), _steps(after)
    same = (name for name in old.keys() & new.keys() if _meaning(old[name]) == _meaning(new[name]))
    return frozenset((old.keys() | new.keys()) - set(same))


def first_changed(changed: frozenset[str], kept: Iterable[str]) -> str | None:
    """The first of the kept steps that was changed, None for none; an item of a `foreach` is kept with its step."""
    names = (item[0] if (item := item_of(full)) else full for full in kept)
    return next((name for name in names if name in changed), None)


def _steps(flow: Flow) -> dict[str, Step]:
    """By full id, without `on_failure`: it is decided anew whenever a run goes on."""
    handler = flow.on_failure.id if flow.on_failure else None
    return {full: step for full, step in flow.walk() if full.partition(".")[0] != handler}


def _meaning(step: Step) -> str:
    inside = [[branch.id, sorted(step.id for step in branch.steps)] for branch in step.branches]
    told: list[Any] = [
        step.type,
        step.condition,
        step.config,
        step.outputs,
        step.foreach,
        step.continue_on_error,
        inside,
    ]
    return canonical_json(told)
