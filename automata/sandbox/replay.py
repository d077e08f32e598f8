"""Replay: a recorded run is rehearsed on the base, on the base again, and on the branch, answered as it was answered.

The second rehearsal of the base has another clock, other ids and other answer times, none of which production promises
to repeat. What differs between the two is noise, and says nothing about the branch. Nothing is green without evidence:
a run that the base itself does not bring to its recorded end is not counted as replayed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid5

from automata.engine.decision import RunView
from automata.engine.retry import Failure
from automata.errors import Invalid
from automata.flow.inputs import check_inputs
from automata.flow.model import FlowContent
from automata.flow.plan import ExecutionPlan, item_of
from automata.flow.steptypes import STEP_TYPES
from automata.sandbox.answers import RecordedTransport, Request, exchanges_of
from automata.sandbox.case_runner import NAMESPACE, Flows, types
from automata.sandbox.clock import Clock, StalledError, run_virtually
from automata.sandbox.compare import Difference, PlayedRun, Tolerance, differences, noise
from automata.sandbox.pool import PooledWork, run_pooled
from automata.sandbox.recorded import Recorded
from automata.sandbox.rehearsal import RehearsalSetup, rehearse
from automata.steps.contract import Outcome
from automata.steps.masking import MASKED
from automata.steps.registry import instant_rules

# Enough to show in a time to the minute, and too little to make it another day in most runs.
LATER = timedelta(seconds=61, microseconds=137)
REPLAY_SEC = 30.0  # of real time, for three rehearsals


@dataclass(frozen=True, slots=True)
class Sides:
    """What a replay goes by: the flows of both commits, and what is called a difference."""

    base: Flows
    head: Flows
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, slots=True)
class Replayed:
    """How one recorded run went. `reason` is why it is no evidence, "" when it is. Lists are plain data for reports."""

    run: str
    flow: str
    file: str
    reason: str = ""
    noise: tuple[Mapping[str, Any], ...] = ()
    differences: tuple[Mapping[str, Any], ...] = ()
    uncovered: tuple[Mapping[str, Any], ...] = ()


def replay(recorded: Recorded, sides: Sides) -> Replayed:
    """Rehearse three times and compare. Whatever the flows do, a result comes back."""
    name = sides.head.successor(recorded.flow)
    if name is None:
        return _unusable(recorded, "the flow is gone")
    try:
        first, again = _base(recorded, sides, 0), _base(recorded, sides, 1)
    except (Invalid, StalledError, ValueError) as error:
        return _unusable(recorded, _why(error))
    if reason := _unlike(recorded, first):
        return _unusable(recorded, reason)
    try:
        branch = _play(recorded, name, sides, sides.head, 0)
    except (Invalid, StalledError) as error:
        refused = Difference("status", "status", first.run.status, f"not run: {_why(error)}")
        return Replayed(recorded.id, recorded.flow, recorded.file, differences=(asdict(refused),))
    noisy = differences(first, again, sides.tolerance)
    silent = noise(noisy)
    changed = [item for item in differences(first, branch, sides.tolerance) if (item.kind, item.place) not in silent]
    return Replayed(
        run=recorded.id,
        flow=recorded.flow,
        file=recorded.file,
        noise=tuple(asdict(item) for item in noisy),
        differences=tuple(asdict(item) for item in changed),
        uncovered=tuple(asdict(item) for item in (*branch.writes, *branch.reads) if not item.covered),
    )


def _unusable(recorded: Recorded, reason: str) -> Replayed:
    return Replayed(recorded.id, recorded.flow, recorded.file, reason)


def _why(error: Exception) -> str:
    return "it waits for what cannot come" if isinstance(error, StalledError) else str(error).rstrip(".")


def _unlike(recorded: Recorded, first: PlayedRun) -> str:
    """Why the base is not what was recorded; "" when it is."""
    if missing := [request for request in (*first.writes, *first.reads) if not request.covered]:
        return f"the base sends what was not recorded: {missing[0].method} {missing[0].url}"
    if first.run.status != recorded.status:
        return f"it was {recorded.status} when it was recorded, and is {first.run.status} on the base"
    return ""


# --- one rehearsal -------------------------------------------------------------------------------------------------


def _base(recorded: Recorded, sides: Sides, turn: int) -> PlayedRun:
    return _play(recorded, recorded.flow, sides, sides.base, turn)


def _play(recorded: Recorded, name: str, sides: Sides, flows: Flows, turn: int) -> PlayedRun:
    """`turn` 1 is the rehearsal that finds noise. Raises Invalid, StalledError, ValueError (a body was not kept)."""
    plan = flows.plan(name)
    if plan is None:
        raise Invalid(f"There is no flow `{name}` on the base.")
    dice = random.Random(f"{recorded.id}:{turn}")  # noqa: S311 - the same every time
    stretch: Callable[[], float] = (lambda: dice.uniform(0.5, 1.5)) if turn else (lambda: 1.0)
    transport = RecordedTransport(exchanges_of(recorded.exchanges), stretch)
    began = recorded.created_at + turn * LATER
    setup = RehearsalSetup(
        view=RunView(
            id=recorded.id if not turn else str(uuid5(NAMESPACE, recorded.id)),
            flow=name,
            version=0,
            attempt=1,
            trigger=recorded.trigger,
            scheduled_for=recorded.scheduled_for and recorded.scheduled_for + turn * LATER,
            created_at=began,
            inputs=_inputs(recorded, plan, sides, flows),
            vars=_variables(recorded, name, sides, flows),
        ),
        clock=Clock(began),
        transport=transport,
        types=types(),
        rules=instant_rules(),
        random=dice.random,
        secrets=dict.fromkeys(_secrets(plan), MASKED),
        given=_given(recorded, plan),
        flow=flows.called,
    )
    run = run_virtually(rehearse(plan, setup))
    started = [Request(step, "RUN", flow, inputs, True) for step, flow, inputs in setup.calls]
    sent = transport.sent
    return PlayedRun(
        run,
        [*(request for request in sent if request.writes), *started],
        [request for request in sent if not request.writes],
    )


def _inputs(recorded: Recorded, plan: ExecutionPlan, sides: Sides, flows: Flows) -> Mapping[str, Any]:
    """What the run was given; the branch may refuse it, or add defaults.

    A masked input need not be what its flow asks for: then nobody's refusal means anything.
    """
    base = sides.base.plan(recorded.flow)
    if flows is sides.base or base is None:
        return recorded.inputs
    try:
        check_inputs(base.inputs, recorded.inputs)
    except Invalid:
        return recorded.inputs
    return check_inputs(plan.inputs, recorded.inputs)


def _variables(recorded: Recorded, name: str, sides: Sides, flows: Flows) -> Mapping[str, Any]:
    """Those of the side; one that the branch does not change has the value that it had in production."""
    base = sides.base.variables(recorded.flow)
    own = flows.variables(name)
    kept = {key: value for key, value in recorded.variables.items() if key in own and own[key] == base.get(key)}
    return {**own, **kept}


def _secrets(plan: ExecutionPlan) -> set[str]:
    """Each is `***`, which is what recordings have in the place of its value."""
    steps = [*plan.steps.values(), *(step.foreach.body for step in plan.steps.values() if step.foreach)]
    references = (reference for step in steps for reference in step.config.references)
    return {str(reference.path[0]) for reference in references if reference.root == "secrets" and reference.path}


def _given(recorded: Recorded, plan: ExecutionPlan) -> dict[str, Outcome]:
    """What people and other flows answered, and what step types came to that send nothing a transport could see."""
    sending = {item["step"] for item in recorded.exchanges}
    results = {step: _outcome(item) for step, item in recorded.given.items()}
    for name, record in recorded.steps.items():
        if name in results or name in sending or not _is_foreign(plan, name):
            continue
        if record["status"] == "SUCCEEDED":
            results[name] = Outcome(outputs=record.get("outputs"))
        elif record["status"] == "FAILED":
            results[name] = _outcome({"error": record.get("error") or {}})
    return results


def _is_foreign(plan: ExecutionPlan, name: str) -> bool:
    item = item_of(name)
    step = plan.steps.get(item[0] if item else name)
    kind = step.foreach.body.type if step and step.foreach and item else step.type if step else ""
    return bool(kind) and kind not in STEP_TYPES


def _outcome(record: Mapping[str, Any]) -> Outcome:
    if "error" in record:
        error = record["error"]
        return Outcome(failure=Failure(str(error.get("message", "")), str(error.get("code", "failed"))))
    return Outcome(outputs=record.get("output", {}))


# --- many ----------------------------------------------------------------------------------------------------------


def replay_all(
    recorded: Sequence[Recorded],
    base: Mapping[str, FlowContent],
    head: Mapping[str, FlowContent],
    tolerance: Tolerance,
    jobs: int,
) -> Iterator[Replayed]:
    """Results as they come. `base` and `head`: the flows of both commits, by name, as Flows takes them."""
    work = PooledWork(partial(_sides, dict(base), dict(head), tolerance), replay, _unusable, "replay")
    return run_pooled(recorded, work, jobs, REPLAY_SEC)


def _sides(base: Mapping[str, FlowContent], head: Mapping[str, FlowContent], tolerance: Tolerance) -> Sides:
    return Sides(Flows(base), Flows(head), tolerance)
