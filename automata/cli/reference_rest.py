"""docs/rest.md, from the application's own description (/openapi.json) and the roles that its routes ask for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from fastapi import FastAPI

from automata.access.principal import Role
from automata.api.app import create_app
from automata.broker.local import LocalBroker
from automata.http.authorization import declared_roles, least_role, routes_within_limits
from automata.settings import Settings
from automata.store.database import Database

_HEAD = """# The REST API

Made from `GET /openapi.json`, which a running server gives to programs; a test holds this page to it.

- Bodies and answers are JSON; times are RFC 3339, ids are UUIDs unless a table says otherwise. A key that a table
  does not name is refused, and so is a parameter of the address (422 `unknown_parameter`), and a name or filter that is
  empty: it would mean everything.
- Where the server asks for tokens, send `Authorization: Bearer atm_...`. Each route says the least role it takes; see
  [security.md](security.md).
- **Lists come in pages**: `items` and `next_cursor`. Give that as `cursor` for the next page; on the last it is `null`.
- **Errors** are `application/problem+json` (RFC 9457): `status`, `code` (stable), `detail`, and where it helps `hint`,
  `pointer` and `errors`. What a status means is told in [errors.md](errors.md). 429 and 503 come with `Retry-After`.
- **Send again without harm**: with an `Idempotency-Key` a second request gives the run of the first. The same key with
  another content is refused with 409.
- A body has at most {most:,} bytes. What the console's pages ask for beside `/api/v1` is no part of this contract.
"""
# In which order a reader wants them; what is missing here comes behind.
_ORDER = ("flows", "runs", "dead letters", "approvals", "schedules", "webhooks", "sync", "proposals")
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_FORMATS = {"date-time": "time", "uuid": "UUID"}
_REF = "#/components/schemas/"

Schema = Mapping[str, Any]


def rest_page() -> str:
    """The whole page, as Markdown."""
    # Its description asks nothing of a database, and no route is called.
    app = create_app(cast(Database, None), LocalBroker(), Settings(), secrets={})
    described = app.openapi()
    roles = _roles(app)
    sections: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            text = _operation(method.upper(), path, operation, roles[method.upper(), path])
            sections.setdefault(operation["tags"][0], []).append(text)
    order = [name for name in _ORDER if name in sections] + sorted(set(sections) - set(_ORDER))
    parts = [f"## {name.capitalize()}\n\n" + "\n".join(sections[name]) for name in order]
    shapes = [_shape(name, schema) for name, schema in sorted(described["components"]["schemas"].items())]
    head = _HEAD.format(most=Settings().max_body_bytes)
    return "\n".join([head, *parts, "## Shapes\n", *filter(None, shapes)])


def _roles(app: FastAPI) -> dict[tuple[str, str], str]:
    notes, keeps = {}, routes_within_limits(app)
    for path, methods, roles in declared_roles(app):
        role = least_role(roles)
        for method in methods:
            notes[method, path] = f"Role: {role.word}." if role else "Open to everybody."
            # An admin's token cannot be limited.
            if role and role < Role.ADMIN and (path, method) not in keeps:
                notes[method, path] += " Not for tokens limited by labels."
    return notes


# --- operations ----------------------------------------------------------------------------------------------------


def _operation(method: str, path: str, operation: Schema, role: str) -> str:
    about = " ".join(operation.get("description", "").split())
    parts = [f"### {method} {path}\n", f"{about} {role}\n" if about else f"{role}\n"]
    # A name in the path says what it is by itself, unless there is more to say.
    shown = [item for item in operation.get("parameters", ()) if item["in"] != "path" or item.get("description")]
    if rows := [_parameter(item) for item in shown]:
        parts.append(_table(("parameter", "in", "value", ""), rows))
    parts += _body(operation.get("requestBody"))
    parts.append("Answers: " + "; ".join(_answers(operation["responses"])) + ".\n")
    return "\n".join(parts)


def _parameter(item: Schema) -> tuple[str, ...]:
    words = item.get("description") or item["schema"].get("description", "")
    needed = " (required)" if item.get("required") and item["in"] != "path" else ""
    return f"`{item['name']}`{needed}", item["in"], _value(item["schema"]), words


def _body(body: Schema | None) -> Iterator[str]:
    if body is None:
        return
    schema = body["content"].get("application/json", {}).get("schema", {})
    if "properties" in schema:
        yield f"Body{'' if body.get('required') else ', which may be left out'}:\n"
        yield _table(("key", "value", ""), _keys(schema, schema.get("required", ())))
    else:
        kinds = " or ".join(f"`{kind}`" for kind in body["content"])
        words = schema.get("description", "")
        yield f"Body: {kinds}.{f' {words}' if words else ''}\n"


def _answers(responses: Schema) -> Iterator[str]:
    for status, answer in responses.items():
        if status != "default":
            content: Schema = next(iter(answer.get("content", {}).values()), {})
            schema = content.get("schema", {})
            yield f"`{status}`" + (f" {_value(schema)}" if schema else "")
    yield "else a [Problem](#problem)"


# --- shapes --------------------------------------------------------------------------------------------------------


def _shape(name: str, schema: Schema) -> str:
    """A section of its own, or nothing for what is written out where it is used."""
    if "properties" not in schema or _inner(name):
        return ""
    about = " ".join(schema.get("description", "").split())
    return f"### {name}\n\n" + (f"{about}\n\n" if about else "") + _table(("key", "value", ""), _keys(schema))


def _keys(schema: Schema, required: Sequence[str] = ()) -> list[tuple[str, ...]]:
    """A row a key. Of an answer every key is there, so that nothing need be marked."""
    return [
        (f"`{name}`{' (required)' if name in required else ''}", _value(item), _words(item))
        for name, item in schema["properties"].items()
    ]


def _words(schema: Schema) -> str:
    default = schema.get("default")
    usual = f" `{str(default).lower() if isinstance(default, bool) else default}` when not given." if default else ""
    return " ".join(str(schema.get("description", "")).split()) + usual


def _value(schema: Schema) -> str:
    """What may stand there, in a few words."""
    if "$ref" in schema:
        return _named(schema["$ref"].removeprefix(_REF))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_value(item) for item in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{item}`" for item in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type")
    if kind == "null":
        return "`null`"
    if kind == "array":
        return f"list of {_value(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        return "object"
    return _FORMATS.get(schema.get("format", ""), _KINDS.get(str(kind), "anything")) + _bounds(schema)


def _named(name: str) -> str:
    if inner := _inner(name):
        return f"{'page' if name.startswith('Page_') else 'items'} of {_named(inner)}"
    if name.endswith("Status"):
        return f"{name.removesuffix('Status').lower()} state"
    return f"[{name}](#{name.lower()})"


def _inner(name: str) -> str:
    match = re.fullmatch(r"(?:Page|Listing)_(\w+)_", name)
    return match[1] if match else ""


def _bounds(schema: Schema) -> str:
    low, high, longest = schema.get("minimum"), schema.get("maximum"), schema.get("maxLength")
    if low is not None and high is not None:
        return f", {low:,.0f} to {high:,.0f}"
    return f", at most {longest:,} characters" if longest else ""


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
