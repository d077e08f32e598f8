"""Every list of step types follows the table: schema, checks, plan, workers, engine, sandbox and docs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from automata.cli.reference_language import tables
from automata.flow.changes import changes
from automata.flow.compile import compile_flow
from automata.flow.load import validate_text
from automata.flow.model import Flow
from automata.flow.outline import Outline
from automata.flow.schema import FLOW_SCHEMA
from automata.flow.steptypes import STEP_TYPES, StepTypeRow, kind_of, names_of
from automata.flow.subflows import called_flows
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import Flows, run_case
from automata.steps.registry import catalogue, instant_rules, load_types

DOCS = Path(__file__).parents[2] / "docs"
ROWS = list(STEP_TYPES.values())

each_type = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def spec_of(row: StepTypeRow, **more: Any) -> dict[str, Any]:
    return {"name": "a", "steps": [{"id": "it", "type": row.name, **row.example, **more}]}


def codes_of(spec: dict[str, Any]) -> list[str]:
    return [finding.code for finding in validate_text(json.dumps(spec)).diagnostics]


@each_type
def test_the_schema_takes_the_smallest_step_and_refuses_keys_that_its_config_does_not_have(row: StepTypeRow) -> None:
    assert row.name in FLOW_SCHEMA["$defs"]["step"]["properties"]["type"]["anyOf"][0]["enum"]
    assert FLOW_SCHEMA["$defs"][f"{row.name}_config"] is row.config_schema
    assert codes_of(spec_of(row)) == []
    assert codes_of(spec_of(row, config={**row.example.get("config", {}), "zzz": 1}))


@each_type
def test_a_config_is_needed_where_something_in_it_is(row: StepTypeRow) -> None:
    spec = spec_of(row)
    spec["steps"][0].pop("config", None)
    assert bool(codes_of(spec)) is row.needs_config


@each_type
def test_only_what_workers_run_has_attempts(row: StepTypeRow) -> None:
    expected = [] if row.kind == "work" else ["AF032"]
    for key, value in (("retry", {"max_attempts": 2}), ("timeout_sec", 5), ("queue", "q")):
        assert codes_of(spec_of(row, **{key: value})) == expected, key


@each_type
def test_the_plan_has_the_kind_of_the_table_and_a_foreach_is_a_group(row: StepTypeRow) -> None:
    plan = compile_flow(Flow.from_spec(spec_of(row)))
    assert plan.steps["it"].kind == row.kind == kind_of(row.name)
    if row.kind != "group":
        items = compile_flow(Flow.from_spec(spec_of(row, foreach=[1]))).steps["it"]
        assert (items.kind, items.foreach and items.foreach.body.kind) == ("group", row.kind)


def test_a_type_of_a_package_is_work() -> None:
    assert kind_of("shout") == "work"


@each_type
def test_outputs_that_are_known_are_checked(row: StepTypeRow) -> None:
    (node, *_) = Outline(spec_of(row)).nodes
    names = Outline(spec_of(row)).outputs(node)
    reader = {
        "id": "reader",
        "type": "transform",
        "depends_on": ["it"],
        "config": {"mappings": {"x": "{{ steps.it.outputs.zzz }}"}},
    }
    spec = spec_of(row)
    spec["steps"].append(reader)
    assert ("AF106" in codes_of(spec)) is (names is not None)
    if row.outputs is not None:
        assert names == row.outputs


@each_type
def test_outputs_templates_see_the_scope_of_the_type_alone(row: StepTypeRow) -> None:
    other = "result" if row.scope == "response" else "response"
    assert codes_of(spec_of(row, outputs={"x": f"{{{{ {row.scope} }}}}"})) == []
    assert codes_of(spec_of(row, outputs={"x": f"{{{{ {other} }}}}"})) != []


@each_type
def test_workers_run_what_is_work_and_the_engine_has_a_rule_for_what_is_not(row: StepTypeRow) -> None:
    assert (row.name in load_types(())) is (row.kind == "work")
    assert (row.name in instant_rules()) is (row.kind in ("instant", "timer"))


@each_type
def test_the_catalogue_says_of_a_type_what_the_table_says(row: StepTypeRow) -> None:
    info = catalogue(())[row.name]
    facts = (info.name, info.kind, info.scope, info.config_schema)
    assert facts == (row.name, row.kind, row.scope, row.config_schema)


def test_the_catalogue_has_the_rows_alone_where_no_package_adds_one() -> None:
    assert set(catalogue(())) == set(STEP_TYPES) == {*names_of("work"), *names_of("instant", "timer", "group")}


@each_type
def test_a_mock_gives_a_result_to_what_comes_from_outside_alone(row: StepTypeRow) -> None:
    given = {name: name == "approved" for name in row.outputs or ()}
    case = {"name": "it", "mocks": [{"step": "it", "output": given}], "expect": {"status": "SUCCEEDED"}}
    read = read_cases(json.dumps({"flow": "a", "cases": [case]}).encode(), "tests/a.test.yaml", {}.get)
    result = run_case(read.cases[0], Flows({"a": (spec_of(row), {})}))
    assert result.passed is row.external, result.problems


@each_type
def test_reviewers_are_told_of_a_new_address_and_called_flows_are_followed(row: StepTypeRow) -> None:
    before = {"name": "a", "steps": [{"id": "it", "type": "transform", "config": {"mappings": {}}}]}
    told = [change for change in changes(before, spec_of(row)) if change.kind == "security"]
    assert bool(told) is (row.address_key is not None)
    pointers = [pointer for _, pointer in called_flows(spec_of(row))]
    assert pointers == ([f"/steps/0/config/{row.flow_key}"] if row.flow_key else [])


@each_type
def test_the_language_page_has_a_section_and_a_line_of_the_type(row: StepTypeRow) -> None:
    page = (DOCS / "language.md").read_text(encoding="utf-8")
    assert f"\n### {row.name}\n" in page
    assert f"| [`{row.name}`](#{row.name}) | {row.summary} |" in tables()["step_types"]
    if row.config_schema["properties"]:
        assert f"<!-- made: {row.name}_config -->" in page
