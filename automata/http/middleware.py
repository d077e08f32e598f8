"""The outermost layer of every request: limits, security headers, metrics, and the last catch.

Plain ASGI, because it runs on the hot path: no task group and no response object a request.
"""

from __future__ import annotations

import logging
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from automata.access.rate_limiter import client_key
from automata.errors import AutomataError, Busy
from automata.http import problem
from automata.http.errors import TooLarge
from automata.http.in_flight import MAX_IN_FLIGHT, InFlight
from automata.http.request_checks import RequestLimits
from automata.telemetry import HTTP_IN_FLIGHT, HTTP_REFUSED, HTTP_REQUESTS, HTTP_SECONDS

METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"})
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)

log = logging.getLogger(__name__)


class RequestMiddleware:
    """Admits requests within bounds, and answers what nobody else has caught."""

    def __init__(
        self, app: ASGIApp, limits: RequestLimits, max_body_bytes: int, max_in_flight: int = MAX_IN_FLIGHT
    ) -> None:
        self._app = app
        self._limits = limits
        self._max_body_bytes = max_body_bytes
        self._in_flight = InFlight(max_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._max_body_bytes)
        peer, path = scope.get("client"), scope["path"]
        client = client_key(peer[0]) if peer else ""
        HTTP_IN_FLIGHT.inc()
        try:
            self._in_flight.enter(client, path)
            try:
                await self._answer(exchange)
            finally:
                self._in_flight.leave(client, path)
        except Busy as error:
            await _refuse(exchange, error)
        finally:
            HTTP_IN_FLIGHT.dec()
            exchange.measure()

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            self._limits.check(exchange.scope)
            exchange.check_length()
        except AutomataError as error:
            await _refuse(exchange, error)
            return
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            await exchange.fail(error)


async def _refuse(exchange: _Exchange, error: AutomataError) -> None:
    HTTP_REFUSED.labels(error.code).inc()
    await exchange.fail(error)


class _Exchange:
    """One request and its answer: counts the body's bytes, adds headers, remembers the status."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._limit = max_body_bytes
        self._read = 0
        self._status = 0
        self._began = perf_counter()

    def check_length(self) -> None:
        """Raises TooLarge for a body that says itself that it is; a chunked one is counted as it comes."""
        for name, value in self.scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > self._limit:
                raise self._too_large()

    async def receive(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._limit:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            present = {name for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((b"set-cookie", cookie) for cookie in self.scope.get("automata.cookies", ())),
                *(item for item in SECURITY_HEADERS if item[0] not in present),
            ]
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Answer with a problem, unless an answer has begun: then only the log can tell."""
        answer = problem.of_error(error) if isinstance(error, AutomataError) else problem.of_crash(error)
        if not self._status:
            await answer(self.scope, self.receive, self.send)

    def measure(self) -> None:
        route = getattr(self.scope.get("route"), "path", "unmatched")
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        seconds = perf_counter() - self._began
        HTTP_REQUESTS.labels(method, route, str(self._status)).inc()
        HTTP_SECONDS.labels(route).observe(seconds)
        level = logging.WARNING if self._status >= 500 else logging.DEBUG
        if log.isEnabledFor(level):
            fields = {"method": method, "path": self.scope["path"], "status": self._status}
            log.log(level, "request", extra=fields | {"ms": round(seconds * 1000, 1)})

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The body is larger than {self._limit} bytes.",
            hint="Pass a reference to large data, or raise AUTOMATA_MAX_BODY_BYTES.",
        )
