"""The shape of `automata.yaml` and of an environment's file, as JSON Schemas that validation and editors share.

`python -m automata.project.schemas [FOLDER]` writes them into `schemas/`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from automata.flow.schema_parts import Schema, closed, number
from automata.steps.notification_message import EVENTS, TEMPLATES

CHECK_STAGES = ("validate", "plan", "test", "replay")
REQUIRED_STAGES = ("validate", "test")  # where a project does not say which
REPLAY_LAST = 20  # recorded runs of a flow that are replayed
MAX_FOLDERS = 20
MAX_STAGES = 50
MAX_VARIABLES = 500
MAX_MASKED = 200
MAX_NOTIFICATIONS = 50

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PATH: Schema = {"type": "string", "minLength": 1, "maxLength": 1024}
_PATHS: Schema = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 500}, "maxItems": 100}
_STAGE_NAME: Schema = {
    "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$",
    "title": "an environment's name (lower-case letters, digits, `.`, `_` and `-`; at most 63)",
}
_NAME: Schema = {
    "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$",
    "title": "a name (letters, digits and `_`, no digit first; at most 64)",
}

_RULES: Schema = {"type": "array", "items": {"type": "string", "minLength": 1, "maxLength": 300}, "maxItems": 200}
NOTIFICATION: Schema = closed(
    {
        "name": {
            "type": "string",
            "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$",
            "description": "What it is called in lists; `rule-1` and so on when not given.",
        },
        "on": {
            "type": "array",
            "items": {"enum": list(EVENTS)},
            "minItems": 1,
            "uniqueItems": True,
            "description": "What it is told of.",
        },
        "url": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2000,
            "description": "Where it is sent; `{{ secrets.NAME }}` alone when the address is itself a secret.",
        },
        "secret": {"type": "string", **_NAME, "description": "The name of the secret that it is signed with."},
        "template": {"enum": list(TEMPLATES), "default": "standard", "description": "What the body looks like."},
        "flows": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 100},
            "maxItems": 100,
            "description": "Only of these flows; `*` stands for any text.",
        },
        "labels": {
            "type": "object",
            "maxProperties": 20,
            "additionalProperties": {"type": "string", "maxLength": 200},
            "description": "Only of flows that have all of these labels.",
        },
    },
    required=("on", "url"),
)

PROJECT_SCHEMA: Schema = {
    "$schema": _DRAFT,
    **closed(
        {
            "flows": {
                "type": "array",
                "items": _PATH,
                "minItems": 1,
                "maxItems": MAX_FOLDERS,
                "uniqueItems": True,
                "default": ["flows"],
                "description": "The folders that hold the flows.",
            },
            "environments": {
                "type": "object",
                "propertyNames": _STAGE_NAME,
                "maxProperties": MAX_STAGES,
                "additionalProperties": closed(
                    {
                        "branch": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 200,
                            "description": "What is deployed.",
                        },
                        "file": {**_PATH, "description": "Its variables; `environments/NAME.yaml` if not given."},
                    }
                ),
            },
            "sync": closed(
                {
                    "prune": {
                        "enum": ["archive", "confirm", "never"],
                        "default": "archive",
                        "description": "What happens to a flow that left the repository.",
                    },
                    "max_delete": closed(
                        {
                            "count": number(0, 20_000, "How many flows may leave at once.", "integer"),
                            "percent": number(0, 100, "Which share of them may leave at once, rounded up."),
                        },
                        description="More than this needs --confirm-deletes; 5 and 20 % when not given.",
                    ),
                    "heal": {
                        "type": "boolean",
                        "default": False,
                        "description": "Whether the controller puts back what was changed beside Git.",
                    },
                }
            ),
            "masking": closed(
                {
                    "fields": {
                        "type": "array",
                        "items": {"type": "string", "minLength": 1, "maxLength": 128},
                        "maxItems": MAX_MASKED,
                        "uniqueItems": True,
                        "description": "Headers, query parameters and JSON fields that recordings show as `***`.",
                    }
                },
                description="Passwords, tokens, cookies and the like are masked without being named here.",
            ),
            "checks": closed(
                {
                    "required": {"type": "array", "items": {"enum": list(CHECK_STAGES)}, "uniqueItems": True},
                    "replay": closed(
                        {
                            "last": number(1, 1000, "How many recorded runs of a flow are replayed.", "integer"),
                            "ignore": {**_PATHS, "description": "JSONPaths in outputs and bodies that may differ."},
                            "unordered": {
                                **_PATHS,
                                "description": "JSONPaths of lists in any order; `$writes` for the requests.",
                            },
                            "tolerance": number(0, 1, "How far numbers may be apart, as a share of the larger."),
                        }
                    ),
                    "approvals": number(0, 20, "How many people other than the author must approve.", "integer"),
                }
            ),
        },
        title="project",
    ),
}

ENVIRONMENT_SCHEMA: Schema = {
    "$schema": _DRAFT,
    **closed(
        {
            "vars": {
                "type": "object",
                "propertyNames": _NAME,
                "maxProperties": MAX_VARIABLES,
                "description": "What templates read as `vars.NAME`: any JSON value.",
            },
            "secrets": {
                "type": "array",
                "items": {"type": "string", **_NAME},
                "maxItems": MAX_VARIABLES,
                "uniqueItems": True,
                "title": "a list of names; a value in a repository is no secret",
                "description": "The names of secrets that flows may read as `secrets.NAME`. Never their values.",
            },
            "recording": {
                "enum": ["on", "off"],
                "default": "off",
                "description": "Whether runs are recorded for `automata replay`, where a flow does not say it itself.",
            },
            "egress": closed(
                {
                    "allow": {
                        **_RULES,
                        "description": "Only these may be called; if empty, all others.",
                    },
                    "deny": {**_RULES, "description": "These may not be called."},
                },
                description="Narrows the worker's own lists: hosts, `*.example.com`, networks, with `:port`.",
            ),
            "notifications": {
                "type": "array",
                "items": NOTIFICATION,
                "maxItems": MAX_NOTIFICATIONS,
                "description": "Who is told when something needs a person.",
            },
        },
        title="environment",
    ),
}

FILES = {"project.schema.json": PROJECT_SCHEMA, "environment.schema.json": ENVIRONMENT_SCHEMA}


def schema_text(schema: Schema) -> str:
    """A schema as its file in `schemas/` has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path) -> None:
    """Write all schemas into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in FILES.items():
        (folder / name).write_text(schema_text(schema), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "schemas"))
