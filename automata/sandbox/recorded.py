"""A recorded run as a file (`tests/recordings/*.json`): what a run began with, what it was answered, what it came to.

The API makes the same document from the database. Everything in it was masked before it was stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from automata.engine.states import Trigger
from automata.errors import Diagnostic
from automata.flow.exact_json import loads
from automata.flow.findings import Findings, Positions
from automata.flow.schema_parts import Schema, closed
from automata.flow.shape import Shape

FORMAT = 1
MAX_EXCHANGES = 10_000
_ANY: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string", "maxLength": 1024}
_TIME: Schema = {"type": "string", "minLength": 10, "maxLength": 40}
_PAIRS: Schema = {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}
_BODY: Schema = {"type": ["object", "null"]}

RECORDING_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    **closed(
        {
            "version": {"enum": [FORMAT]},
            "flow": {"type": "string", "minLength": 1, "maxLength": 100},
            "run": closed(
                {
                    "id": {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
                    "version": {"type": "integer"},
                    "commit": {"type": ["string", "null"]},
                    "trigger": _TEXT,
                    "scheduled_for": {"type": ["string", "null"]},
                    "created_at": _TIME,
                },
                ("id", "created_at"),
            ),
            "inputs": _ANY,
            "variables": _ANY,
            "status": {"enum": ["SUCCEEDED", "FAILED"]},
            "outputs": {},
            "error": {"type": ["object", "null"]},
            "steps": {
                "type": "object",
                "additionalProperties": closed(
                    {"status": _TEXT, "attempts": {"type": "integer"}, "outputs": {}, "error": {}}, ("status",)
                ),
            },
            "given": {
                "type": "object",
                "additionalProperties": closed({"output": _ANY, "error": _ANY}),
                "description": "What other flows and people answered, by step.",
            },
            "exchanges": {
                "type": "array",
                "maxItems": MAX_EXCHANGES,
                "items": closed(
                    {
                        "step": _TEXT,
                        "attempt": {"type": "integer"},
                        "took_ms": {"type": "number"},
                        "request": closed(
                            {"method": _TEXT, "url": {"type": "string"}, "headers": _PAIRS, "body": _BODY},
                            ("method", "url"),
                        ),
                        "response": closed(
                            {
                                "status": {"type": "integer"},
                                "headers": _PAIRS,
                                "body": _BODY,
                                "body_error": {"type": "string"},
                            },
                            ("status",),
                        ),
                        "fault": closed(
                            {"code": _TEXT, "message": {"type": "string"}, "retryable": {"type": "boolean"}}, ("code",)
                        ),
                    },
                    ("step", "request"),
                ),
            },
        },
        ("version", "flow", "run", "inputs", "status", "steps", "exchanges"),
        title="recording",
    ),
}


@dataclass(frozen=True, slots=True)
class Recorded:
    """`file` is where it is from, for reports; the rest is the document's."""

    file: str
    flow: str
    id: str
    trigger: str
    scheduled_for: datetime | None
    created_at: datetime
    inputs: Mapping[str, Any]
    variables: Mapping[str, Any]
    status: str
    outputs: Any
    error: Any
    steps: Mapping[str, Mapping[str, Any]]
    given: Mapping[str, Mapping[str, Any]]
    exchanges: tuple[Mapping[str, Any], ...]


def read_recording(data: bytes, file: str) -> tuple[Recorded | None, tuple[Diagnostic, ...]]:
    """A recording, or what is wrong with the file (AF408)."""
    findings = Findings(file, Positions())
    try:
        value = loads(data)
    except ValueError as error:
        findings.add("AF408", f"this is not JSON: {error}", "")
        return None, findings.done()
    Shape({}, findings).check(value, RECORDING_SCHEMA)
    if findings.found:
        return None, findings.done()
    try:
        return of_document(value, file), ()
    except ValueError as error:
        findings.add("AF408", f"a time cannot be read: {error}", "/run")
        return None, findings.done()


def of_document(value: Mapping[str, Any], file: str) -> Recorded:
    """From a document of the right shape. Raises ValueError for a time that is none."""
    run = value["run"]
    due = run.get("scheduled_for")
    return Recorded(
        file=file,
        flow=value["flow"],
        id=run["id"],
        trigger=run.get("trigger", Trigger.API),
        scheduled_for=_time(due) if due else None,
        created_at=_time(run["created_at"]),
        inputs=value["inputs"],
        variables=value.get("variables", {}),
        status=value["status"],
        outputs=value.get("outputs"),
        error=value.get("error"),
        steps=value["steps"],
        given=value.get("given", {}),
        exchanges=tuple(value["exchanges"]),
    )


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
