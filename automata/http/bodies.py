"""Bodies: requests in (bounded in bytes, depth and time) as the model that each must be, and JSON out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from automata.errors import Diagnostic, Invalid
from automata.flow import media
from automata.flow.exact_json import dumps, loads
from automata.http.errors import BadBody, Malformed, SlowBody, TooLarge, WrongMedia

V1 = "/api/v1"
MAX_DEPTH = 64  # of a JSON body; a flow file may nest 50 deep (flow.load says so itself)
BODY_SECONDS = 30.0  # from the head to the last byte of a body: a client that trickles holds a slot no longer
JSON_MEDIA = "application/json"


Model = TypeVar("Model", bound=BaseModel)


class RequestModel(BaseModel):
    """A body: unknown members are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")


class ResponseModel(BaseModel):
    """An answer; a test holds every answer against its model."""

    model_config = ConfigDict(extra="forbid")


class Json(Response):
    """A JSON answer; UUIDs and datetimes become text (RFC 3339, `Z`)."""

    media_type = JSON_MEDIA

    def render(self, content: Any) -> bytes:
        return encode(content)


def encode(value: Any) -> bytes:
    """`value` as JSON; UUIDs and datetimes become text."""
    try:
        return dumps(value, orjson.OPT_UTC_Z)
    except TypeError:
        # What an earlier version stored, such as a lone surrogate: written out, never a failed request.
        return json.dumps(value, default=str).encode("ascii")


async def read_body(request: Request, most: int | None = None) -> bytes:
    """The body; the edge counts its bytes while they come, and a route that takes less says how many.

    Raises SlowBody after BODY_SECONDS, TooLarge.
    """
    _refuse_packed(request)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await (request.body() if most is None else _at_most(request, most))
    except TimeoutError as error:
        raise SlowBody(f"The body did not arrive within {BODY_SECONDS:.0f} s.") from error
    except ClientDisconnect as error:
        raise Malformed("The body ended early.") from error


def _refuse_packed(request: Request) -> None:
    """Bodies are read as they come, in UTF-8: what says that it is something else would be read as what it is not."""
    coding = ", ".join(request.headers.getlist("content-encoding")).lower()
    if coding.strip() not in ("", "identity"):
        raise WrongMedia(f"Content-Encoding {coding[:40]!r} is not accepted.", hint="Send the body uncompressed.")
    charset = media.declared_charset(request.headers.get("content-type", ""))
    if charset and media.codec_of(charset) not in ("utf-8", "ascii"):
        raise WrongMedia(f"The charset {charset!r} is not accepted.", hint="Send the body in UTF-8.")


async def _at_most(request: Request, most: int) -> bytes:
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isascii() and length.isdigit() else 0
    too_large = TooLarge(f"The body is larger than {most} bytes.", hint="Send a reference to large data.")
    if announced > most:
        raise too_large
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise too_large
    return bytes(body)


def media_type(request: Request) -> str:
    """The content type without its parameters, lower case; empty when there is none."""
    return media.media_type(request.headers.get("content-type", ""))


def check_json_type(request: Request) -> None:
    """Raises WrongMedia for a body that does not say that it is JSON."""
    name = media_type(request)
    if not media.is_json_type(name):
        raise WrongMedia(
            f"The body is {name[:60]!r}, not JSON." if name else "The body has no Content-Type.",
            hint="Send the header Content-Type: application/json.",
        )


async def read_json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body is an empty object.

    Raises WrongMedia (415), Malformed (400) for what is not JSON or nests deeper than MAX_DEPTH, BadBody (422)
    for JSON that is not an object.
    """
    body = await read_body(request)
    if not body:
        return {}
    check_json_type(request)
    value = parse_json(body)
    if not isinstance(value, dict):
        raise BadBody("The body must be a JSON object.", pointer="")
    return value


async def read_model(request: Request, model: type[Model]) -> Model:
    """No body counts as `{}`. Raises BadBody for what is no object, Invalid that names what the model refuses."""
    return validate(model, await read_json_object(request))


def validate(model: type[Model], value: Mapping[str, Any]) -> Model:
    """Raises Invalid that names what the model refuses."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise from_validation(error) from error


def parse_json(body: bytes) -> Any:
    """Strict JSON (automata.flow.exact_json), at most MAX_DEPTH deep. Raises Malformed."""
    try:
        value = loads(body)
    except json.JSONDecodeError as error:
        raise Malformed(f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise Malformed(f"The body nests deeper than {MAX_DEPTH} levels.", code="too_deep")
    return value


def _deeper(value: Any, limit: int) -> bool:
    """Whether containers nest more than `limit` deep; level by level, so that no input recurses."""
    level = [value]
    for _ in range(limit + 1):
        level = [child for item in level for child in _children(item) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(item: Any) -> Any:
    return item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()


def invalid_request(findings: Sequence[Mapping[str, Any]], root: Sequence[str] = ()) -> Invalid:
    """Pydantic's findings as one Invalid; `root` is put before each place. Values are never echoed."""
    diagnostics = [
        Diagnostic(code=str(item["type"]), message=_sentence(item), pointer=_pointer([*root, *item["loc"]]))
        for item in findings
    ]
    first = diagnostics[0]
    more = f" ({len(diagnostics)} problems)" if len(diagnostics) > 1 else ""
    return Invalid(
        f"{first.pointer}: {first.message}{more}",
        code="invalid_request",
        pointer=first.pointer,
        diagnostics=diagnostics,
    )


def from_validation(error: ValidationError) -> Invalid:
    """Like `invalid_request`, of a body that a model refused."""
    return invalid_request([dict(item) for item in error.errors(include_url=False, include_input=False)])


def _pointer(place: Sequence[Any]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def _sentence(item: Mapping[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")
