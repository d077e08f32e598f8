"""THE table of step types: what validation, editors, the plan, the sandbox, replay, workers and the docs know of each.

A type has one row in `STEP_TYPES`. Everything else about it is derived from the row, but for the code that runs it
(automata/steps) and its section in docs/language.md. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from automata.flow.findings import Findings, child
from automata.flow.lexing import has_template
from automata.flow.media import codec_of
from automata.flow.schema_parts import (
    METHODS,
    PARAMETER_NAME,
    SCALAR,
    STATUS,
    STATUS_RANGE,
    Schema,
    closed,
    flag,
    number,
    one_of,
    or_template,
    ref,
    text,
)
from automata.flow.shape import show

# Who brings a step to its end, and what that costs.
#   work     a worker runs attempts; `retry`, `timeout_sec` and `queue` have a meaning only here
#   instant  the engine decides it on the spot
#   timer    it waits for a time or an event, as a row of the database; it holds no worker
#   group    the engine, when the steps inside it are over
StepKind = Literal["work", "instant", "timer", "group"]
# The name under which the templates of `outputs` see what the step gave.
OutputScope = Literal["response", "result"]
# Adds what a schema cannot say of a config: (config, its JSON pointer, findings).
ConfigCheck = Callable[[Mapping[str, Any], str, Findings], None]

GROUP = "parallel"
# Ten years: past any business process, and far from where adding it to a date overflows.
MAX_DELAY_SEC = 10 * 366 * 86_400
MAX_RESPONSE_BYTES = 100 * 1024 * 1024
DEFAULT_RESPONSE_BYTES = 10 * 1024 * 1024
READINGS = ("auto", "json", "text", "none")  # how the body of an answer is read


@dataclass(frozen=True, slots=True)
class StepTypeRow:
    """One built-in type. It is a `StepInfo` (automata/steps/contract.py) too, so the catalogue lists the rows.

    `summary`: one sentence for the docs. `example`: the least that a step has besides `id` and `type`. `outputs`: the
    names that a step without `outputs` gives, None when they are known only when it runs. `outputs_key`, `address_key`,
    `flow_key`: the key of `config` whose names are the outputs, that holds the address of a request, and that names
    another flow. `external`: its result comes from a service, a person or another flow, so that a mock or a recording
    may give it. `reads_secrets`: its config may.
    """

    name: str
    kind: StepKind
    config_schema: Schema
    summary: str
    example: Mapping[str, Any]
    outputs: tuple[str, ...] | None = None
    scope: OutputScope = "result"
    external: bool = False
    reads_secrets: bool = False
    outputs_key: str | None = None
    address_key: str | None = None
    flow_key: str | None = None
    check_config: ConfigCheck | None = None

    @property
    def needs_config(self) -> bool:
        """Whether a step must have a `config`, since something in it is required."""
        return "required" in self.config_schema or "oneOf" in self.config_schema


# --- what a schema cannot say ---------------------------------------------------------------------------------------


def _check_ok_status(config: Mapping[str, Any], pointer: str, findings: Findings) -> None:
    value, pointer = config.get("ok_status"), f"{pointer}/ok_status"
    for index, part in enumerate(value if isinstance(value, list) else [value]):
        low, dash, high = part.partition("-") if isinstance(part, str) else ("", "", "")
        if dash and low.isdecimal() and high.isdecimal() and int(low) > int(high):
            place = child(pointer, index) if isinstance(value, list) else pointer
            findings.add("AF030", f"the range `{part}` runs backwards", place, f"write `{high}-{low}`")


def _check_charset(config: Mapping[str, Any], pointer: str, findings: Findings) -> None:
    value = config.get("charset")
    if isinstance(value, str) and codec_of(value) is None:
        message = f"{show(value)} is not the name of a charset"
        findings.add("AF036", message, f"{pointer}/charset", "write one such as `iso-8859-1`")


def _check_http(config: Mapping[str, Any], pointer: str, findings: Findings) -> None:
    _check_ok_status(config, pointer, findings)
    _check_charset(config, pointer, findings)


def _check_until(config: Mapping[str, Any], pointer: str, findings: Findings) -> None:
    value = config.get("until")
    if not isinstance(value, str) or not value or has_template(value):
        return
    try:
        datetime.fromisoformat(value.strip())
    except ValueError:
        hint = "write it like `2026-01-05T09:00:00Z`"
        message = f"`until` must be a time or a template, not {show(value)}"
        findings.add("AF035", message, f"{pointer}/until", hint)


# --- the shapes of `config` -----------------------------------------------------------------------------------------

HTTP_CONFIG: Schema = closed(
    {
        "method": or_template({"enum": list(METHODS), "default": "GET"}, "The HTTP method."),
        "url": {
            "type": "string",
            "pattern": "^(https?://([^\\s/?#@]*@)?[^\\s/?#@:]|[^{]*\\{[{%])",
            "maxLength": 16_384,
            "title": "an address that starts with http:// or https://, or a template",
            "description": "Where the request goes; templates are allowed in every part, values stay inside theirs.",
        },
        "query": or_template(
            {
                "type": "object",
                "propertyNames": PARAMETER_NAME,
                "additionalProperties": {
                    "anyOf": [SCALAR, {"type": "array", "items": SCALAR}],
                },
            },
            "Query parameters; a list repeats its name, null leaves it out.",
        ),
        "headers": or_template(
            {
                "type": "object",
                "propertyNames": {
                    "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$",
                    "title": "the name of an HTTP header",
                },
                "additionalProperties": SCALAR,
            },
            "Request headers; null leaves one out.",
        ),
        "body": {"description": "The request body: text, or an object or list that is sent as JSON."},
        "form": or_template(
            {"type": "object", "propertyNames": PARAMETER_NAME, "additionalProperties": SCALAR},
            "Fields, sent as a URL-encoded form.",
        ),
        "auth": closed(
            {
                "bearer": {"type": "string", "minLength": 1, "description": "A bearer token."},
                "basic": closed(
                    {"username": {"type": "string"}, "password": {"type": "string"}}, ("username", "password")
                ),
            },
            oneOf=one_of("bearer", "basic"),
            description="Credentials; take them from `secrets`.",
        ),
        "ok_status": {
            "anyOf": [
                {"type": "array", "items": {"anyOf": [STATUS, STATUS_RANGE]}, "minItems": 1, "maxItems": 50},
                STATUS_RANGE,
                STATUS,
            ],
            "default": "200-399",
            "description": "Which status codes are a success.",
        },
        "follow_redirects": flag("Follow redirects; each target is vetted again.", True),
        "verify_tls": flag("Check the server's certificate.", True),
        "max_response_bytes": number(
            1, MAX_RESPONSE_BYTES, "The largest response that is read.", "integer", DEFAULT_RESPONSE_BYTES
        ),
        "response": {
            "enum": list(READINGS),
            "default": "auto",
            "description": "How the body of the answer is read; `none` does not read it.",
        },
        "charset": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._:-]{1,40}$",
            "title": "the name of a charset",
            "description": "The charset of the answer, where the service names none or the wrong one.",
        },
    },
    ("url",),
    **{"not": {"required": ["body", "form"]}},
    title="config of an `http` step",
)

DELAY_CONFIG: Schema = closed(
    {
        "duration_sec": or_template(number(0, MAX_DELAY_SEC, "Seconds."), "Wait so many seconds."),
        "duration_ms": or_template(number(0, MAX_DELAY_SEC * 1000, "Milliseconds."), "Wait so many milliseconds."),
        "until": {
            "type": "string",
            "minLength": 1,
            "description": "Wait until this time, such as 2026-01-05T09:00:00Z (UTC without a zone), or a template.",
        },
    },
    oneOf=one_of("duration_sec", "duration_ms", "until"),
    title="config of a `delay` step",
)

TRANSFORM_CONFIG: Schema = closed(
    {"mappings": ref("outputs", description="Name to template; the results are the step's outputs.")},
    ("mappings",),
    title="config of a `transform` step",
)

GROUP_CONFIG: Schema = closed({}, title="config of a `parallel` step (it has none)")

FLOW_CONFIG: Schema = closed(
    {
        "flow": text("The name of the flow to run, or a template.", 16_384) | {"minLength": 1},
        "inputs": or_template({"type": "object"}, "Its inputs; checked against what it declares. Null leaves one out."),
        "wait": flag("Wait for its end; with false the step succeeds as soon as the run is accepted.", True),
    },
    ("flow",),
    title="config of a `flow` step",
)

APPROVAL_CONFIG: Schema = closed(
    {
        "prompt": text("What is asked, for whoever decides; templates are allowed."),
        "expires_sec": or_template(
            {**number(0, MAX_DELAY_SEC, "Seconds."), "exclusiveMinimum": 0}, "Fail when nobody has decided by then."
        ),
    },
    title="config of an `approval` step",
)

# --- the table ------------------------------------------------------------------------------------------------------

_ROWS = (
    StepTypeRow(
        name="http",
        kind="work",
        config_schema=HTTP_CONFIG,
        summary="Sends a request, and reads the answer.",
        example={"config": {"url": "https://crm.example.com/orders"}},
        outputs=("status_code", "headers", "body", "body_error"),
        scope="response",
        external=True,
        reads_secrets=True,
        address_key="url",
        check_config=_check_http,
    ),
    StepTypeRow(
        name="delay",
        kind="timer",
        config_schema=DELAY_CONFIG,
        summary="Waits so long, or until a time.",
        example={"config": {"duration_sec": 60}},
        outputs=("slept_ms",),
        check_config=_check_until,
    ),
    StepTypeRow(
        name="transform",
        kind="instant",
        config_schema=TRANSFORM_CONFIG,
        summary="Makes values of values.",
        example={"config": {"mappings": {"answer": 42}}},
        outputs_key="mappings",
    ),
    StepTypeRow(
        name=GROUP,
        kind="group",
        config_schema=GROUP_CONFIG,
        summary="Runs branches side by side.",
        example={
            "branches": [{"id": "left", "steps": [{"id": "nap", "type": "delay", "config": {"duration_sec": 1}}]}]
        },
    ),
    StepTypeRow(
        name="flow",
        kind="timer",
        config_schema=FLOW_CONFIG,
        summary="Runs another flow.",
        example={"config": {"flow": "send-report"}},
        external=True,
        flow_key="flow",
    ),
    StepTypeRow(
        name="approval",
        kind="timer",
        config_schema=APPROVAL_CONFIG,
        summary="Waits for the decision of a person.",
        example={},
        outputs=("approved", "by", "comment"),
        external=True,
    ),
)

STEP_TYPES: Mapping[str, StepTypeRow] = {row.name: row for row in _ROWS}
BUILTIN_TYPES = tuple(STEP_TYPES)


def kind_of(name: str) -> StepKind:
    """The kind of a type by its name; the types of installed packages are all `work`."""
    row = STEP_TYPES.get(name)
    return "work" if row is None else row.kind


def names_of(*kinds: StepKind) -> Iterator[str]:
    """The built-in types of these kinds, in the order of the table."""
    return (row.name for row in _ROWS if row.kind in kinds)
