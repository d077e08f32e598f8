"""Traces of runs: W3C identities, which need nothing, and spans by OTLP/HTTP: the extra `automata-flows[otel]`.

The identity of a run's span follows from the run alone, so every process knows it and none has to store it: the trace
is that of the request that started the run, or the run's own id. The same for whether it is sampled. A collector that
is away costs spans, never a run: they wait in a bounded line of a thread of their own.
"""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from automata import DISTRIBUTION, build
from automata.errors import Usage
from automata.settings import Settings

__all__ = [
    "HEADER",
    "INCOMING",
    "SpanIds",
    "Tracing",
    "attempt_span",
    "open_tracing",
    "run_span",
    "valid_traceparent",
]

HEADER: Final = "traceparent"
CLOSE_SEC: Final = 3.0
EXPORT_SEC: Final = 5.0
# Of the request that is being answered; set only where traces are on.
INCOMING: ContextVar[str | None] = ContextVar("traceparent", default=None)

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_CHARS = 512
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class SpanIds:
    """The ids of a span: its trace, its own, its parent's (None: it is the root)."""

    trace: int
    span: int
    parent: int | None
    sampled: bool

    def header(self) -> str:
        """The traceparent header of calls that are made inside of this span."""
        return f"00-{self.trace:032x}-{self.span:016x}-{int(self.sampled):02x}"


def valid_traceparent(header: str | None) -> str | None:
    """The header if it is one of W3C Trace Context, cut to what is known of it; else None, as if none was sent."""
    match = _HEADER.fullmatch(header.strip()) if header and len(header) <= _MAX_CHARS else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    if not int(match[2], 16) or not int(match[3], 16):
        return None
    return f"00-{match[2]}-{match[3]}-{int(match[4], 16) & _SAMPLED:02x}"


def run_span(run: UUID, attempt: int, traceparent: str | None, ratio: float) -> SpanIds:
    """The span of one attempt of a run. What started it decides whether it is sampled, else its id does."""
    span = _span_of(f"run {run} {attempt}")
    if known := valid_traceparent(traceparent):
        _, trace, above, flags = known.split("-")
        return SpanIds(int(trace, 16), span, int(above, 16), flags == "01")
    # The last bits of an id are random (RFC 9562), and the same in every process.
    return SpanIds(run.int, span, None, (run.int & (2**56 - 1)) < ratio * 2**56)


def attempt_span(run: SpanIds, fence: UUID) -> SpanIds:
    """The span of one attempt of a step, below its run's."""
    return SpanIds(run.trace, _span_of(f"attempt {fence}"), run.span, run.sampled)


def _span_of(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) or 1


class Tracing:
    """What one process sends. Made by `open_tracing`; `ended` may be called from the loop, `close` waits a moment."""

    def __init__(self, url: str, ratio: float) -> None:
        # Here and not above: nobody else pays for it, in time or in packages.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        self.ratio = ratio
        # Its own lines say more than one wants to read each second that a collector is away.
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)
        self._resource = Resource.create({"service.name": "automata", "service.version": build()})
        self._out = BatchSpanProcessor(
            OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=EXPORT_SEC),
            max_queue_size=8_192,
            schedule_delay_millis=1_000,
        )

    def ended(
        self,
        ids: SpanIds,
        name: str,
        began: datetime | float,
        end: datetime | float,
        facts: Mapping[str, Any],
        error: str | None = None,
    ) -> None:
        """Send a span that is over; `error` is a code, never a message: messages may hold what flows carry."""
        if not ids.sampled:
            return
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        def context(span: int, remote: bool) -> SpanContext:
            return SpanContext(ids.trace, span, is_remote=remote, trace_flags=TraceFlags(_SAMPLED))

        attributes = {key: value for key, value in facts.items() if value is not None}
        if error is not None:
            attributes["error.type"] = error
        self._out.on_end(
            ReadableSpan(
                name=name,
                context=context(ids.span, False),
                parent=context(ids.parent, True) if ids.parent is not None else None,
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.INTERNAL,
                status=Status(StatusCode.ERROR, error) if error is not None else Status(StatusCode.OK),
                start_time=_nanoseconds(began),
                end_time=_nanoseconds(end),
            )
        )

    def close(self) -> None:
        """Send what waits, for at most CLOSE_SEC. Blocks: call it from a thread."""
        # The library would try for half a minute; its threads do not keep the process.
        ending = threading.Thread(target=self._out.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_SEC)


def open_tracing(settings: Settings) -> Tracing | None:
    """None where AUTOMATA_OTLP_URL is not set. Raises Usage when the extra is missing."""
    if not settings.otlp_url:
        return None
    try:
        return Tracing(settings.otlp_url, settings.trace_ratio)
    except ImportError as error:
        raise Usage(
            "AUTOMATA_OTLP_URL is set and the packages for traces are missing.",
            code="no_otel",
            hint=f"pip install '{DISTRIBUTION}[otel]'",
        ) from error


def _nanoseconds(moment: datetime | float) -> int:
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    return int(seconds * 1_000_000) * 1_000
