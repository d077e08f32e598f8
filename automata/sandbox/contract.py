"""What an OpenAPI document (3.0 or 3.1) promises of a service's answers, and whether an answer of a mock keeps it.

Schemas are checked by `jsonschema`, with the bounds of automata.flow.userschema: nothing is fetched, patterns run in
linear time, and work is paid from a budget. Only the schema of one answer and what it refers to is ever looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from automata.errors import Invalid
from automata.flow.exact_json import dumps, loads
from automata.flow.media import is_json_type
from automata.flow.userschema import SchemaBudget, SchemaError, compile_pattern, compile_schema
from automata.flow.yaml12 import Room, parse_yaml

ROOM = Room(bytes=1024 * 1024, nodes=100_000, words=True, long=True)
MAX_SCHEMAS = 1_000  # that one answer's schema refers to
MAX_WORK = 300_000  # keywords applied to one answer, or to all that a test file writes down: about two seconds
MAX_HOPS = 10  # of references to references
METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_DATA = frozenset({"const", "enum", "default"})
_DROPPED = frozenset({"example", "examples", "discriminator", "xml", "externalDocs", "nullable", "$comment"})

Json = Mapping[str, Any]


class Answering(Protocol):
    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(slots=True)
class Contract:
    """`breach` says what is wrong with an answer, None when nothing is."""

    document: Json
    known: dict[str, Callable[[Any, SchemaBudget], list[Any]]] = field(default_factory=dict)

    def breach(self, method: str, path: str, answer: Answering, work: SchemaBudget | None = None) -> str | None:
        """`work`: what checking may still cost; that of one answer when it is not given."""
        try:
            return self._breach(method.lower(), path, answer, work or SchemaBudget(MAX_WORK))
        except (SchemaError, RecursionError) as error:
            return f"the OpenAPI file cannot be used here: {error}"

    def _breach(self, method: str, path: str, answer: Answering, work: SchemaBudget) -> str | None:
        template, item = self._path(path)
        if template is None:
            return f"the OpenAPI file has no path like `{path}`"
        operation = item.get(method) if method in METHODS else None
        if not isinstance(operation, dict):
            return f"the OpenAPI file has no {method.upper()} for `{template}`"
        responses = self._object(operation.get("responses", {}))
        status = answer.status
        promised = next((item for item in (str(status), f"{status // 100}XX", "default") if item in responses), None)
        if promised is None:
            words = ", ".join(sorted(responses)[:10])
            return f"the OpenAPI file has no status {status} for {method.upper()} `{template}`, only {words or 'none'}"
        content = self._object(self._object(responses[promised]).get("content", {}))
        return self._body(content, answer, method, work)

    def _path(self, path: str) -> tuple[str | None, Json]:
        """The template that fits: the one with the fewest parameters, as the specification says."""
        paths = self._object(self.document.get("paths", {}))
        candidates = [path, *(path[len(base) :] for base in self._bases() if path.startswith(f"{base}/"))]
        fitting = [item for item in paths if any(_fits(item, text) for text in candidates)]
        if not fitting:
            return None, {}
        best = min(fitting, key=lambda item: item.count("{"))
        return best, self._object(paths[best])

    def _bases(self) -> list[str]:
        servers = self.document.get("servers") or ()
        urls = [item["url"] for item in servers if isinstance(item, dict) and isinstance(item.get("url"), str)]
        return [base for url in urls if (base := urlsplit(url.partition("{")[0]).path.rstrip("/"))]

    def _body(self, content: Json, answer: Answering, method: str, work: SchemaBudget) -> str | None:
        if not content:
            return "it has a body, and the OpenAPI file promises none" if answer.body else None
        if method == "head" and not answer.body:
            return None
        sent = next((value for name, value in answer.headers if name.lower() == "content-type"), "")
        media = sent.partition(";")[0].strip().lower()
        names = {name.partition(";")[0].strip().lower(): name for name in content}
        name = next((names[item] for item in (media, f"{media.partition('/')[0]}/*", "*/*") if item in names), None)
        if name is None:
            words = f"its Content-Type is `{media}`" if media else "it has no body"
            return f"{words}, the OpenAPI file promises {', '.join(sorted(content)[:10])}"
        schema = self._object(content[name]).get("schema")
        if schema is None or not is_json_type(media):
            return None
        try:
            value = loads(answer.body)
        except ValueError as error:
            return f"its body is not JSON: {error}"
        problems = self._check(schema)(value, work)
        return "; ".join(f"the body at `{item.pointer or '/'}` {item.message}" for item in problems[:3]) or None

    def _check(self, schema: Any) -> Callable[[Any, SchemaBudget], list[Any]]:
        key = dumps(schema).decode()
        if key not in self.known:
            self.known[key] = compile_schema(_Closure(self).of(schema), SchemaBudget())
        return self.known[key]

    def _object(self, node: Any) -> Json:
        """A node of the document, references followed. Raises SchemaError when it is no object."""
        for _ in range(MAX_HOPS):
            if not isinstance(node, dict):
                raise SchemaError("an object is missing")
            if not isinstance(node.get("$ref"), str):
                return node
            node = self.lookup(node["$ref"])
        raise SchemaError(f"more than {MAX_HOPS} references follow each other")

    def lookup(self, ref: str) -> Any:
        """What a reference within the document leads to. Raises SchemaError."""
        if not ref.startswith("#/"):
            raise SchemaError(f"the `$ref` to `{ref[:80]}` leaves the document; nothing is fetched")
        node: Any = self.document
        for part in ref[2:].split("/"):
            name = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdigit() and int(name) < len(node):
                node = node[int(name)]
            else:
                raise SchemaError(f"the `$ref` `{ref[:80]}` leads nowhere")
        return node


class _Closure:
    """A schema of the document as one JSON Schema (2020-12), with everything that it refers to in its `$defs`."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.old = str(contract.document["openapi"]).startswith("3.0")
        self.names: dict[str, str] = {}
        self.waiting: list[str] = []

    def of(self, schema: Any) -> dict[str, Any]:
        top = self._schema(schema)
        defs = {}
        while self.waiting:
            ref = self.waiting.pop()
            defs[self.names[ref]] = self._schema(self.contract.lookup(ref))
        return {"allOf": [top], "$defs": defs}

    def _ref(self, ref: str) -> str:
        if ref not in self.names:
            if len(self.names) >= MAX_SCHEMAS:
                raise SchemaError(f"a schema refers to more than {MAX_SCHEMAS:,} others")
            self.names[ref] = f"d{len(self.names)}"
            self.waiting.append(ref)
        return f"#/$defs/{self.names[ref]}"

    def _schema(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._schema(item) for item in node]
        if not isinstance(node, dict):
            return node
        schema = {key: self._member(key, value) for key, value in node.items() if key not in _DROPPED}
        if "$ref" in schema:
            schema = (
                {"$ref": self._ref(str(node["$ref"]))} if self.old else schema | {"$ref": self._ref(str(node["$ref"]))}
            )
        if isinstance(schema.get("required"), list):
            schema["required"] = [name for name in schema["required"] if not _write_only(node, name)]
        return _of_3_0(node, schema) if self.old else schema

    def _member(self, key: str, value: Any) -> Any:
        if key in _DATA:
            return value
        if key in _NAMED and isinstance(value, dict):
            return {name: self._schema(named) for name, named in value.items()}
        return self._schema(value)


