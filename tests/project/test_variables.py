"""Which variables a flow reads, and what a missing one means."""

from __future__ import annotations

from typing import Any

from automata.flow.findings import Findings, Positions
from automata.project.manifest import Environment
from automata.project.variables import resolve, uses


def spec(value: Any, **step: Any) -> dict[str, Any]:
    return {"name": "x", "steps": [{"id": "a", "type": "transform", "config": {"mappings": {"v": value}}, **step}]}


def resolved(flow: dict[str, Any], **variables: Any) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    findings = Findings("flows/x.yaml", Positions())
    values = resolve(
        uses(flow), Environment("prod", "environments/prod.yaml", variables, frozenset({"KNOWN"})), findings
    )
    return values, [(item.code, item.severity) for item in findings.done()]


def test_only_what_is_read_is_kept() -> None:
    flow = spec("{{ vars.a }} and {{ vars['b'].c }}", condition="vars.d > 1", foreach="vars.f")
    kept = {"a": 1, "b": {"c": 2}, "d": 3, "f": [1]}
    assert resolved(flow, **kept, e=4) == (kept, [])


def test_outputs_and_the_failure_step_count() -> None:
    flow = spec("x") | {"outputs": {"o": "{{ vars.a }}"}, "on_failure": {"id": "f", "config": {"m": "{{ vars.b }}"}}}
    assert resolved(flow, a=1, b=2, c=3)[0] == {"a": 1, "b": 2}


def test_a_computed_name_keeps_everything() -> None:
    assert resolved(spec("{{ vars[inputs.which] }}"), a=1, b=2)[0] == {"a": 1, "b": 2}


def test_text_that_is_no_template_reads_nothing() -> None:
    assert resolved(spec("all vars.a in a box"), a=1) == ({}, [])


def test_a_missing_variable_is_an_error_unless_it_has_a_default() -> None:
    assert resolved(spec("{{ vars.missing }}")) == ({}, [("AF320", "error")])
    assert resolved(spec("{{ vars.missing | default(1) }}")) == ({}, [])


def test_a_misspelt_variable_gets_a_suggestion_and_its_place() -> None:
    findings = Findings("flows/x.yaml", Positions())
    resolve(uses(spec("{{ vars.grating }}")), Environment("prod", "e.yaml", {"greeting": 1}), findings)
    assert findings.found[0].suggestion == "did you mean `greeting`?"
    assert findings.found[0].pointer == "/steps/0/config/mappings/v"


def test_a_secret_that_is_not_listed_is_a_warning() -> None:
    assert resolved(spec("{{ secrets.KNOWN }}"))[1] == []
    assert resolved(spec("{{ secrets.OTHER }}"))[1] == [("AF321", "warning")]


def test_webhooks_and_the_key_of_a_limit_count() -> None:
    flow = spec("x") | {
        "concurrency": {"limit": 1, "key": "{{ vars.a }}"},
        "webhooks": [{"name": "h", "secret": "KNOWN", "inputs": {"x": "{{ vars.b }}"}}],
    }
    assert resolved(flow, a=1, b=2, c=3) == ({"a": 1, "b": 2}, [])


def test_the_secret_of_a_webhook_that_is_not_listed_is_a_warning() -> None:
    assert resolved(spec("x") | {"webhooks": [{"name": "h", "secret": "OTHER"}]})[1] == [("AF321", "warning")]
