"""Runs one case: the flow is compiled, the mocks are set up, the rehearsal is played and held to what is expected."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from typing import Any
from uuid import UUID, uuid5

from automata.engine.decision import RunView
from automata.engine.retry import Failure
from automata.errors import Invalid
from automata.flow.compile import compile_flow
from automata.flow.inputs import check_inputs
from automata.flow.model import Flow, FlowContent
from automata.flow.plan import ExecutionPlan
from automata.flow.steptypes import STEP_TYPES
from automata.sandbox.case_file import Case
from automata.sandbox.clock import Clock, StalledError, run_virtually
from automata.sandbox.expectations import Mismatch, mismatches
from automata.sandbox.matching import MISSING
from automata.sandbox.mocks import MockTransport, Sent, Trouble, compile_mock
from automata.sandbox.rehearsal import CalledFlow, Rehearsal, RehearsalSetup, rehearse
from automata.steps.contract import Outcome
from automata.steps.masking import mask_tree
from automata.steps.registry import instant_rules, load_types
from automata.steps.secrets import masker

# Any fixed value serves; the run's id of a case follows from its seed, so its keys and uuids are the same every time.
NAMESPACE = UUID("0f7f2f62-9a53-5a0c-8c64-2f1df1d7a6c1")
MAX_SHOWN_REQUESTS = 200
MAX_SHOWN_CHARS = 4096  # of what was expected, and of what was there


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How a case went. `steps`, `requests` are plain data for reports.

    `problems` are why it failed: {where, message, step?, expected?, actual?}.
    """

    case: str
    file: str
    line: int
    name: str
    flow: str
    passed: bool
    problems: tuple[Mapping[str, Any], ...] = ()
    status: str = ""
    error: Mapping[str, Any] | None = None
    outputs: Any = None
    steps: Mapping[str, Any] = field(default_factory=dict)
    requests: tuple[Mapping[str, Any], ...] = ()
    unmatched: tuple[Mapping[str, Any], ...] = ()
    elapsed_sec: float = 0.0
    took_ms: float = 0.0


class Flows:
    """The flows that a rehearsal knows, by name; compiled when they are asked for."""

    def __init__(self, contents: Mapping[str, FlowContent]) -> None:
        self._contents = contents
        self._plans: dict[str, ExecutionPlan] = {}

    def plan(self, name: str) -> ExecutionPlan | None:
        """Raises Invalid for a flow that does not compile."""
        if name not in self._plans and name in self._contents:
            self._plans[name] = compile_flow(Flow.from_spec(self._contents[name][0]))
        return self._plans.get(name)

    def variables(self, name: str) -> Mapping[str, Any]:
        """The variables of a flow with their values."""
        return self._contents[name][1]

    def called(self, name: str, overrides: Mapping[str, Any] | None = None) -> CalledFlow | None:
        """A flow as another one calls it; `overrides` are variables that a case sets for all of its flows."""
        plan = self.plan(name)
        return None if plan is None else CalledFlow(plan, {**self.variables(name), **(overrides or {})})

    def successor(self, name: str) -> str | None:
        """The flow of that name, or the one that was renamed from it."""
        if name in self._contents:
            return name
        return next((new for new, (spec, _) in self._contents.items() if spec.get("renamed_from") == name), None)


def run_case(case: Case, flows: Flows) -> CaseResult:
    """Run a case on the virtual clock. Whatever the flow or the case does, a Result comes back."""
    began = time.perf_counter()
    transport = MockTransport(())
    try:
        plan = flows.plan(case.flow)
        if plan is None:
            return _result(case, (_problem("flow", f"there is no flow `{case.flow}`"),), began)
        inputs = check_inputs(plan.inputs, case.inputs)
        transport = MockTransport(_mocks(case))
        run = run_virtually(_play(case, plan, flows, inputs, transport))
    except Invalid as error:
        problems_of_flow = tuple(_problem(item.pointer or "case", item.message) for item in error.diagnostics)
        return _result(case, problems_of_flow or (_problem("case", error.message),), began)
    except StalledError:
        return _result(case, (_problem("case", "the run can never end: it waits for what cannot come"),), began)
    problems = [
        *(_told(item) for item in (*transport.troubles, *transport.leftovers())),
        *(_different(item) for item in mismatches(case.expect, run, transport.sent)),
    ]
    return _result(case, tuple(problems), began, run, transport)


