"""The inputs of a run: what is given is checked against what is declared, and secrets stay out of every message."""

from __future__ import annotations

import time
from typing import Any

import pytest

from automata.errors import Invalid
from automata.flow.inputs import MAX_INPUT_BYTES, check_inputs, from_text, without_nulls
from automata.flow.model import Flow, Input
from automata.flow.userschema import SchemaBudget, compile_schema


def declare(**inputs: Any) -> dict[str, Input]:
    """Inputs as a flow file declares them."""
    flow = Flow.from_spec({"name": "a", "steps": [], "inputs": inputs})
    return {one.name: one for one in flow.inputs}


def refused(inputs: dict[str, Input], given: dict[str, Any]) -> Invalid:
    with pytest.raises(Invalid) as caught:
        check_inputs(inputs, given)
    assert caught.value.code == "invalid_input"
    assert caught.value.status == 422
    return caught.value


def codes(inputs: dict[str, Input], given: dict[str, Any]) -> list[str]:
    return [one.code for one in refused(inputs, given).diagnostics]


def test_defaults_lie_under_what_is_given() -> None:
    inputs = declare(
        a={"default": "x"}, b={"type": "integer", "default": 1}, c={}, d={"default": None, "type": "object"}
    )
    assert check_inputs(inputs, {"b": 2}) == {"a": "x", "b": 2, "d": None}


def test_an_optional_input_without_a_default_stays_absent() -> None:
    assert check_inputs(declare(a={}), {}) == {}


def test_a_required_input_with_a_default_need_not_be_given() -> None:
    assert check_inputs(declare(a={"required": True, "default": "x"}), {}) == {"a": "x"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("string", ["", "x", "5"], [5, None, True, [], {}]),
        ("integer", [0, -1, 2**63], ["5", 1.5, True, None]),
        ("number", [0, 1.5, -1e300], ["5", False, None]),
        ("boolean", [True, False], ["true", 0, 1, None]),
        ("object", [{}, {"a": 1}], [[], "x", None]),
        ("array", [[], [1, "a"]], [{}, "x", None]),
    ],
)
def test_a_value_has_the_type_that_is_declared(kind: str, good: list[Any], bad: list[Any]) -> None:
    inputs = declare(a={"type": kind})
    for value in good:
        assert check_inputs(inputs, {"a": value}) == {"a": value}
    for value in bad:
        assert codes(inputs, {"a": value}) == ["AF062"]


def test_a_whole_number_written_as_a_fraction_becomes_an_integer() -> None:
    value = check_inputs(declare(a={"type": "integer"}), {"a": 3.0})["a"]
    assert (value, type(value)) == (3, int)


def test_all_problems_are_reported_each_with_its_input() -> None:
    inputs = declare(source_id={"required": True}, limit={"type": "integer"}, mode={"enum": ["full", "part"]})
    error = refused(inputs, {"sourceid": "x", "limit": "5", "mode": "ful"})
    assert [(one.code, one.pointer, one.suggestion) for one in error.diagnostics] == [
        ("AF060", "/inputs/sourceid", "did you mean `source_id`?"),
        ("AF061", "/inputs/source_id", None),
        ("AF062", "/inputs/limit", None),
        ("AF063", "/inputs/mode", None),
    ]
    assert error.message == "The flow declares no input `sourceid` (and 3 more)."
    assert error.pointer == "/inputs/sourceid"
    assert "did you mean `full`?" in error.diagnostics[3].message


def test_a_flow_without_inputs_says_so() -> None:
    assert refused({}, {"a": 1}).diagnostics[0].suggestion == "the flow has no inputs"


def test_equal_values_of_an_enum_are_equal_as_json() -> None:
    inputs = declare(a={"type": "number", "enum": [1, 2.5]}, b={"type": "array", "enum": [[1, {"x": True}]]})
    assert check_inputs(inputs, {"a": 1.0, "b": [1, {"x": True}]}) == {"a": 1.0, "b": [1, {"x": True}]}
    assert codes(inputs, {"b": [True, {"x": True}]}) == ["AF063"]
    assert codes(inputs, {"b": [1, {"x": 1}]}) == ["AF063"]


