"""The static checks: one example a code, and the rules of what a step may wait for and read."""

from __future__ import annotations

import textwrap

import pytest  # noqa: F401

from automata.errors import Diagnostic
from automata.flow.check import check_flow  # noqa: F401
from automata.flow.codes import CODES  # noqa: F401
from automata.flow.cron import CronError, check_cron  # noqa: F401
from automata.flow.load import load_flow, validate_text  # noqa: F401

DELAY = "type: delay, config: {duration_sec: 1}"
HTTP = "type: http, config: {url: https://x.example.com}"


def found(text: str, **types: object) -> list[Diagnostic]:
    return list(validate_text(textwrap.dedent(text), "a.yaml", types).diagnostics)  # type: ignore[arg-type]


def steps(*lines: str, more: str = "") -> list[Diagnostic]:
    """A flow of steps, each a flow mapping without its braces."""
    listed = "".join(f"  - {{{line}}}\n" for line in lines)
    return found(f"name: a\nsteps:\n{listed}{textwrap.dedent(more)}")


def mapping(template: str, *before: str, depends_on: str = "", more: str = "") -> list[Diagnostic]:
    """What is wrong with a `transform` that reads `template`, after some other steps."""
    text = template.replace("'", "''")
    reader = f"id: reader, type: transform, depends_on: [{depends_on}], config: {{mappings: {{x: '{text}'}}}}"
    return steps(*before, reader, more=more)


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    return [one.code for one in diagnostics]


def one(diagnostics: list[Diagnostic]) -> str:
    """The only finding, without its place."""
    assert len(diagnostics) == 1, diagnostics
    return str(diagnostics[0]).partition(": ")[2]


# --- one example a code --------------------------------------------------------------------------------------------

