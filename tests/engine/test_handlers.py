"""Handlers of a failure that need something before they begin: the engine asks once, and does not go round for ever."""

from __future__ import annotations

from typing import Any

import pytest

from automata.engine.advance import advance
from automata.engine.decision import UNLOADED, Decision, StepState
from automata.engine.states import TaskStatus
from automata.errors import Invalid
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from tests.engine.test_advance import NOW, RULES, view

Json = dict[str, Any]
FAILED = StepState(TaskStatus.FAILED, NOW, None, {"code": "x", "message": "m"})
CALL: Json = {"id": "handler", "type": "flow", "config": {"flow": "repair"}}
READER: Json = {
    "id": "handler",
    "type": "transform",
    "config": {"mappings": {"kept": "{{ steps.read.outputs.n | default(0) }}"}},
}


def decide(handler: Json, answers: dict[str, Exception | None] | None = None, outputs: Any = None) -> Decision:
    steps = [{"id": "read", "type": "http"}, {"id": "write", "type": "http", "depends_on": ["read"]}]
    flow: Json = {"name": "f", "steps": steps, "on_failure": handler}
    states = {"read": StepState(TaskStatus.SUCCEEDED, NOW, UNLOADED), "write": FAILED}
    if outputs is not None:
        flow["outputs"] = outputs
        states["write"] = StepState(TaskStatus.SUCCEEDED, NOW, UNLOADED)
    return advance(compile_flow(Flow.from_spec(flow)), view(False), states, (), NOW, RULES, answers)


def test_a_handler_that_is_a_flow_is_asked_for_and_then_called() -> None:
    assert [child.step for child in decide(CALL).asks] == ["handler"]
    assert [child.step for child in decide(CALL, {"handler": None}).call] == ["handler"]


def test_a_handler_whose_flow_cannot_be_called_fails_and_the_run_ends() -> None:
    decision = decide(CALL, {"handler": Invalid("There is no such flow.", code="unknown_flow")})
    assert decision.result is not None
    assert {settled.step: settled.status for settled in decision.settle}["handler"] is TaskStatus.FAILED


@pytest.mark.parametrize("kind", ["transform", "delay", "approval"])
def test_a_handler_that_reads_a_step_asks_for_its_outputs(kind: str) -> None:
    configs: Json = {
        "transform": READER["config"],
        "delay": {"duration_sec": "{{ steps.read.outputs.n }}"},
        "approval": {"prompt": "{{ steps.read.outputs.n }}"},
    }
    assert decide({"id": "handler", "type": kind, "config": configs[kind]}).needs == {"read"}


def test_a_condition_of_a_handler_asks_for_what_it_reads() -> None:
    handler = {"id": "handler", "type": "http", "condition": "steps.read.outputs.n > 1"}
    assert decide(handler).needs == {"read"}


def test_outputs_that_are_not_loaded_yet_are_asked_for_before_a_handler_is() -> None:
    assert decide(CALL, outputs={"n": "{{ steps.read.outputs.n }}"}).needs == {"read"}