async def _play(
    case: Case, plan: ExecutionPlan, flows: Flows, inputs: Mapping[str, Any], transport: MockTransport
) -> Rehearsal:
    clock = Clock(case.clock)
    view = RunView(
        id=str(uuid5(NAMESPACE, str(case.seed))),
        flow=plan.flow,
        version=0,
        attempt=1,
        trigger="sandbox",
        scheduled_for=None,
        created_at=case.clock,
        inputs=inputs,
        vars={**flows.variables(case.flow), **case.vars},
    )
    setup = RehearsalSetup(
        view=view,
        clock=clock,
        transport=transport,
        types=types(),
        rules=instant_rules(),
        random=random.Random(case.seed).random,  # noqa: S311 - dice of a rehearsal, the same every time
        secrets=case.secrets,
        given=_given(case, plan),
        flow=partial(flows.called, overrides=case.vars),
    )
    return await rehearse(plan, setup)


@lru_cache(maxsize=1)
def types() -> Mapping[str, Any]:
    """The step types that a rehearsal knows."""
    return load_types()


def _mocks(case: Case) -> list[Any]:
    specs = [spec for spec in case.mocks if "step" not in spec]
    return [compile_mock(spec, number, case.files.__getitem__) for number, spec in enumerate(specs, 1)]


def _given(case: Case, plan: ExecutionPlan) -> dict[str, Outcome]:
    results = {}
    for spec in case.mocks:
        if "step" not in spec:
            continue
        step = plan.short.get(spec["step"], spec["step"])
        if step not in plan.steps:
            raise Invalid(f"A mock gives a result to the step `{spec['step']}`, which the flow does not have.")
        row = STEP_TYPES.get(plan.steps[step].type)
        if row is not None and not row.external:
            raise Invalid(f"The step `{spec['step']}` calls nothing, so it cannot be given a result.")
        results[step] = _outcome(spec)
    return results


def _outcome(spec: Mapping[str, Any]) -> Outcome:
    if "error" in spec:
        error = spec["error"]
        return Outcome(failure=Failure(error.get("message", "mocked"), error.get("code", "mocked")))
    return Outcome(outputs=spec["output"])


# --- results -------------------------------------------------------------------------------------------------------


def _problem(where: str, message: str, step: str | None = None) -> dict[str, Any]:
    return {"where": where, "message": message} | ({"step": step} if step else {})


def _told(trouble: Trouble) -> dict[str, Any]:
    return _problem(trouble.code, trouble.message)


def _different(difference: Mismatch) -> dict[str, Any]:
    sides = {"expected": difference.expected, "actual": difference.actual}
    return _problem(difference.where, difference.message, difference.step) | {
        k: v for k, v in sides.items() if v is not MISSING
    }


def _bounded(problem: dict[str, Any]) -> dict[str, Any]:
    """With values of at most MAX_SHOWN_CHARS of JSON; of a longer one the beginning, as text. Masked before."""
    for side in ("expected", "actual"):
        if (
            side in problem
            and len(text := json.dumps(problem[side], ensure_ascii=False, default=str)) > MAX_SHOWN_CHARS
        ):
            problem[side] = f"{text[:MAX_SHOWN_CHARS]}…"
    return problem


def _result(
    case: Case,
    problems: tuple[Mapping[str, Any], ...],
    began: float,
    run: Rehearsal | None = None,
    transport: MockTransport | None = None,
) -> CaseResult:
    mask = masker(case.secrets)
    result = CaseResult(
        case=case.id,
        file=case.file,
        line=case.line,
        name=case.name,
        flow=case.flow,
        passed=not problems,
        problems=tuple(_bounded(mask_tree(item, mask)) for item in problems),
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )
    if run is None or transport is None:
        return result
    steps = {name: mask_tree(asdict(record), mask) for name, record in run.steps.items()}
    sent = tuple(mask_tree(_sent(item), mask) for item in transport.sent[:MAX_SHOWN_REQUESTS])
    unmatched = tuple(item for item in sent if not item["mock"])
    return CaseResult(
        **{
            **{name: getattr(result, name) for name in _KEPT},
            "status": run.status,
            "error": mask_tree(run.error, mask),
            "outputs": mask_tree(run.outputs, mask),
            "steps": steps,
            "requests": sent,
            "unmatched": unmatched,
            "elapsed_sec": run.elapsed_sec,
        }
    )


_KEPT = ("case", "file", "line", "name", "flow", "passed", "problems", "took_ms")


def _sent(sent: Sent) -> dict[str, Any]:
    return {
        "mock": sent.mock,
        "step": sent.seen.step,
        "method": sent.seen.method,
        "url": str(sent.seen.url),
        "body": sent.seen.text[:4096],
        "status": sent.status,
        "at_sec": round(sent.at_sec, 6),
    }