def _write_only(node: Json, name: Any) -> bool:
    """What is only ever sent to a service is not missing in its answers."""
    properties = node.get("properties")
    member = properties.get(name) if isinstance(properties, dict) else None
    return isinstance(member, dict) and member.get("writeOnly") is True


def _of_3_0(node: Json, schema: dict[str, Any]) -> dict[str, Any]:
    """What 3.0 says in words of its own: `nullable`, and bounds that are flags."""
    for bound, name in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(name), bool):
            exclusive = schema.pop(name)
            if exclusive and bound in schema:
                schema[name] = schema.pop(bound)
    return {"anyOf": [{"type": "null"}, schema]} if node.get("nullable") is True else schema


@lru_cache(maxsize=64)
def read_contract(content: bytes, name: str) -> Contract:
    """Raises Invalid when it is no OpenAPI document of 3.0 or 3.1."""
    value, _, wrong = parse_yaml(content, name, ROOM)
    if wrong:
        first = wrong[0]
        raise Invalid(f"`{name}` cannot be read, line {first.line}: {first.message}", code="bad_openapi")
    version = value.get("openapi") if isinstance(value, dict) else None
    if not isinstance(version, str) or not version.startswith(("3.0.", "3.1.")):
        raise Invalid(f"`{name}` is no OpenAPI document of version 3.0 or 3.1", code="bad_openapi")
    return Contract(value)


def method_and_path(request: Json) -> tuple[str | None, str | None]:
    """Method and path that a mock answers, each None when it is not an exact one."""
    url = request.get("url")
    path = urlsplit(url).path or "/" if isinstance(url, str) else (url or {}).get("path")
    return request.get("method"), path if isinstance(path, str) else None


@lru_cache(maxsize=4096)
def _fits(template: str, path: str) -> bool:
    """Whether a concrete path is one of a template: `/orders/{id}` has `/orders/o-1`."""
    parts, segments = template.split("/"), path.split("/")
    return len(parts) == len(segments) and all(map(_like, parts, segments))


def _like(part: str, segment: str) -> bool:
    if "{" not in part:
        return part == segment or part == unquote(segment)
    return compile_pattern(_pattern(part)).fullmatch(segment) is not None


def _pattern(part: str) -> str:
    fixed = []
    for index, piece in enumerate(part.split("{")):
        literal = piece.partition("}")[2] if index else piece
        fixed.append(("[^/]+" if index else "") + "".join(f"\\x{{{ord(char):x}}}" for char in literal))
    return "".join(fixed)
