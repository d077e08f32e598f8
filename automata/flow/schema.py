"""The shape of a flow file: one JSON Schema (2020-12) that validation, editors and the docs share.

`python -m automata.flow.schema [FOLDER]` writes both drafts into `schemas/`. A `title` reads as a noun phrase:
messages say "must be <title>".
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from automata.flow.model import DEFAULT_QUEUE, MAX_ITEMS, RETRIED_STATUS
from automata.flow.schema_parts import STATUS, Schema, closed, flag, number, one_of, ref, text
from automata.flow.steptypes import BUILTIN_TYPES, STEP_TYPES, StepTypeRow

MAX_STEPS = 1_000
MAX_INPUTS = 100
MAX_SCHEDULES = 100
MAX_WEBHOOKS = 100
MAX_BRANCHES = 100
MAX_MEMBERS = 200
MAX_LABELS = 50
MAX_CONCURRENCY = 100_000
MAX_PATTERN = 1_000
MAX_ATTEMPTS = 100
MAX_TIMEOUT_SEC = 86_400
MAX_RETRY_DELAY_MS = 86_400_000
MIN_INTERVAL_SEC, MAX_INTERVAL_SEC = 1, 366 * 86_400

WORD_PATTERN = "^[A-Za-z_][A-Za-z0-9_]{0,127}$"
TITLE_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
QUEUE_PATTERN = "^[a-z0-9][a-z0-9._-]{0,62}$"

DRAFTS = {
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
    "07": "http://json-schema.org/draft-07/schema#",
}
FILES = {"2020-12": "flow.schema.json", "07": "flow.draft-07.schema.json"}


def _rule_of_type(row: StepTypeRow) -> Schema:
    """What the type of a step says of its other keys."""
    then: Schema = {"properties": {"config": ref(f"{row.name}_config")}}
    if row.needs_config:
        then["required"] = ["config"]
    rule: Schema = {"if": {"properties": {"type": {"const": row.name}}, "required": ["type"]}, "then": then}
    if row.kind != "group":
        return rule
    title = f"not for `{row.name}` steps: put a `flow` step in its place"
    then["properties"]["foreach"] = {"not": {}, "title": title}
    then["required"] = ["branches"]
    branches = {"not": {}, "title": f"a key of `{row.name}` steps only"}
    return rule | {"else": {"properties": {"branches": branches}}}


_TIMEOUT: Schema = {
    "type": "number",
    "exclusiveMinimum": 0,
    "maximum": MAX_TIMEOUT_SEC,
    "default": 300,
    "description": "Seconds one attempt may take.",
}
_RETRY = closed(
    {
        "max_attempts": number(1, MAX_ATTEMPTS, "Attempts, the first one among them.", "integer", 1),
        "backoff": {
            "enum": ["fixed", "linear", "exponential"],
            "default": "exponential",
            "description": "How the delay grows.",
        },
        "initial_delay_ms": number(0, MAX_RETRY_DELAY_MS, "Before the second attempt.", "integer", 1000),
        "max_delay_ms": number(0, MAX_RETRY_DELAY_MS, "No delay is longer.", "integer", 60_000),
        "jitter": {
            "enum": ["full", "none"],
            "default": "full",
            "description": "`full` draws the delay at random below its value.",
        },
        "on_status": {
            "type": "array",
            "items": STATUS,
            "maxItems": 50,
            "uniqueItems": True,
            "default": list(RETRIED_STATUS),
            "description": "HTTP status codes that are worth another attempt.",
        },
    },
    description="When and how often a failed attempt is tried again.",
)

_INPUT = closed(
    {
        "type": {
            "enum": ["string", "integer", "number", "boolean", "object", "array"],
            "default": "string",
            "description": "The type that a given value must have.",
        },
        "required": flag("A run cannot be created without it."),
        "default": {"description": "The value when none is given."},
        "description": text("What the input is for."),
        "enum": {"type": "array", "minItems": 1, "maxItems": MAX_MEMBERS, "description": "Allowed values."},
        "pattern": {
            "type": "string",
            "maxLength": MAX_PATTERN,
            "description": "A regular expression (RE2) that must match somewhere in a string.",
        },
        "schema": {"type": "object", "description": "A JSON Schema for an object or an array."},
        "secret": flag("Mask the value everywhere."),
    }
)

_SCHEDULE = closed(
    {
        "name": {
            "type": "string",
            "pattern": TITLE_PATTERN,
            "title": "a schedule's name (letters, digits, `.`, `_` and `-`; at most 100)",
            "description": "Unique in the flow.",
        },
        "cron": text("Five fields: minute, hour, day of month, month, day of week; or `@daily` and its like.", 200),
        "interval_sec": number(MIN_INTERVAL_SEC, MAX_INTERVAL_SEC, "Seconds between two runs."),
        "timezone": text("An IANA time zone such as Europe/Berlin.", 100) | {"default": "UTC"},
        "inputs": {"type": "object", "maxProperties": MAX_INPUTS, "description": "Inputs of each run."},
        "enabled": flag("Whether it fires.", True),
        "catchup": {
            "enum": ["none", "latest", "all"],
            "default": "none",
            "description": "What happens to times that were missed.",
        },
        "overlap": {
            "enum": ["allow", "skip", "queue"],
            "default": "allow",
            "description": "What happens while the run before is still active.",
        },
        "jitter_sec": number(0, 86_400, "Start up to so many seconds later.", default=0),
        "starting_deadline_sec": number(1, MAX_INTERVAL_SEC, "A run later than this counts as missed."),
    },
    ("name",),
    oneOf=one_of("cron", "interval_sec"),
)

_WEBHOOK = closed(
    {
        "name": {
            "type": "string",
            "pattern": TITLE_PATTERN,
            "title": "a webhook's name (letters, digits, `.`, `_` and `-`; at most 100)",
            "description": "Unique in the flow; the end of its address, /api/v1/hooks/FLOW/NAME.",
        },
        "secret": {
            "type": "string",
            "pattern": WORD_PATTERN,
            "title": "the name of a secret, not its value (letters, digits and `_`, no digit first; at most 128)",
            "description": "The name of the secret that deliveries are signed with, never its value.",
        },
        "inputs": {
            "type": "object",
            "maxProperties": MAX_INPUTS,
            "description": "Templates over `webhook`; null leaves one out. Without them, the body is the inputs.",
        },
        "enabled": flag("Whether it takes deliveries.", True),
    },
    ("name", "secret"),
)

_BRANCH = closed(
    {
        "id": ref("id", description="Unique in the `parallel`; part of the full id of its steps."),
        "steps": ref("steps", description="Run one after another, in this order."),
    },
    ("id", "steps"),
)

_STEP = closed(
    {
        "id": ref("id", description="Unique in the whole flow."),
        "name": text("A title for people.", MAX_MEMBERS),
        "type": {
            "anyOf": [
                {"enum": list(BUILTIN_TYPES)},
                {"type": "string", "minLength": 1, "title": "the name of a step type"},
            ],
            "description": "What the step does. Further types come from installed packages.",
        },
        "depends_on": {
            "type": "array",
            "items": {"type": "string"},
            "uniqueItems": True,
            "title": "a list of step ids",
            "description": "Steps that must be over before this one starts.",
        },
        "condition": {
            "type": ["string", "boolean"],
            "minLength": 1,
            "description": "A template; when it is false the step is skipped.",
        },
        "config": {"type": "object", "description": "What the type needs; templates at any depth."},
        "outputs": ref(
            "outputs",
            description="Templates over `response` (http) or `result` (others), or `{value, secret: true}`.",
        ),
        "retry": ref("retry"),
        "timeout_sec": _TIMEOUT,
        "queue": {
            "type": "string",
            "pattern": QUEUE_PATTERN,
            "default": DEFAULT_QUEUE,
            "title": "a queue (lower-case letters, digits, `.`, `_` and `-`; at most 63)",
            "description": "Only workers of this queue run the step (`automata worker --queues`).",
        },
        "continue_on_error": flag("Let dependents go on when this step has failed."),
        "foreach": {
            "type": ["string", "array"],
            "minLength": 1,
            "maxItems": MAX_ITEMS,
            "title": "a list or an expression that gives one",
            "description": "A list: the step runs once an item, with `item` and `index`; its outputs are a list.",
        },
        "max_parallel": number(1, MAX_ITEMS, "So many items of `foreach` at a time (all).", "integer"),
        "branches": {
            "type": "array",
            "items": ref("branch"),
            "minItems": 1,
            "maxItems": MAX_BRANCHES,
            "description": "Branches that run side by side.",
        },
    },
    ("id", "type"),
    allOf=[
        *(_rule_of_type(row) for row in STEP_TYPES.values()),
    ],
    title="step",
)

FLOW_SCHEMA: Schema = {
    "$schema": DRAFTS["2020-12"],
    **closed(
        {
            "$schema": {"type": "string", "description": "Where an editor finds this schema."},
            "name": ref("name", description="The flow's identity; the file may move."),
            "renamed_from": ref("name", description="The name it had, so that its history is kept."),
            "description": text("What the flow is for."),
            "labels": {
                "type": "object",
                "propertyNames": {
                    "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$",
                    "title": "a label (letters, digits, `.`, `_`, `/` and `-`; at most 63)",
                },
                "additionalProperties": {"type": "string", "maxLength": 256},
                "maxProperties": MAX_LABELS,
                "description": "Labels to find it by.",
            },
            "inputs": {
                "type": "object",
                "propertyNames": ref("member"),
                "additionalProperties": ref("input"),
                "maxProperties": MAX_INPUTS,
                "description": "What a run is given; checked when it is created.",
            },
            "defaults": closed(
                {"retry": ref("retry"), "timeout_sec": _TIMEOUT}, description="For every step that sets none."
            ),
            "steps": ref("steps", description="What the flow does."),
            "outputs": ref(
                "outputs",
                description="Templates, evaluated when the run succeeds, or `{value, secret: true}`.",
            ),
            "on_failure": ref(
                "step",
                properties={"depends_on": {"not": {}, "title": "not allowed in `on_failure`"}},
                description="One step that runs after a failure, with `error` and `failed_step`.",
            ),
            "concurrency": closed(
                {
                    "limit": number(1, MAX_CONCURRENCY, "So many runs at a time.", "integer"),
                    "key": text("A template over inputs and vars: the limit holds for each value.", 16_384)
                    | {"minLength": 1},
                    "policy": {
                        "enum": ["queue", "skip", "cancel_running"],
                        "default": "queue",
                        "description": "Beyond it a run waits, is not run, or ends those that run.",
                    },
                },
                ("limit",),
                description="How many runs of this flow may be under way.",
            ),
            "recording": {
                "enum": ["on", "off"],
                "description": "Whether requests and answers of runs are kept, masked, for `automata replay`.",
            },
            "schedules": {
                "type": "array",
                "items": ref("schedule"),
                "maxItems": MAX_SCHEDULES,
                "description": "When runs start by themselves.",
            },
            "webhooks": {
                "type": "array",
                "items": ref("webhook"),
                "maxItems": MAX_WEBHOOKS,
                "description": "Signed requests from elsewhere that start runs.",
            },
        },
        ("name", "steps"),
        title="flow",
    ),
    "$defs": {
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9._-]{0,99}$",
            "title": "a flow's name (lower-case letters, digits, `.`, `_` and `-`; at most 100)",
        },
        "id": {
            "type": "string",
            "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
            "title": "an id (letters, digits, `_` and `-`, no digit first; at most 64)",
        },
        "member": {
            "pattern": "^[A-Za-z_][A-Za-z0-9_-]{0,63}$",
            "title": "a name (letters, digits, `_` and `-`, no digit first; at most 64)",
        },
        "template": {"type": "string", "pattern": "\\{[{%]", "title": "a template `{{ … }}`"},
        "outputs": {"type": "object", "propertyNames": ref("member"), "maxProperties": MAX_MEMBERS},
        "retry": _RETRY,
        "input": _INPUT,
        "schedule": _SCHEDULE,
        "webhook": _WEBHOOK,
        "steps": {"type": "array", "items": ref("step"), "minItems": 1},
        "branch": _BRANCH,
        "step": _STEP,
        **{f"{name}_config": row.config_schema for name, row in STEP_TYPES.items()},
    },
}


def in_draft(schema: Schema, draft: str) -> Schema:
    """A schema of ours (2020-12) in one of `DRAFTS`."""
    if draft == "2020-12":
        return schema
    return {**_to_draft_07(schema), "$schema": DRAFTS[draft]}


def _to_draft_07(node: Any) -> Any:
    """Draft 7 says `definitions`, and ignores everything beside a `$ref`."""
    if isinstance(node, list):
        return [_to_draft_07(item) for item in node]
    if not isinstance(node, dict):
        return node
    turned = {("definitions" if key == "$defs" else key): _to_draft_07(value) for key, value in node.items()}
    if isinstance(target := turned.pop("$ref", None), str):
        target = target.replace("#/$defs/", "#/definitions/")
        return {"allOf": [{"$ref": target}], **turned} if turned else {"$ref": target}
    return turned


def schema_text(draft: str, schema: Schema = FLOW_SCHEMA) -> str:
    """A schema as the text of a file, in one of `DRAFTS`."""
    return json.dumps(in_draft(schema, draft), indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write the flow schema in every draft into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for draft, name in FILES.items():
        (folder / name).write_text(schema_text(draft), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
