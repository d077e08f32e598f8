"""Static checks of what a flow declares around its steps: inputs with their defaults, schedules and webhooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from automata.flow.cron import CronError, check_cron
from automata.flow.findings import Findings, child
from automata.flow.inputs import input_problems, value_problems, without_nulls
from automata.flow.lexing import has_template
from automata.flow.model import Input
from automata.flow.schema import MAX_PATTERN
from automata.flow.timefilters import NO_ZONES
from automata.flow.userschema import SchemaBudget, SchemaError, compile_pattern, compile_schema

# For all inputs, schedules and webhooks of a file together: about half a second.
FILE_WORK = 60_000
_ANYTHING = Input("", "object")  # in whose place an empty object stands
_TYPES = ("string", "integer", "number", "boolean", "object", "array")


def check_declared(spec: Mapping[str, Any], findings: Findings) -> None:
    """Check the inputs, schedules and webhooks that a spec declares; adds to `findings`."""
    work = SchemaBudget(FILE_WORK)
    inputs = _check_inputs(spec.get("inputs"), findings, work)
    names: set[str] = set()
    for pointer, schedule in _listed(spec, "schedules"):
        _check_schedule(schedule, pointer, findings)
        _check_name(schedule, pointer, names, findings, "AF053", "schedule")
        _check_schedule_inputs(schedule, pointer, inputs, findings, work)
    names = set()
    owners: dict[str, str] = {}
    for pointer, webhook in _listed(spec, "webhooks"):
        _check_name(webhook, pointer, names, findings, "AF055", "webhook")
        _check_own_secret(webhook, pointer, owners, findings)
        _check_webhook_inputs(webhook, pointer, inputs, findings, work)


def _listed(spec: Mapping[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings of a list, each with its pointer."""
    items = spec.get(key)
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield f"/{key}/{index}", item


def _check_inputs(declared: Any, findings: Findings, work: SchemaBudget) -> dict[str, Input] | None:
    """The inputs that schedules are checked against; None when one of them is not usable."""
    if declared is None:
        return {}
    if not isinstance(declared, dict):
        return None
    inputs: dict[str, Input] = {}
    before = sum(finding.severity == "error" for finding in findings.found)
    for name, spec in declared.items():
        pointer = child("/inputs", name)
        if (read := _read_input(name, spec)) and _check_rules(read, pointer, findings, work):
            _check_values(read, pointer, findings, work)
            inputs[name] = read
    usable = len(inputs) == len(declared) and before == sum(finding.severity == "error" for finding in findings.found)
    return inputs if usable else None


def _read_input(name: str, spec: Any) -> Input | None:
    """The input, or None for one whose shape is wrong already."""
    if not isinstance(spec, dict) or spec.get("type", "string") not in _TYPES:
        return None
    enum, pattern, schema = spec.get("enum"), spec.get("pattern"), spec.get("schema")
    return Input(
        name=name,
        type=spec.get("type", "string"),
        required=spec.get("required") is True,
        has_default="default" in spec,
        default=spec.get("default"),
        enum=tuple(enum) if isinstance(enum, list) else None,
        pattern=pattern if isinstance(pattern, str) and len(pattern) <= MAX_PATTERN else None,
        schema=schema if isinstance(schema, dict) else None,
        secret=spec.get("secret") is True,
    )


def _check_rules(declared: Input, pointer: str, findings: Findings, work: SchemaBudget) -> bool:
    """Whether pattern and schema can be used."""
    before = len(findings.found)
    if declared.pattern is not None:
        if declared.type != "string":
            message = f"`pattern` is for inputs of type string, not {declared.type}"
            findings.add("AF043", message, f"{pointer}/pattern", name=True)
        try:
            compile_pattern(declared.pattern)
        except SchemaError as error:
            findings.add("AF041", f"`pattern`: {error}", f"{pointer}/pattern")
    if declared.schema is not None:
        if declared.type not in ("object", "array"):
            message = f"`schema` is for inputs of type object or array, not {declared.type}"
            findings.add("AF043", message, f"{pointer}/schema", "use `enum` or `pattern`", name=True)
        try:
            compile_schema(declared.schema, work)
        except SchemaError as error:
            findings.add("AF042", f"`schema`: {error}", f"{pointer}/schema{error.pointer}")
    return len(findings.found) == before


