"""Outputs of a flow that cannot be made: the run fails by them as by a step, and `on_failure` is told."""

from __future__ import annotations

from typing import Any

import pytest

from automata.engine.advance import advance, task_context
from automata.engine.decision import Decision, StepState
from automata.engine.states import RunStatus, TaskStatus
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import ExecutionPlan
from tests.engine.test_advance import NOW, RULES, view

Json = dict[str, Any]
WORK: Json = {"id": "handler", "type": "http", "config": {"why": "{{ error.message }}", "step": "{{ failed_step }}"}}
STEPS: list[Json] = [
    {"id": "a", "type": "http"},
    {"id": "b", "type": "transform", "condition": "false", "config": {"mappings": {"v": 1}}},
]
DONE = {"a": StepState(TaskStatus.SUCCEEDED, NOW, {"n": 1}), "b": StepState(TaskStatus.SKIPPED)}


def plan_of(output: Any, **more: Any) -> ExecutionPlan:
    return compile_flow(Flow.from_spec({"name": "f", "steps": STEPS, "outputs": {"x": output}, **more}))


def decide(plan: ExecutionPlan, **states: StepState) -> Decision:
    return advance(plan, view(False), DONE | states, (), NOW, RULES)


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("{{ steps.b.outputs.v }}", "template_error"),
        ("{{ steps.a.outputs.n.y }}", "template_error"),
        ("{{ steps.a.outputs.n / 0 }}", "template_error"),
        ("{{ inputs.nothing }}", "template_error"),
    ],
)
def test_without_on_failure_the_run_fails_at_once(output: str, code: str) -> None:
    result = decide(plan_of(output)).result
    assert result is not None
    assert (result.status, (result.error or {})["code"], (result.error or {})["step"]) == (RunStatus.FAILED, code, None)


def test_on_failure_runs_first_and_the_run_fails_when_it_has_ended() -> None:
    plan = plan_of("{{ steps.b.outputs.v }}", on_failure=WORK)
    first = decide(plan)
    assert ([start.step for start in first.start], first.result) == (["handler"], None)
    assert set(first.start[0].reads) >= {"b"}, "the worker finds the reason again in what the outputs are made of"
    for status in (TaskStatus.QUEUED, TaskStatus.RUNNING):
        again = decide(plan, handler=StepState(status, NOW))
        assert (again.start, again.settle, again.result) == ((), (), None)
    for end in (StepState(TaskStatus.SUCCEEDED, NOW), StepState(TaskStatus.FAILED, NOW, None, {"code": "x"})):
        result = decide(plan, handler=end).result
        assert result is not None
        assert (result.status, (result.error or {})["code"]) == (RunStatus.FAILED, "template_error")


def test_the_worker_and_the_engine_tell_on_failure_the_same() -> None:
    told = {
        "id": "handler",
        "type": "transform",
        "config": {"mappings": {"e": "{{ error }}", "s": "{{ failed_step }}"}},
    }
    plan = plan_of("{{ steps.b.outputs.v }}", on_failure=told)
    decision = decide(plan)
    assert decision.result is not None
    (settled,) = decision.settle
    error = decision.result.error
    assert settled.outputs == {"e": error, "s": None}
    reads = {"a": ("SUCCEEDED", {"n": 1}), "b": ("SKIPPED", None)}
    context = task_context(plan_of("{{ steps.b.outputs.v }}", on_failure=WORK), view(False), "handler", reads, 1, NOW)
    assert (context["error"], context["failed_step"]) == (error, None)


def test_a_parallel_as_on_failure_is_told_at_every_step_of_it() -> None:
    steps = [{**WORK, "id": "one"}, {**WORK, "id": "two"}]
    handler = {"id": "handler", "type": "parallel", "branches": [{"id": "b", "steps": steps}]}
    plan = plan_of("{{ steps.b.outputs.v }}", on_failure=handler)
    assert [start.step for start in decide(plan).start] == ["handler.b.one"]
    one = {"handler.b.one": StepState(TaskStatus.SUCCEEDED, NOW)}
    assert [start.step for start in decide(plan, **one).start] == ["handler.b.two"]
    two = {"handler.b.two": StepState(TaskStatus.SUCCEEDED, NOW)}
    decision = decide(plan, **one, **two)
    assert decision.result is not None
    assert decision.result.status is RunStatus.FAILED


def test_what_has_begun_to_handle_a_failure_is_right_though_the_clock_would_make_outputs_now() -> None:
    plan = plan_of("{{ steps.a.outputs.n }}", on_failure=WORK)
    decision = decide(plan, handler=StepState(TaskStatus.SUCCEEDED, NOW))
    assert decision.result is not None
    assert (decision.result.status, (decision.result.error or {})["code"]) == (RunStatus.FAILED, "template_error")


def test_outputs_that_have_to_be_loaded_are_asked_for_before_anything_is_decided() -> None:
    plan = plan_of("{{ steps.a.outputs.n.y }}", on_failure=WORK)
    for more in ({}, {"handler": StepState(TaskStatus.RUNNING, NOW)}):
        decision = decide(plan, a=StepState(TaskStatus.SUCCEEDED), **more)
        assert decision == Decision(needs=frozenset({"a"}))
