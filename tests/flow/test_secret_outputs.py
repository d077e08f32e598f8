"""Outputs that are declared to be secret are read as any other, and known by name to whoever shows a run."""

from __future__ import annotations

from typing import Any

import pytest

from automata.flow.changes import changes
from automata.flow.compile import compile_flow
from automata.flow.load import validate_text
from automata.flow.model import Flow
from automata.flow.secret_outputs import output_values, secret_names, secret_values
from automata.flow.secret_reads import secret_outputs_of

TOKEN = {"value": "{{ result.token }}", "secret": True}


def flow(outputs: Any = None, own: Any = None) -> Flow:
    login = {"id": "login", "type": "transform", "config": {"mappings": {"token": "t"}}, "outputs": outputs}
    spec = {"name": "f", "steps": [login], "outputs": own}
    return Flow.from_spec(spec)


@pytest.mark.parametrize(
    ("outputs", "values", "secret"),
    [
        (None, None, set()),
        ({"a": "{{ x }}"}, {"a": "{{ x }}"}, set()),
        ({"a": "1", "t": TOKEN}, {"a": "1", "t": "{{ result.token }}"}, {"t"}),
        ({"t": {"value": {"deep": "1"}, "secret": True}}, {"t": {"deep": "1"}}, {"t"}),
        ({"t": {"value": "1", "secret": False}}, {"t": "1"}, set()),
        ({"t": {"value": "1", "secret": "{{ x }}"}}, {"t": {"value": "1", "secret": "{{ x }}"}}, set()),
        ({"t": {"value": "1"}}, {"t": {"value": "1"}}, set()),
        ({"t": {"value": "1", "secret": True, "more": 1}}, {"t": {"value": "1", "secret": True, "more": 1}}, set()),
    ],
)
def test_an_output_with_a_value_and_whether_it_is_secret_is_a_declaration(
    outputs: Any, values: Any, secret: set[str]
) -> None:
    assert output_values(outputs) == values
    assert secret_names(outputs) == secret


def test_a_template_of_a_secret_output_is_compiled_and_checked_like_any_other() -> None:
    plan = compile_flow(flow({"t": TOKEN}))
    outputs = plan.steps["login"].outputs
    assert outputs is not None
    assert outputs.render({"result": {"token": "abc"}}) == {"t": "abc"}
    step = "{id: a, type: delay, config: {duration_sec: 1}, outputs: {t: {value: '%s', secret: true}}}"
    text = f"name: f\nsteps:\n  - {step}\n"
    assert validate_text(text % "{{ result.slept_ms }}").diagnostics == ()
    (found,) = validate_text(text % "{{ result.nothing }}").diagnostics
    assert (found.code, found.pointer) == ("AF106", "/steps/0/outputs/t/value")
    assert validate_text((text % "x") + "outputs: {o: '{{ steps.a.outputs.t }}'}").diagnostics == ()


def test_what_a_secret_output_of_the_flow_reads_is_secret_where_it_comes_from() -> None:
    own = {"token": {"value": "Bearer {{ steps.login.outputs.t }}", "secret": True}, "n": "{{ steps.login.outputs.n }}"}
    assert secret_outputs_of(flow({"t": "1", "n": "2"}, own)) == {"login": {"t"}, "": {"token"}}
    assert secret_outputs_of(flow({"t": TOKEN})) == {"login": {"t"}}
    assert secret_outputs_of(flow({"t": "1"}, {"n": "{{ steps.login.outputs.t }}"})) == {}


def test_the_values_of_items_are_secret_each() -> None:
    names = frozenset({"t"})
    assert secret_values(names, [{"t": "a", "n": 1}, None, {"t": "b"}, {}]) == ["a", "b"]
    assert secret_values(names, "text") == []


@pytest.mark.parametrize("place", ["step", "flow"])
def test_an_output_that_is_shown_from_now_on_is_a_change_of_security(place: str) -> None:
    hidden = {"t": {"value": "1", "secret": True}}
    before, after = (flow(each) if place == "step" else flow(None, each) for each in (hidden, {"t": "1"}))
    assert changes(before.spec, after.spec)[0].kind == "security"
    assert "security" not in [change.kind for change in changes(after.spec, before.spec)]
