"""The shape of `config` for each step type of the language, and the words schemas are written with."""

from __future__ import annotations

from typing import Any

from automata.flow.steptypes import GROUP

MAX_TEXT = 10_000
# Ten years: past any business process, and far from where adding it to a date overflows.
MAX_DELAY_SEC = 10 * 366 * 86_400
MAX_RESPONSE_BYTES = 100 * 1024 * 1024
DEFAULT_RESPONSE_BYTES = 10 * 1024 * 1024
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Schema = dict[str, Any]


def ref(name: str, **more: Any) -> Schema:
    return {"$ref": f"#/$defs/{name}", **more}


def text(description: str, longest: int = MAX_TEXT) -> Schema:
    return {"type": "string", "maxLength": longest, "description": description}


def or_template(schema: Schema, description: str) -> Schema:
    return {"anyOf": [schema, ref("template")], "description": description}


def number(low: float, high: float, description: str, kind: str = "number", default: float | None = None) -> Schema:
    usual = {} if default is None else {"default": default}
    return {"type": kind, "minimum": low, "maximum": high, **usual, "description": description}


def flag(description: str, default: bool = False) -> Schema:
    return {"type": "boolean", "default": default, "description": description}


def closed(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False, **more}


def one_of(*keys: str) -> list[Schema]:
    return [{"required": [key]} for key in keys]


SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
STATUS: Schema = {"type": "integer", "minimum": 100, "maximum": 599, "title": "a status code"}
STATUS_RANGE: Schema = {
    "type": "string",
    "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
    "title": "a range of status codes such as `200-299`",
}

HTTP_CONFIG: Schema = closed(
    {
        "method": or_template({"enum": list(METHODS), "default": "GET"}, "The HTTP method."),
        "url": {
            "type": "string",
            "pattern": "^(https?://[^\\s/]|[^{]*\\{[{%])",
            "maxLength": 16_384,
            "title": "an address that starts with http:// or https://, or a template",
            "description": "Where the request goes; templates are allowed in every part.",
        },
        "query": or_template(
            {
                "type": "object",
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
        "form": or_template({"type": "object", "additionalProperties": SCALAR}, "Fields, sent as a URL-encoded form."),
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
        "inputs": or_template({"type": "object"}, "Its inputs; checked against what it declares."),
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

CONFIG_SCHEMAS: dict[str, Schema] = {
    "http": HTTP_CONFIG,
    "delay": DELAY_CONFIG,
    "transform": TRANSFORM_CONFIG,
    GROUP: GROUP_CONFIG,
    "flow": FLOW_CONFIG,
    "approval": APPROVAL_CONFIG,
}
