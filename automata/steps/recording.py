"""What a recorded attempt keeps of its requests and answers: masked before anything else sees it, and bounded.

An exchange is plain JSON:

    {"request": {method, url, headers, body}, "response": {status, headers, body}, "took_ms": 12.5}

with `"body_error"` beside a `body` that is not whole (`HttpResponse.body_error`), and with `"fault": {code, message}`
in place of `response` when none came. A body is `null`, `{"json": …}`, `{"text": …}` or `{"base64": …}`; one that is
too large is `{"cut": bytes}`, and a run that has such a body cannot be replayed.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from automata.flow.exact_json import dumps, loads
from automata.flow.media import is_json_type, media_type
from automata.steps.contract import HttpRequest, HttpResponse, Transport, TransportError, first_header
from automata.steps.http_body import shown_text
from automata.steps.masking import MASKED, Mask, mask_tree

MAX_BODY_BYTES = 256 * 1024
MAX_ATTEMPT_BYTES = 2 * 1024 * 1024
MAX_EXCHANGES = 100

# Names that are a credential wherever they stand. Bodies are full of keys that are none (`key`, `token_count`).
_CREDENTIAL = re.compile(
    r"(.*[-_])?(authorization|cookie2?|password|passwd|secret|token|api[-_]?key|private[-_]?key|signature|credentials?)",
    re.IGNORECASE,
)


class RecordingTransport:
    """Passes requests on and keeps what went over the wire. One is made for each attempt."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.seen: list[tuple[HttpRequest, HttpResponse | TransportError | None, float]] = []
        self.lost = 0

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send, and keep the exchange. Raises what the transport raises."""
        began = time.monotonic()
        answer: HttpResponse | TransportError | None = None
        try:
            answer = await self._transport.send(request)
            return answer
        except TransportError as error:
            answer = error
            raise
        finally:
            # An attempt that ran out of time has a request without an answer: that is what there is to know.
            if len(self.seen) < MAX_EXCHANGES:
                self.seen.append((request, answer, (time.monotonic() - began) * 1000))
            else:
                self.lost += 1

    def exchanges(self, mask: Mask, fields: Iterable[str] = ()) -> str:
        """The JSON text of what was seen. `mask` blanks known secrets, `fields` are names to blank beside our own."""
        blank = _Blank(mask, fields)
        exchanges = [blank.exchange(*exchange) for exchange in self.seen]
        if self.lost or sum(map(_size, exchanges)) > MAX_ATTEMPT_BYTES:
            exchanges = [_cut(exchange) for exchange in exchanges[:MAX_EXCHANGES]]
        return dumps(exchanges).decode()


class _Blank:
    def __init__(self, mask: Mask, fields: Iterable[str]) -> None:
        self._mask = mask
        self._fields = frozenset(name.lower() for name in fields)

    def exchange(
        self, request: HttpRequest, answer: HttpResponse | TransportError | None, took_ms: float
    ) -> dict[str, Any]:
        sent = {
            "method": request.method,
            "url": self._url(request.url),
            "headers": self._headers(request.headers),
            "body": self._body(request.body, request.headers),
        }
        record: dict[str, Any] = {"request": sent, "took_ms": round(took_ms, 1)}
        if isinstance(answer, HttpResponse):
            body = self._body(answer.body, answer.headers)
            response = {"status": answer.status, "headers": self._headers(answer.headers), "body": body}
            if answer.body_error:
                response["body_error"] = self._mask(answer.body_error)
            return record | {"response": response}
        code, message = (answer.code, answer.message) if answer else ("timeout", "no answer came in time")
        retryable = answer.retryable if answer else True
        return record | {"fault": {"code": code, "message": self._mask(message), "retryable": retryable}}

    def _is_secret(self, name: str) -> bool:
        return name.lower() in self._fields or _CREDENTIAL.fullmatch(name) is not None

    def _headers(self, headers: Sequence[tuple[str, str]]) -> list[list[str]]:
        return [[name, MASKED if self._is_secret(name) else self._mask(value)] for name, value in headers]

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        if not any(self._is_secret(name) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            return self._mask(url)
        kept = []
        for pair in parts.query.split("&"):
            name, equals, _ = pair.partition("=")
            secret = equals and any(self._is_secret(known) for known, _ in parse_qsl(pair, keep_blank_values=True))
            kept.append(f"{name}={quote(MASKED, safe='*')}" if secret else pair)
        return self._mask(parts._replace(query="&".join(kept)).geturl())

    def _body(self, body: bytes | None, headers: Sequence[tuple[str, str]]) -> Any:
        if not body:
            return None
        if len(body) > MAX_BODY_BYTES:
            return {"cut": len(body)}
        content_type = first_header(tuple(headers), "content-type") or ""
        kind = media_type(content_type)
        if is_json_type(kind):
            try:
                return {"json": self._tree(loads(body))}
            except (ValueError, RecursionError):
                pass  # said to be JSON, and is none: kept as it came
        try:
            text = body.decode()
        except UnicodeDecodeError:
            # Bytes are kept as they are or not at all: a secret in them stays one only if they are not.
            shown = shown_text(body, content_type)
            hit = self._mask(shown) != shown
            return {"cut": len(body)} if hit else {"base64": base64.b64encode(body).decode()}
        if kind == "application/x-www-form-urlencoded":
            return {"text": self._url(f"?{text}").removeprefix("?")}
        return {"text": self._mask(text)}

    def _tree(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                self._mask(name): MASKED if self._is_secret(name) and item is not None else self._tree(item)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._tree(item) for item in value]
        return mask_tree(value, self._mask)


def body_bytes(body: Any) -> bytes:
    """A recorded body as it is sent again. Raises ValueError for one that was cut, or that is none."""
    match body:
        case None:
            return b""
        case {"json": value}:
            return dumps(value)
        case {"text": str(text)}:
            return text.encode()
        case {"base64": str(text)}:
            return base64.b64decode(text, validate=True)
    raise ValueError("the body was not kept")


def _size(exchange: Mapping[str, Any]) -> int:
    return len(dumps(exchange))


def _cut(exchange: dict[str, Any]) -> dict[str, Any]:
    """Too much in all: what was sent and answered is told, bodies are not."""
    for side in ("request", "response"):
        if side in exchange and exchange[side]["body"] is not None:
            exchange[side]["body"] = {"cut": _size(exchange[side])}
    return exchange
