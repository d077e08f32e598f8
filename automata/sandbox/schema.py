"""The shape of a sandbox test file and of a file of shared mocks, as JSON Schemas that validation and editors share.

`python -m automata.sandbox.schema [FOLDER]` writes them into `schemas/`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from automata.flow.schema_parts import METHODS, Schema, closed, ref

MAX_CASES = 1_000
MAX_MOCKS = 500
MAX_RESPONSES = 1_000
MAX_TEXT = 100_000
FAULTS = ("timeout", "reset", "dns", "malformed", "truncated")

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_ID: Schema = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$",
    "title": "a name (letters, digits, `_`, `-` and `.`; at most 100)",
}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200}
_PATH: Schema = {"type": "string", "minLength": 1, "maxLength": 1024}
_TEXT: Schema = {"type": "string", "maxLength": MAX_TEXT}
_TIME: Schema = {
    "type": "string",
    "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})$",
    "title": "a time with its offset, such as `2026-01-05T09:00:00Z`",
}
_COUNT: Schema = {"type": "integer", "minimum": 0, "maximum": 100_000}
_STEP_STATUS: Schema = {"enum": ["SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED"]}

_DEFS: Schema = {
    "matcher": {
        "description": "An exact value, or one of regex, glob, present.",
        "anyOf": [
            {"type": ["string", "number", "boolean"]},
            closed({"regex": _TEXT}, ("regex",)),
            closed({"glob": _TEXT}, ("glob",)),
            closed({"present": {"type": "boolean"}}, ("present",)),
        ],
    },
    "matchers": {"type": "object", "maxProperties": 100, "additionalProperties": ref("matcher")},
    "query": {
        "type": "object",
        "maxProperties": 100,
        "description": "Parameter -> its value; a list where it is there several times, in order, or never (`[]`).",
        "additionalProperties": {
            "anyOf": [ref("matcher"), {"type": "array", "items": ref("matcher"), "maxItems": 100}]
        },
    },
    "json": closed(
        {
            "equals": {"description": "The whole body."},
            "subset": {"description": "What the body holds, at any depth; lists have the same length."},
            "paths": {
                "type": "object",
                "maxProperties": 100,
                "description": "JSONPath -> an exact value, or a matcher of the one value that is there.",
            },
        }
    ),
    "url": {
        "description": "The whole URL, or its parts.",
        "anyOf": [
            {"type": "string", "maxLength": 2048},
            closed(
                {
                    "scheme": ref("matcher"),
                    "host": ref("matcher"),
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "path": ref("matcher"),
                    "query": ref("query"),
                }
            ),
        ],
    },
    "request": closed(
        {
            "method": {"enum": list(METHODS)},
            "url": ref("url"),
            "headers": ref("matchers"),
            "json": ref("json"),
            "text": ref("matcher"),
        }
    ),
    "response": closed(
        {
            "status": {"type": "integer", "minimum": 100, "maximum": 599, "default": 200},
            "headers": {
                "type": "object",
                "maxProperties": 100,
                "additionalProperties": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
                    ]
                },
                "description": "A list gives a header more than once.",
            },
            "json": {"description": "The body, sent as JSON."},
            "json_file": {**_PATH, "description": "The body from a file beside the test file."},
            "text": _TEXT,
            "text_file": _PATH,
            "latency_ms": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
            "fault": {"enum": list(FAULTS)},
            "times": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 1},
        }
    ),
    "calls": closed({"exactly": _COUNT, "at_least": _COUNT, "at_most": _COUNT}),
    "mock": {
        "type": "object",
        "properties": {
            "id": _ID,
            "step": {**_ID, "description": "Give this step a result without running it."},
            "output": {"type": "object", "description": "The outputs of that step."},
            "error": closed({"code": _NAME, "message": _TEXT}),
            "request": ref("request"),
            "responses": {
                "type": "array",
                "items": ref("response"),
                "minItems": 1,
                "maxItems": MAX_RESPONSES,
            },
            "after": {"enum": ["last", "error", "cycle"], "default": "last"},
            "expect_calls": ref("calls"),
            "optional": {"type": "boolean", "default": False},
            "openapi": {
                "description": "An OpenAPI file that the responses follow; true: that of the test file, false: none.",
                "anyOf": [_PATH, {"type": "boolean"}],
            },
        },
        "additionalProperties": False,
    },
    "mocks": {"type": "array", "items": ref("mock"), "maxItems": MAX_MOCKS},
    "expect_request": closed(
        {"mock": _ID, "method": {"enum": list(METHODS)}, "url": ref("url"), "headers": ref("matchers"),
         "json": ref("json"), "text": ref("matcher")}
    ),
    "bounds": closed({name: {"type": "number"} for name in ("lt", "lte", "gt", "gte", "equals")}),
    "expect_step": {
        "anyOf": [
            _STEP_STATUS,
            closed(
                {
                    "status": _STEP_STATUS,
                    "attempts": {"type": "integer", "minimum": 0, "maximum": 10_000},
                    "outputs": {"type": "object"},
                    "error": closed({"code": _NAME, "contains": _TEXT}),
                }
            ),
        ]
    },
    "expect": closed(
        {
            "status": {"enum": ["SUCCEEDED", "FAILED", "CANCELLED"]},
            "outputs": {"type": "object"},
            "error": closed({"step": _ID, "code": _NAME, "contains": _TEXT}),
            "steps": {"type": "object", "additionalProperties": ref("expect_step")},
            "requests": {"type": "array", "items": ref("expect_request"), "maxItems": 1_000},
            "order": {"type": "array", "items": {"type": "string"}, "maxItems": 1_000},
            "elapsed_sec": ref("bounds"),
        }
    ),
    "settings": closed({"clock": _TIME, "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}}),
}  # fmt: skip

TEST_SCHEMA: Schema = {
    "$schema": _DRAFT,
    "title": "Automata sandbox cases",
    **closed(
        {
            "flow": {"type": "string", "minLength": 1, "maxLength": 100},
            "defaults": ref("settings"),
            "openapi": {**_PATH, "description": "An OpenAPI file that the responses of the mocks must follow."},
            "mocks": {**ref("mocks"), "description": "Mocks of every case; a case's own come first."},
            "mocks_from": {"type": "array", "items": _PATH, "maxItems": 20, "description": "Files of shared mocks."},
            "cases": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_CASES,
                "items": closed(
                    {
                        "name": _NAME,
                        "inputs": {"type": "object"},
                        "vars": {"type": "object"},
                        "secrets": {"type": "object", "additionalProperties": _TEXT},
                        "clock": _TIME,
                        "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
                        "mocks": ref("mocks"),
                        "expect": ref("expect"),
                    },
                    ("name",),
                ),
            },
        },
        ("flow", "cases"),
    ),
    "$defs": _DEFS,
}

MOCKS_SCHEMA: Schema = {
    "$schema": _DRAFT,
    "title": "Automata shared mocks",
    **closed({"mocks": ref("mocks")}, ("mocks",)),
    "$defs": _DEFS,
}

FILES = {"test.schema.json": TEST_SCHEMA, "mocks.schema.json": MOCKS_SCHEMA}


def write(folder: Path) -> None:
    for name, schema in FILES.items():
        (folder / name).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