def _check_values(declared: Input, pointer: str, findings: Findings, work: SchemaBudget) -> None:
    bare = Input(declared.name, declared.type)
    for index, value in enumerate(declared.enum or ()):
        for _, problem in value_problems(bare, value, work):
            findings.add("AF045", f"a value of `enum` {problem.message}", f"{pointer}/enum/{index}")
    if not declared.has_default:
        return
    place = f"{pointer}/default"
    for _, problem in value_problems(declared, declared.default, work):
        findings.add("AF040", f"`default` {problem.message}", f"{place}{problem.pointer}")
    if declared.required:
        message = f"`{declared.name}` has a default, so that `required` has no effect"
        findings.add("AF044", message, f"{pointer}/required", name=True, severity="warning")
    if declared.secret:
        message = f"the default of the secret `{declared.name}` stands in the repository for everyone to read"
        findings.add("AF046", message, place, name=True, severity="warning")


def _check_schedule(schedule: Mapping[str, Any], pointer: str, findings: Findings) -> None:
    cron, zone = schedule.get("cron"), schedule.get("timezone")
    if isinstance(cron, str):
        try:
            check_cron(cron)
        except CronError as error:
            findings.add("AF050", str(error), f"{pointer}/cron", error.suggestion)
    if isinstance(zone, str) and zone not in _zones():
        hint = findings.nearest.hint(zone, _zones())
        findings.add("AF051", f"`{zone[:60]}` is not an IANA time zone", f"{pointer}/timezone", hint)


def _check_name(
    item: Mapping[str, Any], pointer: str, names: set[str], findings: Findings, code: str, noun: str
) -> None:
    name = item.get("name")
    if isinstance(name, str):
        if name in names:
            findings.add(code, f"a {noun} `{name}` exists already in this flow", f"{pointer}/name")
        names.add(name)


def _check_own_secret(webhook: Mapping[str, Any], pointer: str, owners: dict[str, str], findings: Findings) -> None:
    secret, name = webhook.get("secret"), webhook.get("name")
    if isinstance(secret, str) and isinstance(name, str) and (first := owners.setdefault(secret, name)) != name:
        message = f"the webhook `{first}` has the secret `{secret}` too: who may call one may call both"
        findings.add("AF058", message, f"{pointer}/secret", "give each webhook a secret of its own", severity="warning")


def _check_schedule_inputs(
    schedule: Mapping[str, Any], pointer: str, inputs: dict[str, Input] | None, findings: Findings, work: SchemaBudget
) -> None:
    values = schedule.get("inputs", {})
    if inputs is None or not isinstance(values, dict):
        return
    for problem in input_problems(inputs, values, work, findings.nearest):
        where = pointer + problem.pointer
        findings.add("AF052", f"in this schedule {problem.message}", where, problem.suggestion, name=True)


def _check_webhook_inputs(
    webhook: Mapping[str, Any], pointer: str, inputs: dict[str, Input] | None, findings: Findings, work: SchemaBudget
) -> None:
    """Names are checked, and values that hold no template: what a template gives is known only with a delivery."""
    values = webhook.get("inputs")
    if inputs is None or not isinstance(values, dict):
        return
    fitting = {name: _ANYTHING if _templated(values.get(name)) else declared for name, declared in inputs.items()}
    constants = {name: {} if _templated(value) else value for name, value in without_nulls(inputs, values).items()}
    for problem in input_problems(fitting, constants, work, findings.nearest):
        where = pointer + problem.pointer
        findings.add("AF054", f"in this webhook {problem.message}", where, problem.suggestion, name=True)


def _templated(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_templated, value.values()))
    return any(map(_templated, value)) if isinstance(value, list) else isinstance(value, str) and has_template(value)


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones() - NO_ZONES)