def test_a_pattern_matches_anywhere_unless_it_is_anchored() -> None:
    assert check_inputs(declare(a={"pattern": "b+"}), {"a": "abbc"}) == {"a": "abbc"}
    assert codes(declare(a={"pattern": "^b+$"}), {"a": "abbc"}) == ["AF064"]
    assert codes(declare(a={"pattern": "^b+$"}), {"a": "bb\n"}) == ["AF064"]


def test_a_schema_names_the_place_inside_the_value() -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"tags": {"items": {"type": "string"}}}}
    error = refused(declare(a={"type": "object", "schema": schema}), {"a": {"tags": ["x", 5]}})
    assert {(one.code, one.pointer) for one in error.diagnostics} == {
        ("AF065", "/inputs/a"),
        ("AF065", "/inputs/a/tags/1"),
    }


def test_a_schema_may_refer_to_itself() -> None:
    schema = {
        "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}}}},
        "$ref": "#/$defs/n",
    }
    inputs = declare(a={"type": "object", "schema": schema})
    assert check_inputs(inputs, {"a": {"v": 1, "next": {"v": 2}}})
    assert refused(inputs, {"a": {"next": {"next": {"v": "x"}}}}).diagnostics[0].pointer == "/inputs/a/next/next/v"


@pytest.mark.parametrize(
    "declared",
    [
        {"type": "integer"},
        {"enum": ["canary-2"]},
        {"pattern": "^x"},
        {"type": "object", "schema": {"properties": {"a": {"const": "x"}, "b": {"enum": [1]}}}},
        {"type": "object", "schema": {"additionalProperties": False}},
        {"type": "array", "schema": {"maxItems": 0}},
    ],
)
def test_a_secret_value_never_stands_in_a_message(declared: dict[str, Any]) -> None:
    value: Any = "canary-1"
    value = {"object": {"a": value, "b": value}, "array": [value]}.get(declared.get("type", ""), value)
    error = refused(declare(a={**declared, "secret": True}), {"a": value})
    assert "canary" not in repr((error.message, error.hint, error.diagnostics, error.details))


# --- limits --------------------------------------------------------------------------------------------------------


def test_inputs_have_at_most_one_mebibyte_of_json() -> None:
    inputs = declare(a={})
    room = MAX_INPUT_BYTES - len('{"a":""}')
    assert check_inputs(inputs, {"a": "x" * room})
    assert "at most 1,048,576" in refused(inputs, {"a": "x" * (room + 1)}).message


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), "\ud800", 2**4096, object(), {1: 2}, b"x"],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    assert "cannot be read as JSON" in refused(declare(a={"type": "array"}), {"a": [value]}).message


@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**40 + 1], ids=str)
@pytest.mark.parametrize("kind", ["integer", "number"])
def test_a_whole_number_beyond_64_bits_is_kept(number: int, kind: str) -> None:
    assert check_inputs(declare(a={"type": kind}), {"a": number}) == {"a": number}
    assert from_text(str(number), kind) == number


@pytest.mark.parametrize("value", [1e23, -1e16, 2.0**53, 2.0**53 + 2, 1e300])
def test_a_decimal_that_stands_for_many_whole_numbers_is_none_of_them(value: float) -> None:
    assert "must be a whole number" in refused(declare(a={"type": "integer"}), {"a": value}).message


@pytest.mark.parametrize(
    ("step", "fits"), [(7, False), (2, True), (0.5, True), (0.01, True), (1e10, False), (1.5e300, False)]
)
def test_a_schema_divides_long_numbers_exactly(step: float, fits: bool) -> None:
    inputs = declare(a={"type": "number", "schema": {"multipleOf": step}})
    for number in (2**70, 2**4000):
        if fits:
            assert check_inputs(inputs, {"a": number})
        else:
            assert "multiple" in refused(inputs, {"a": number}).message


