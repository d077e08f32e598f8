"""The log of one attempt: its requests, its end, and the lines of its step type. Masked, then bounded.

A line is `{"at": RFC 3339, "level": info|warning|error, "message": text}`, of a request with `request`: {method, url,
status, ms, bytes}, where no answer came `error` in place of `status` and `bytes`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from automata.engine.retry import Failure
from automata.steps.contract import HttpRequest, HttpResponse, Transport, TransportError
from automata.steps.masking import Mask
from automata.steps.urls import redacted

Level = Literal["info", "warning", "error"]

MAX_LINES = 100
MAX_BYTES = 64 * 1024
MAX_MESSAGE_CHARS = 4_000
# Kept back for the two lines that must not be missing: how it ended, and that something was left out.
_RESERVED_LINES = 2
_RESERVED_BYTES = 4 * 1024


class AttemptLog:
    """Empty for an attempt that said nothing and succeeded: then nothing is stored."""

    def __init__(self, mask: Mask, clock: Callable[[], float] = time.time) -> None:
        self._mask = mask
        self._clock = clock
        self._lines: list[bytes] = []
        self._bytes = 0
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def say(self, message: str) -> None:
        """What a step type tells through its context."""
        self.add("info", message)

    def add(self, level: Level, message: str, **facts: Any) -> None:
        """Add a line, or count it as left out when there is no room."""
        if len(self._lines) >= MAX_LINES - _RESERVED_LINES:
            self._left_out += 1
            return
        line = self._line(level, message, facts)
        if self._bytes + len(line) > MAX_BYTES - _RESERVED_BYTES:
            self._left_out += 1
            return
        self._append(line)

    def end(self, failure: Failure | None, retry_ms: int | None) -> None:
        """How it ended; an attempt that succeeded says so only beside other lines that were left out."""
        if self._left_out:
            message = f"{self._left_out} more lines were left out: {MAX_LINES} and {MAX_BYTES} bytes are kept"
            self._append(self._line("warning", message, {}))
        if failure is not None:
            what = "failed for good" if retry_ms is None else f"failed, again in {retry_ms / 1000:g} s"
            level: Level = "error" if retry_ms is None else "warning"
            # The message stands in the error of the attempt; here the beginning of it is enough.
            self._append(self._line(level, f"{what}: {failure.code}: {failure.message[:500]}", {}))

    def text(self) -> str:
        """The lines as one JSON list."""
        return b"".join((b"[", b",".join(self._lines), b"]")).decode()

    def _line(self, level: Level, message: str, facts: dict[str, Any]) -> bytes:
        text = self._mask(str(message).encode(errors="replace").decode())
        if len(text) > MAX_MESSAGE_CHARS:
            text = text[: MAX_MESSAGE_CHARS - 1] + "…"
        return orjson.dumps(
            {"at": datetime.fromtimestamp(self._clock(), UTC), "level": level, "message": text, **facts}
        )

    def _append(self, line: bytes) -> None:
        self._lines.append(line)
        self._bytes += len(line) + 1


class LoggedTransport:
    """Passes requests on, and tells of each: method, masked URL, status, time and size."""

    def __init__(self, transport: Transport, log: AttemptLog, mask: Mask) -> None:
        self._transport = transport
        self._log = log
        self._mask = mask

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send, and log what came of it. Raises what the transport raises."""
        began = time.monotonic()
        try:
            response = await self._transport.send(request)
        except TransportError as error:
            self._tell(request, began, "warning", error.code, {"error": error.code})
            raise
        except BaseException:
            self._tell(request, began, "warning", "no answer in time", {"error": "timeout"})
            raise
        level: Level = "info" if response.status < 400 else "warning"
        facts = {"status": response.status, "bytes": len(response.body)}
        self._tell(request, began, level, f"{response.status}, {len(response.body)} bytes", facts)
        return response

    def _tell(self, request: HttpRequest, began: float, level: Level, what: str, facts: dict[str, Any]) -> None:
        took = round((time.monotonic() - began) * 1000, 1)
        url = self._mask(redacted(request.url))
        facts_of_request = {"method": request.method, "url": url, "ms": took, **facts}
        self._log.add(level, f"{request.method} {url}: {what} in {took:g} ms", request=facts_of_request)
