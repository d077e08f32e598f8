"""What was recorded, as a transport: every request is answered as production was, or it is told that none was like it.

A request is answered by a recorded one of the same method and address. One with the same body is better, one of the
same step is better still; among equals the first that was not used yet. A read may be answered again by what answered
it before; a write may not, since a second one is exactly what a replay shall notice.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from yarl import URL

from automata.flow.exact_json import loads
from automata.sandbox.matching import Seen
from automata.steps.contract import HttpRequest, HttpResponse, Transport, TransportError
from automata.steps.recording import body_bytes

READS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(slots=True)
class Exchange:
    """A recorded request with its answer. `body` is comparable: JSON data, or text."""

    step: str
    method: str
    url: str
    body: Any
    answer: Mapping[str, Any]
    used: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request that a replay sent; `body` is comparable. `covered`: something recorded answered it."""

    step: str
    method: str
    url: str
    body: Any
    covered: bool

    @property
    def writes(self) -> bool:
        """Whether it may change something where it is sent."""
        return self.method not in READS


@dataclass(slots=True)
class RecordedTransport:
    """One is made for each replayed run. `stretch` makes an answer take so many times what it took."""

    exchanges: list[Exchange]
    stretch: Callable[[], float]
    sent: list[Request] = field(default_factory=list)

    def for_step(self, step: str) -> Transport:
        """The transport of one step: its requests are known as its own."""
        return _ForStep(self, step)

    async def send(self, request: HttpRequest, step: str) -> HttpResponse:
        seen = Seen(request, step)
        url, body = address(request.url), _comparable(seen)
        exchange = self._find(step, request.method, url, body)
        self.sent.append(Request(step, request.method, url, body, exchange is not None))
        if exchange is None:
            raise TransportError("not_recorded", f"Nothing that was recorded answers {request.method} {request.url}.")
        exchange.used = True
        return await self._answer(exchange.answer, request)

    def _find(self, step: str, method: str, url: str, body: Any) -> Exchange | None:
        alike = [candidate for candidate in self.exchanges if candidate.method == method and candidate.url == url]
        fresh = [candidate for candidate in alike if not candidate.used]
        if fresh:
            return max(fresh, key=lambda candidate: (candidate.body == body) * 2 + (candidate.step == step))
        return alike[-1] if alike and method in READS else None

    async def _answer(self, answer: Mapping[str, Any], request: HttpRequest) -> HttpResponse:
        fault = answer.get("fault")
        if fault and fault["code"] == "timeout":
            await asyncio.sleep(request.timeout_sec)
        else:
            # Never so slow that a call runs out of time that did not run out of it in production.
            took = answer.get("took_ms", 0) / 1000 * self.stretch()
            await asyncio.sleep(min(took, request.timeout_sec * 0.9))
        if fault:
            raise TransportError(fault["code"], fault.get("message", ""), fault.get("retryable", False))
        response = answer["response"]
        headers = tuple((name, value) for name, value in response.get("headers", ()))
        body, error = body_bytes(response.get("body")), response.get("body_error", "")
        return HttpResponse(response["status"], headers, body, request.url, error)


@dataclass(frozen=True, slots=True)
class _ForStep:
    transport: RecordedTransport
    step: str

    async def send(self, request: HttpRequest) -> HttpResponse:
        return await self.transport.send(request, self.step)


def exchanges_of(recorded: Iterable[Mapping[str, Any]]) -> list[Exchange]:
    """Raises ValueError when a body was not kept: a replay would go by what is not there."""
    exchanges = []
    for exchange in recorded:
        request = exchange["request"]
        if "response" in exchange:
            body_bytes(exchange["response"].get("body"))
        elif "fault" not in exchange:
            raise ValueError("a request has neither answer nor fault")
        body = comparable(body_bytes(request.get("body")))
        exchanges.append(Exchange(exchange["step"], request["method"], address(request["url"]), body, exchange))
    return exchanges


def comparable(body: bytes) -> Any:
    """A body as JSON data when it is JSON, else as text; bytes that are none as base64; None when there is no body."""
    if not body:
        return None
    try:
        return loads(body)
    except ValueError:
        pass
    try:
        return body.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(body).decode()}"


def _comparable(seen: Seen) -> Any:
    return comparable(seen.request.body or b"") if seen.request.body else None


def address(url: str) -> str:
    """A URL with its query in one order: `?a=1&b=2` and `?b=2&a=1` ask the same, `?a=1&a=2` and `?a=2&a=1` need not."""
    parsed = URL(url)
    return str(parsed.with_query(sorted(parsed.query.items(), key=itemgetter(0)))) if parsed.query else str(parsed)