@pytest.mark.parametrize("text", ["1e400", "NaN", "-Infinity", "9" * 5000])
def test_a_number_that_cannot_be_kept_stays_text_and_is_refused_by_its_name(text: str) -> None:
    value = from_text(text, "number")
    assert value == text
    assert "the input `a` must be a number" in refused(declare(a={"type": "number"}), {"a": value}).message.lower()


def test_endless_nesting_is_refused() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert "cannot be read as JSON" in refused(declare(a={"type": "array"}), {"a": value}).message


_TWICE = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"$defs": {**_TWICE, "d30": {}}, "$ref": "#/$defs/d0"}, []),
        ({"$ref": "#"}, []),
        ({"items": {"$ref": "#"}, "allOf": [{"$ref": "#/items"}]}, [[[]]]),
        ({"items": {"pattern": "(x+x+)+y"}}, ["x" * 500_000]),
        ({"items": {"patternProperties": {"(x+x+)+y": {}}, "additionalProperties": False}}, [{"x" * 30 + "z": 1}]),
        ({"uniqueItems": True}, [{"a": number} for number in range(50_000)]),
        ({"allOf": [{"items": {"type": "string"}}] * 500}, ["x"] * 5_000),
        ({"contains": {"const": 1}}, [0] * 100_000),
    ],
)
def test_no_schema_and_no_value_take_long(schema: dict[str, Any], value: Any) -> None:
    inputs = declare(a={"type": "array", "schema": schema})
    before = time.process_time()
    code = "invalid_input"
    try:
        check_inputs(inputs, {"a": value})
    except Invalid as error:
        code = error.code
    assert time.process_time() - before < 10
    assert code == "invalid_input"


def test_a_schema_that_asks_for_too_much_work_is_an_error_not_a_pass() -> None:
    schema = {"$defs": {**_TWICE, "d30": {}}, "$ref": "#/$defs/d0"}
    assert "too much work" in refused(declare(a={"type": "array", "schema": schema}), {"a": []}).message


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, {"a": "x", "b": 1}, {"b": "x"}),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, {"x1": 1}, {"y": 1}),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"y": "a"}, {"x": "a"}),
        ({"uniqueItems": True}, [1, True, "1", [1], {"a": 1}, {"a": True}], [{"a": [1]}, {"a": [1.0]}]),
        ({"uniqueItems": False}, [1, 1], None),
        (
            {"anyOf": [{"type": "string"}, {"properties": {"a": {"type": "integer"}}, "type": "object"}]},
            "x",
            {"a": "b"},
        ),
        ({"pattern": "^é+$"}, "éé", "éa"),
        (True, 1, None),
    ],
)
def test_our_own_keywords_mean_what_json_schema_says(schema: Any, good: Any, bad: Any) -> None:
    check = compile_schema(schema if isinstance(schema, dict) else {"allOf": [schema]}, SchemaBudget())
    assert check(good, SchemaBudget()) == []
    assert bad is None or check(bad, SchemaBudget()) != []


def test_a_null_that_a_template_made_leaves_a_declared_input_out() -> None:
    inputs = {"a": Input("a", required=True), "b": Input("b", has_default=True, default="x"), "c": Input("c", "object")}
    assert without_nulls(inputs, {"a": "1", "b": None, "c": None}) == {"a": "1"}
    assert without_nulls(inputs, {"a": "", "c": {}, "other": None}) == {"a": "", "c": {}, "other": None}


def test_inputs_keep_the_order_in_which_they_are_given() -> None:
    names = ("first", "zeta", "a", "bb")
    inputs = {name: Input(name, "integer", has_default=True, default=0) for name in names}
    assert list(check_inputs(inputs, {"zeta": 1, "a": 2})) == ["zeta", "a", "first", "bb"]