_INPUT = "inputs: {{x: {{{}}}}}"
_SCHEDULE = "schedules: [{{name: n, {}}}]"
EXAMPLES = {
    "AF016": [f"{{id: s{n}, {DELAY}}}" for n in range(1_001)],
    "AF020": [f"id: s, {DELAY}, nmae: x"],
    "AF021": ["id: s, type: delay"],
    "AF022": [f"id: s, {DELAY}, depends_on: x"],
    "AF023": ["id: s, type: http, config: {url: https://x.example.com, method: GTE}"],
    "AF024": ["id: 1s, " + DELAY],
    "AF025": [f"id: s, {HTTP}, retry: {{max_attempts: 0}}"],
    "AF026": ["id: s, type: parallel, branches: []"],
    "AF027": ["id: s, type: parallel, branches: [{id: b, steps: []}]"],
    "AF028": ["id: s, type: htttp"],
    "AF029": ["id: s, type: delay, config: {}"],
    "AF030": ["id: s, type: http, config: {url: https://x.example.com, ok_status: 299-200}"],
    "AF032": [f"id: s, {DELAY}, timeout_sec: 5"],
    "AF033": [f"id: s, {HTTP}, retry: {{on_status: [500, 500]}}"],
    "AF034": ["id: s, type: chat, config: {}"],
    "AF035": ["id: s, type: delay, config: {until: tomorrow}"],
    "AF040": _INPUT.format("type: integer, default: x"),
    "AF041": _INPUT.format("pattern: '(a'"),
    "AF042": _INPUT.format("type: object, schema: {type: strin}"),
    "AF043": _INPUT.format("type: integer, pattern: a"),
    "AF044": _INPUT.format("required: true, default: x"),
    "AF045": _INPUT.format("type: integer, enum: [x]"),
    "AF046": _INPUT.format("secret: true, default: x"),
    "AF050": _SCHEDULE.format("cron: '* * * *'"),
    "AF051": _SCHEDULE.format("interval_sec: 60, timezone: Mars/Olympus"),
    "AF052": _SCHEDULE.format("interval_sec: 60, inputs: {y: 1}"),
    "AF053": "schedules: [{name: n, interval_sec: 60}, {name: n, interval_sec: 61}]",
    "AF090": [f"id: s, {DELAY}, foreach: x"],
    "AF100": [f"id: s, {DELAY}", f"id: s, {DELAY}"],
    "AF101": [f"id: s, {DELAY}, depends_on: [t]"],
    "AF102": [f"id: s, {DELAY}, depends_on: [s]"],
    "AF103": [f"id: s, {DELAY}, depends_on: [t]", f"id: t, {DELAY}, depends_on: [s]"],
    "AF104": ["id: s, type: transform, config: {mappings: {x: '{{ steps.t.status }}'}}"],
    "AF105": [f"id: t, {DELAY}", "id: s, type: transform, config: {mappings: {x: '{{ steps.t.status }}'}}"],
    "AF106": [
        f"id: t, {DELAY}",
        "id: s, type: transform, depends_on: [t], config: {mappings: {x: '{{ steps.t.outputs.y }}'}}",
    ],
    "AF107": ["id: s, type: transform, config: {mappings: {x: '{{ inputs.y }}'}}"],
    "AF108": ["id: s, type: transform, config: {mappings: {x: '{{ secrets.Y }}'}}"],
    "AF111": ["id: s, type: transform, config: {mappings: {x: '{{ run.y }}'}}"],
    "AF112": [f"id: s, {DELAY}, depends_on: [f]"],
    "AF113": [
        f"id: s, type: parallel, branches: [{{id: b, steps: [{{id: x, {DELAY}}}]}}, {{id: b, steps: [{{id: y, {DELAY}}}]}}]"  # noqa: E501
    ],
    "AF200": ["id: s, type: transform, config: {mappings: {x: '{{ 1 + }}'}}"],
    "AF201": ["id: s, type: transform, config: {mappings: {x: '{{ 1 }}" + "x" * 16_400 + "'}}"],
    "AF202": ["id: s, type: transform, config: {mappings: {x: '{{ " + "(" * 100 + "1" + ")" * 100 + " }}'}}"],
    "AF203": ["id: s, type: transform, config: {mappings: {x: '{% set a = 1 %}'}}"],
    "AF204": ["id: s, type: transform, config: {mappings: {x: '{{ input.y }}'}}"],
    "AF205": ["id: s, type: transform, config: {mappings: {x: '{{ vars.y | uper }}'}}"],
    "AF206": ["id: s, type: transform, config: {mappings: {x: '{{ vars.y is defned }}'}}"],
    "AF207": ["id: s, type: transform, config: {mappings: {x: '{{ noww() }}'}}"],
    "AF208": ["id: s, type: transform, config: {mappings: {x: '{{ steps[vars.y].status }}'}}"],
    "AF209": ["id: s, type: transform, config: {mappings: {x: '{{ now(1, 2, 3) }}'}}"],
}
# Codes of reading (tests/flow/test_load.py), of inputs at run time (test_inputs.py), of rendering (test_template.py),
# and of many files together (tests/cli/test_validate.py).
ELSEWHERE = {
    *[f"AF{number:03}" for number in range(18)],
    *("AF060", "AF061", "AF062", "AF063", "AF064", "AF065", "AF114", "AF115"),
    *("AF210", "AF211", "AF212", "AF213"),
}
_FAILURE = f"on_failure: {{id: f, {DELAY}}}\n"
_CHAT = {"type": "object", "required": ["room"], "properties": {"room": {"type": "integer"}}}


def example(code: str) -> list[Diagnostic]:
    given = EXAMPLES[code]
    lines = (
        [f"id: s, {DELAY}"]
        if isinstance(given, str)
        else [line.strip("{}") if code == "AF016" else line for line in given]
    )
    listed = "".join(
        f"  - {{{line}}}\n" for line in (lines if code != "AF016" else [f"{line}}}"[:-1] + "}" for line in lines])
    )
    more = f"{given}\n" if isinstance(given, str) else ""
    return found(f"name: a\nsteps:\n{listed}{_FAILURE}{more}", chat=_CHAT)
