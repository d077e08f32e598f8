"""The small parts that the JSON Schemas of this project are written with."""

from __future__ import annotations

from typing import Any

MAX_TEXT = 10_000
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Schema = dict[str, Any]


def ref(name: str, **more: Any) -> Schema:
    """A reference to one of the definitions, with what stands beside it."""
    return {"$ref": f"#/$defs/{name}", **more}


def text(description: str, longest: int = MAX_TEXT) -> Schema:
    """A text of at most `longest` characters."""
    return {"type": "string", "maxLength": longest, "description": description}


def or_template(schema: Schema, description: str) -> Schema:
    """What `schema` says, or a template that gives it."""
    return {"anyOf": [schema, ref("template")], "description": description}


def number(low: float, high: float, description: str, kind: str = "number", default: float | None = None) -> Schema:
    """A number from `low` to `high`, both included."""
    usual = {} if default is None else {"default": default}
    return {"type": kind, "minimum": low, "maximum": high, **usual, "description": description}


def flag(description: str, default: bool = False) -> Schema:
    """`true` or `false`."""
    return {"type": "boolean", "default": default, "description": description}


def closed(properties: Schema, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """An object with these keys and no others."""
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": False, **more}


def one_of(*keys: str) -> list[Schema]:
    """For `oneOf`: exactly one of these keys."""
    return [{"required": [key]} for key in keys]


PARAMETER_NAME: Schema = {"pattern": ".", "title": "the name of a parameter: it is empty"}
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
STATUS: Schema = {"type": "integer", "minimum": 100, "maximum": 599, "title": "a status code"}
STATUS_RANGE: Schema = {
    "type": "string",
    "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$",
    "title": "a range of status codes such as `200-299`",
}
