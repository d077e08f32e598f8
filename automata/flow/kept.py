"""Whether a run can go on by another version of its flow: what is kept of it must mean the same there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from automata.flow.model import Flow, Step, canonical_json
from automata.flow.plan import item_of


def first_changed(before: Flow, after: Flow, kept: Iterable[str]) -> str | None:
    """The first of the kept steps (full ids, in order) that `after` lacks or gives another meaning; None for none.

    Names, dependencies, retries, time limits and queues say when and how a step runs, not what its results are. A group
    that is kept must have the same steps: one that is new in it would never begin.
    """
    steps_before, steps_after = _steps(before), _steps(after)
    for full in kept:
        item = item_of(full)
        name = item[0] if item else full
        old, new = steps_before.get(name), steps_after.get(name)
        if old is None or new is None or _meaning(old) != _meaning(new):
            return name
    return None


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
