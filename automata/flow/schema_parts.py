"""The small parts that the JSON Schemas of this project are written with."""

from __future__ import annotations

from typing import Any

MAX_TEXT = 10_000
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
