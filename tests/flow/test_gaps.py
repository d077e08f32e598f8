"""Outputs of a flow that may not be there when they are read: AF117, a warning."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from automata.errors import Diagnostic
from automata.flow.check import check_flow
from automata.flow.load import load_flow

MAYBE: dict[str, Any] = {
    "id": "maybe",
    "type": "transform",
    "condition": "inputs.n > 1",
    "config": {"mappings": {"v": 1}},
}
SOFT: dict[str, Any] = {
    "id": "soft",
    "type": "http",
    "continue_on_error": True,
    "config": {"url": "https://x.example.com"},
}
SURE: dict[str, Any] = {"id": "sure", "type": "transform", "config": {"mappings": {"v": 1}}}


def group(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "g", "type": "parallel", "branches": [{"id": "b", "steps": list(steps)}], **more}


def warnings(*steps: dict[str, Any], outputs: dict[str, Any]) -> list[Diagnostic]:
    spec = {"name": "a", "inputs": {"n": {"type": "integer"}}, "steps": list(steps), "outputs": outputs}
    loaded = load_flow(yaml.safe_dump(spec).encode(), "a.yaml")
    found = [*loaded.diagnostics, *check_flow(loaded)]
    assert {one.severity for one in found} <= {"warning"}, found
    return [one for one in found if one.code == "AF117"]


@pytest.mark.parametrize(
    ("step", "template", "why"),
    [
        (MAYBE, "{{ steps.maybe.outputs.v }}", "condition"),
        (MAYBE, "{{ steps.maybe.outputs }}", "condition"),
        (MAYBE, "n={{ steps.maybe.outputs.v + 1 }}", "condition"),
        (SOFT, "{{ steps.soft.outputs.body.id }}", "continue_on_error"),
        (group(SURE, condition="inputs.n > 1"), "{{ steps.sure.outputs.v }}", "condition"),
        (group(SURE, continue_on_error=True), "{{ steps['g.b.sure'].outputs.v }}", "continue_on_error"),
        (group(MAYBE), "{{ steps.g.outputs.b.maybe.v }}", "condition"),
        ({**SURE, "foreach": "[1]", "condition": "inputs.n > 1"}, "{{ steps.sure.outputs }}", "condition"),
    ],
)
def test_an_output_of_a_step_that_may_have_none_is_warned_of(step: dict[str, Any], template: str, why: str) -> None:
    (warning,) = warnings(step, outputs={"x": {"deep": [template]}})
    assert why in warning.message
    assert (warning.severity, warning.pointer) == ("warning", "/outputs/x/deep/0")
    assert "default" in (warning.suggestion or "")


@pytest.mark.parametrize(
    ("step", "template"),
    [
        (SURE, "{{ steps.sure.outputs.v }}"),
        (MAYBE, "{{ steps.maybe.outputs.v | default(0) }}"),
        (MAYBE, "{{ coalesce(steps.maybe.outputs.v, 0) }}"),
        (MAYBE, "{{ steps.maybe.status }}"),
        (MAYBE, "{{ steps.maybe.outputs.v if steps.maybe.status == 'SUCCEEDED' else 0 }}"),
        (group(MAYBE), "{{ steps.g.outputs.b }}"),
        ({**SURE, "foreach": "[1]", "condition": "item > 1"}, "{{ steps.sure.outputs }}"),
        ({**SOFT, "foreach": "[1]"}, "{{ steps.soft.outputs }}"),
    ],
)
def test_what_is_there_or_has_a_way_out_is_not(step: dict[str, Any], template: str) -> None:
    assert warnings(step, outputs={"x": template}) == []
