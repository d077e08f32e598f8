"""The tables of docs/language.md, from the schema and the constants themselves, so that none can say something else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from automata.engine.schedule import MAX_FIRES
from automata.engine.states import TRIGGER_MEANINGS, Trigger
from automata.flow import budget, decimalfilters, jmesfilters, textfilters, xmlfilters, yaml12
from automata.flow.expression import MAX_NODES_DEEP
from automata.flow.filters import FILTER_NAMES, FUNCTION_NAMES, TEST_NAMES
from automata.flow.inputs import MAX_INPUT_BYTES
from automata.flow.lexing import MAX_BRACKETS
from automata.flow.model import MAX_ITEMS
from automata.flow.schema import FLOW_SCHEMA, MAX_BRANCHES, MAX_MEMBERS, MAX_STEPS, MAX_TIMEOUT_SEC
from automata.flow.steptypes import STEP_TYPES, StepKind, StepTypeRow
from automata.flow.template import MAX_TEMPLATE
from automata.steps.execute import MAX_OUTPUT_BYTES
from automata.steps.http_redirect import MAX_REDIRECTS
from automata.steps.http_request import MAX_HEADER_CHARS

_PLACE = re.compile(r"(<!-- made: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
    "array": "list",
    "null": "`null`",
}
# Where another part of the page has the keys.
_PARTS = {
    "branch": "[branches](#parallel)",
    "input": "[inputs](#inputs)",
    "outputs": "names to templates",
    "retry": "[retry](#retries)",
    "schedule": "[schedules](#schedules)",
    "step": "a [step](#steps)",
    "steps": "a list of [steps](#steps)",
    "webhook": "[webhooks](#webhooks)",
}
_RUNNERS: Mapping[StepKind, str] = {
    "work": "a worker",
    "instant": "the orchestrator, at once",
    "timer": "a time or an event; no worker is held",
    "group": "the steps inside it",
}
_UNITS = ((1 << 20, "MiB"), (1 << 10, "KiB"))


def language_page(text: str) -> str:
    """The page with its tables written again."""
    return filled(text, tables())


def filled(text: str, tables: Mapping[str, str]) -> str:
    """The page with each table between `<!-- made: NAME -->` and `<!-- end -->` written again. Raises KeyError."""
    return _PLACE.sub(lambda place: f"{place[1]}\n{tables[place[2]]}\n\n{place[3]}", text)


def tables() -> dict[str, str]:
    """Name to Markdown of all that is made."""
    definitions = FLOW_SCHEMA["$defs"]
    keys = {name: schema for name, schema in definitions.items() if schema.get("properties")}
    key_tables = {name: _keys(schema) for name, schema in {"flow": FLOW_SCHEMA, **keys}.items()}
    return {
        **key_tables,
        "step_types": _step_types(),
        "triggers": _triggers(),
        "limits": _limits(),
        "filters": _names(FILTER_NAMES),
        "tests": _names(TEST_NAMES),
        "functions": _names(FUNCTION_NAMES),
    }


def _names(names: frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _triggers() -> str:
    rows = [f"| `{trigger}` | {TRIGGER_MEANINGS[trigger]} |" for trigger in Trigger]
    return "\n".join(["| trigger | what started the run |", "|---|---|", *rows])


def _step_types() -> str:
    rows = [
        f"| [`{row.name}`](#{row.name}) | {row.summary} | {_RUNNERS[row.kind]} | {_example(row)} |"
        for row in STEP_TYPES.values()
    ]
    return "\n".join(["| type | | brought to its end by | at the least |", "|---|---|---|---|", *rows])


def _example(row: StepTypeRow) -> str:
    return ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in row.example.items())


# --- keys ----------------------------------------------------------------------------------------------------------


def _keys(schema: Mapping[str, Any]) -> str:
    rows = [f"| {key} | {value} | {default} | {words} |" for key, value, default, words in _rows(schema, "")]
    return "\n".join(["| key | value | when not given | |", "|---|---|---|---|", *rows])


def _rows(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, property in schema["properties"].items():
        default = _usual(property)
        absent = "**required**" if name in required else "" if default is None else f"`{default}`"
        yield f"`{prefix}{name}`", _cell(_value(property)), _cell(absent), _cell(property.get("description", ""))
        if "properties" in property and "$ref" not in property:
            yield from _rows(property, f"{prefix}{name}.")


def _usual(schema: Mapping[str, Any]) -> str | None:
    for option in (schema, *schema.get("anyOf", ())):
        if "default" in option:
            value = option["default"]
            return value if isinstance(value, str) else json.dumps(value)
    return None


def _value(schema: Mapping[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "anyOf" in schema:
        return ", or ".join(dict.fromkeys(_value(option) for option in schema["anyOf"]))
    if "$ref" in schema:
        name = _name(schema)
        return _PARTS.get(name) or str(FLOW_SCHEMA["$defs"][name]["title"])
    if "enum" in schema:
        return ", ".join(f"`{option}`" for option in schema["enum"])
    if "title" in schema and "items" not in schema:
        return str(schema["title"])
    return _plain(schema)


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _plain(schema: Mapping[str, Any]) -> str:
    kinds = schema.get("type", [])
    words = " or ".join(_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "anything"
    if "$ref" in (items := schema.get("items", {})):
        words = f"a list of {_PARTS[_name(items)]}"
    if "$ref" in (members := schema.get("additionalProperties") or {}):
        words = f"names to {_PARTS[_name(members)]}"
    return words + "".join(f", {bound}" for bound in _bounds(schema))


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    low, over, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if over is not None:
        yield f"more than {over:,} and at most {high:,}"
    elif low is not None:
        yield f"{low:,} to {high:,}"
    for key, noun in (("maxLength", "characters"), ("maxItems", "entries"), ("maxProperties", "entries")):
        if key in schema:
            yield f"at most {schema[key]:,} {noun}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- limits --------------------------------------------------------------------------------------------------------


def _limits() -> str:
    rows = [f"| {what} | {_cell(most)} | {code} |" for what, most, code in _limit_rows()]
    return "\n".join(["| what | at most | beyond it |", "|---|---|---|", *rows])


def _limit_rows() -> Iterator[tuple[str, str, str]]:
    yield "a file", _size(yaml12.MAX_BYTES), "`AF003`"
    yield "levels of nesting in a file", f"{yaml12.MAX_NESTING:,}", "`AF004`"
    yield "nodes in a file", f"{yaml12.MAX_NODES:,}", "`AF005`"
    yield "steps in a flow, nested ones too", f"{MAX_STEPS:,}", "`AF016`"
    yield "branches of a `parallel`", f"{MAX_BRANCHES:,}", "`AF026`"
    yield "names in `outputs` or `mappings`", f"{MAX_MEMBERS:,}", "`AF026`"
    yield "a template", f"{MAX_TEMPLATE:,} characters", "`AF201`"
    yield "brackets within brackets in a template", f"{MAX_BRACKETS}", "`AF202`"
    yield "parts within parts in an expression", f"{MAX_NODES_DEEP}", "`AF202`"
    yield "turns of loops in a render", f"{budget.MAX_TURNS:,}", "`AF212`"
    yield "text made in a render", _size(budget.MAX_TEXT), "`AF212`"
    yield "text of a rendered value", _size(budget.MAX_RESULT_TEXT), "`AF212`"
    yield "entries of a rendered value", f"{budget.MAX_RESULT_ITEMS:,}", "`AF212`"
    yield "a whole number in a template", f"{budget.MAX_INT_BITS:,} bits", "`AF212`"
    yield "a regular expression", f"{textfilters.MAX_PATTERN:,} characters", "`AF211`"
    yield "a JMESPath expression", f"{jmesfilters.MAX_EXPRESSION:,} characters", "`AF209`"
    yield "digits of an exact decimal", f"{decimalfilters.MAX_DECIMAL_DIGITS:,}", "`AF212`"
    yield "levels of elements in XML", f"{xmlfilters.MAX_XML_DEPTH:,}", "`AF211`"
    yield "different regular expressions in a render", f"{budget.MAX_PATTERNS}", "`AF212`"
    yield "the inputs of a run", _size(MAX_INPUT_BYTES), "`invalid_input`"
    yield "the outputs of a step", _size(MAX_OUTPUT_BYTES), "`output_too_large`"
    yield "items of a `foreach`", f"{MAX_ITEMS:,}", "`foreach_too_long`"
    yield "an attempt", f"{MAX_TIMEOUT_SEC:,} seconds", "`timeout`"
    yield "redirects of a request", f"{MAX_REDIRECTS}", "`too_many_redirects`"
    yield "the value of a header", f"{MAX_HEADER_CHARS:,} characters", "`bad_config`"
    yield "runs that a schedule catches up", f"{MAX_FIRES}", "the newest are taken"


def _size(amount: int) -> str:
    for unit, name in _UNITS:
        if amount % unit == 0:
            return f"{amount // unit:,} {name}"
    return f"{amount:,} bytes"
