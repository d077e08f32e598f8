"""What a step type is, what it is given, and what it gives back. The real and the mocked transport share this shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from automata.engine.retry import Failure
from automata.flow.steptypes import DEFAULT_RESPONSE_BYTES, OutputScope

DEFAULT_MAX_BYTES = DEFAULT_RESPONSE_BYTES
BROKEN_OFF = "The body of the response breaks off."
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One hop: a transport sends it as it is and never follows a redirect by itself.

    `url` is absolute, ASCII and without userinfo or fragment; `headers` keep their order; `body` None sends none.
    `max_bytes` bounds the decoded body; with `skip_body` nobody reads it, and a transport need not. `follow_redirects`
    is for the caller of the transport.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    timeout_sec: float = 300.0
    max_bytes: int = DEFAULT_MAX_BYTES
    follow_redirects: bool = True
    verify_tls: bool = True
    skip_body: bool = False

    @property
    def idempotent(self) -> bool:
        """Whether sending it twice means what sending it once means (RFC 9110, 9.2.2)."""
        return self.method in IDEMPOTENT

    def header(self, name: str) -> str | None:
        """The first value under `name`, whatever its case."""
        return first_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`headers` as they came, names in any case, repeats apart; `body` decompressed; `url` what answered.

    `body_error`: why `body` is not the whole body, in one sentence; empty when it is. The answer is one all the same.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    url: str = ""
    body_error: str = ""

    def header(self, name: str) -> str | None:
        """The first value under `name`, whatever its case."""
        return first_header(self.headers, name)


class TransportError(Exception):
    """A request that got no answer. `code` is stable; `retryable` says whether trying again can help."""

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable

    def failure(self) -> Failure:
        """The same as the failure of an attempt."""
        return Failure(message=self.message, code=self.code, retryable=self.retryable)


def headroom_sec(timeout_sec: float) -> float:
    """How long before the end of an attempt that is given so long a call tells what became of it."""
    return min(timeout_sec * 0.05, 1.0)


class Transport(Protocol):
    """Sends requests: the real one, a mock, or a wrapper of one."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send one hop. Raises TransportError."""


def _silent(message: str) -> None:
    """The log of a context that nobody listens to."""


def _unmasked(text: str) -> str:
    """The mask of a context without secrets."""
    return text


# Values, though not frozen: a frozen one costs three times as much to make, and every attempt makes some.
@dataclass(slots=True)
class StepContext:
    """What one attempt is given besides its config. `step` is the full id; `attempt` counts from 1.

    `mask` replaces the values of secrets in a text; it is applied to messages, to the described request, and to
    outputs. `reads_secrets` tells that the rendered config may hold some; `execute_step`
    fills it in.
    """

    run_id: str
    step: str
    attempt: int
    timeout_sec: float
    idempotency_key: str
    transport: Transport
    log: Callable[[str], None] = _silent
    mask: Callable[[str], str] = _unmasked
    reads_secrets: bool = False


@dataclass(slots=True)
class Outcome:
    """How one attempt ended: with a `failure`, or with outputs.

    `outputs` are the defaults when a type returns them, and the final ones after `execute_step`; `response` is what
    outputs templates see (`{"response": …}` or `{"result": …}`; None means the outputs under the type's scope).
    `encoded` is the JSON text of the final outputs. `request` describes the last request of a failed attempt for the
    dead letter (`method`, `url`, `headers`, `body`, `body_bytes`), masked; None when nothing was sent.
    """

    response: Mapping[str, Any] | None = None
    outputs: Mapping[str, Any] | None = None
    failure: Failure | None = None
    encoded: bytes | None = None
    request: Mapping[str, Any] | None = None


class StepInfo(Protocol):
    """What is known about a type without running it. `config_schema` is a JSON Schema of the written config."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def scope(self) -> OutputScope: ...
    @property
    def config_schema(self) -> Mapping[str, Any]: ...


class StepType(StepInfo, Protocol):
    """A type that a worker runs (`kind` is `work`). One object serves every attempt of a process, side by side."""

    async def execute(self, config: Mapping[str, Any], ctx: StepContext) -> Outcome:
        """Run one attempt on the rendered config. Expected trouble is an Outcome with a failure, not an exception."""


def first_header(headers: tuple[tuple[str, str], ...], name: str) -> str | None:
    """The first value under `name`, whatever its case; None when there is none."""
    folded = name.lower()
    return next((value for key, value in headers if key.lower() == folded), None)
