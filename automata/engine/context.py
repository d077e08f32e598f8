"""What the templates of a run see: the same data whether the engine or a worker renders them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid5

from automata.engine.decision import Error, RunView
from automata.errors import Invalid
from automata.flow.plan import ExecutionPlan, PlanStep, step_context
from automata.flow.template import AMBIENT_KEY, Ambient, TemplateError
from automata.flow.timefilters import iso

# Any fixed value serves; it keeps these names apart from other people's version 5 UUIDs.
NAMESPACE = UUID("5b0c3f6e-3d0a-5c55-9f0e-6b1d5d3f9a51")

StepResults = Mapping[str, tuple[str, Any]]


def task_context(
    plan: ExecutionPlan,
    run: RunView,
    step: str,
    reads: StepResults,
    attempt: int,
    now: datetime,
    item: tuple[int, Any] | None = None,
) -> dict[str, Any]:
    """The template context of a worker's step, without `secrets` and `response`.

    `reads` gives (status, outputs) by full id for the steps named in its Start; for a FAILED step of `on_failure`'s
    reads the second item is its error. Where none has failed, the flow's outputs could not be made, and `reads` has
    what they are made of.
    """
    context = base_context(run)
    context["steps"] = step_context(plan, reads, reads)
    context[AMBIENT_KEY] = ambient(run.id, step, attempt, now)
    if item is not None:
        context["index"], context["item"] = item
    if in_failure_handler(plan, plan.step(step)):
        failed = first_failure(plan, (name for name, (status, _) in reads.items() if status == "FAILED"))
        error = shaped_error(reads[failed][1], failed) if failed else _outputs_error(plan, run, reads, now)
        add_failure(context, error)
    return context


def base_context(run: RunView) -> dict[str, Any]:
    """The part that all steps of a run share."""
    return {
        "inputs": run.inputs,
        "vars": run.vars,
        "run": {
            "id": run.id,
            "flow": run.flow,
            "version": run.version,
            "attempt": run.attempt,
            "trigger": run.trigger,
            "scheduled_for": iso(run.scheduled_for) if run.scheduled_for else None,
            "created_at": iso(run.created_at),
        },
    }


def ambient(run: str, step: str, attempt: int, now: datetime) -> Ambient:
    """What `now()` and `uuid()` answer in the templates of one attempt of a step."""
    return Ambient(lambda: now, _uuids(f"{run}:{step}:{attempt}"))


def _uuids(prefix: str) -> Callable[[], str]:
    """The n-th `uuid()` of a context is the same whenever the same attempt is rendered again."""
    numbers = count()
    return lambda: str(uuid5(NAMESPACE, f"{prefix}:{next(numbers)}"))


# --- failures ------------------------------------------------------------------------------------------------------


def in_failure_handler(plan: ExecutionPlan, step: PlanStep) -> bool:
    """Whether a step is `on_failure` or inside of it."""
    while step.parent is not None:
        step = plan.steps[step.parent]
    return step.id == plan.on_failure


def first_failure(plan: ExecutionPlan, failed: Iterable[str]) -> str | None:
    """Of some FAILED steps the one that gives the run its error: the first in plan order that nothing contains."""
    names = set(failed)
    for name, step in plan.steps.items():
        if name in names and step.parent is None and not step.continue_on_error and name != plan.on_failure:
            return name
    return None


def _outputs_error(plan: ExecutionPlan, run: RunView, reads: StepResults, now: datetime) -> Error:
    """Why the flow's outputs cannot be made, found once more: it is written nowhere before the run ends."""
    context = base_context(run)
    context["steps"] = step_context(plan, reads, reads)
    context[AMBIENT_KEY] = ambient(run.id, "", run.attempt, now)
    try:
        if plan.outputs is not None:
            plan.outputs.render(context)
    except Exception as error:
        return error_of(error, None)
    return OUTPUTS_NOT_MADE


# What is told where they could be made after all: `now()` may give them another value a moment later.
OUTPUTS_NOT_MADE: Error = {"code": "template_error", "message": "The outputs could not be made.", "step": None}


def error_of(error: Exception, step: str | None) -> dict[str, Any]:
    """The error of a step or of a run: {code, message, step}. `step` is None for the run's own outputs."""
    code = "step_crashed"
    if isinstance(error, TemplateError):
        code = "template_error"
    elif isinstance(error, Invalid):
        code = error.code
    message = str(error) if isinstance(error, Invalid) else f"{type(error).__name__}: {error}"
    return {"code": code, "message": message, "step": step}


def shaped_error(error: Any, step: str) -> dict[str, Any]:
    """An error in its one shape; what a worker wrote may lack the step, and may have more."""
    fields = dict(error) if isinstance(error, Mapping) else {}
    defaults = {"code": "failed", "message": f"The step `{step}` failed.", "step": step}
    return defaults | {key: value for key, value in fields.items() if value is not None}


def add_failure(context: dict[str, Any], error: Error) -> None:
    """Add `error` and `failed_step`, which only `on_failure` and the steps inside it read."""
    context["error"] = error
    context["failed_step"] = error["step"]
