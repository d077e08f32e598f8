"""The mocked transport: which rule answers a request, in what sequence, and what to say when none does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automata.errors import Invalid
from automata.flow.exact_json import dumps, loads
from automata.sandbox.contract import Contract, read_contract
from automata.sandbox.matching import Rule, Seen, compile_request
from automata.steps.contract import BROKEN_OFF, HttpRequest, HttpResponse, TransportError

NEAREST = 3
BODILESS = frozenset({204, 304})  # what a service sends with them in spite of HTTP is not read
Files = Callable[[str], bytes]  # a path beside the test file -> its content; raises Invalid


@dataclass(frozen=True, slots=True)
class Answer:
    """One entry of `responses`, its body made ready once."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    latency_sec: float = 0.0
    fault: str | None = None
    times: int = 1


@dataclass(slots=True)
class Mock:
    """A rule and how often it was used. `step` mocks have no rule: they give a step its result."""

    id: str
    rule: Rule
    answers: tuple[Answer, ...]
    after: str = "last"
    calls: Mapping[str, int] = field(default_factory=dict)
    optional: bool = False
    used: int = 0
    contract: Contract | None = None

    def next(self) -> Answer | None:
        """The answer to this call; None when the list is used up and `after` is `error`."""
        number, total = self.used, sum(answer.times for answer in self.answers)
        self.used += 1
        if number >= total:
            if self.after == "error":
                return None
            number = number % total if self.after == "cycle" else total - 1
        for answer in self.answers:
            number -= answer.times
            if number < 0:
                return answer
        return None


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that a step sent: which mock answered ("" when none did), and when."""

    mock: str
    seen: Seen
    at_sec: float
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about the mocks that fails the case whatever it expects. `request` is what was not answered."""

    code: str
    message: str
    request: HttpRequest | None = None


def compile_mock(spec: Mapping[str, Any], number: int, files: Files) -> Mock:
    """A mock of requests from its entry. Raises Invalid."""
    named = spec.get("openapi")
    return Mock(
        contract=read_contract(files(named), named) if named else None,
        id=spec.get("id", f"mock-{number}"),
        rule=compile_request(spec.get("request", {})),
        answers=tuple(_answer(entry, files) for entry in spec.get("responses", [{}])),
        after=spec.get("after", "last"),
        calls=spec.get("expect_calls", {}),
        optional=spec.get("optional", False),
    )


def _answer(spec: Mapping[str, Any], files: Files) -> Answer:
    bodies = [name for name in ("json", "json_file", "text", "text_file") if name in spec]
    if len(bodies) > 1:
        raise Invalid(f"A response has one body, not {' and '.join(bodies)}.", code="two_bodies")
    headers = [
        (name, value)
        for name, values in spec.get("headers", {}).items()
        for value in (values if isinstance(values, list) else [values])
    ]
    body = b""
    if bodies:
        body = _body(bodies[0], spec[bodies[0]], files)
        kind = "application/json" if bodies[0].startswith("json") else "text/plain; charset=utf-8"
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", kind))
    return Answer(
        status=spec.get("status", 200),
        headers=tuple(headers),
        body=body,
        latency_sec=spec.get("latency_ms", 0) / 1000,
        fault=spec.get("fault"),
        times=spec.get("times", 1),
    )


def _body(kind: str, value: Any, files: Files) -> bytes:
    if kind == "json":
        return dumps(value)
    if kind == "text":
        return str(value).encode()
    content = files(value)
    if kind == "json_file":
        try:
            loads(content)
        except ValueError as error:
            raise Invalid(f"{value} is not JSON: {error}.", code="bad_json_file") from error
    return content


class MockTransport:
    """Answers from mocks; keeps what was sent and what went wrong. One is made for each case."""

    def __init__(self, mocks: Sequence[Mock]) -> None:
        self.mocks = mocks
        self.sent: list[Sent] = []
        self.troubles: list[Trouble] = []

    def for_step(self, step: str) -> StepTransport:
        """The transport of one step: its requests are known as its own."""
        return StepTransport(self, step)

    async def send(self, seen: Seen) -> HttpResponse:
        mock = self._choose(seen)
        answer = mock.next()
        if answer is None:
            self.sent.append(self._record(seen, mock.id, None))
            raise self._refuse("mock_used_up", f"The mock `{mock.id}` has no more answers for {seen.line()}", seen)
        status = None if answer.fault else answer.status
        self.sent.append(self._record(seen, mock.id, status))
        if mock.contract and not answer.fault and (wrong := mock.contract.breach(seen.method, seen.url.path, answer)):
            raise self._refuse("openapi", f"The answer of the mock `{mock.id}` to {seen.line()}: {wrong}", seen)
        return await _given(answer, seen.request)

    def _record(self, seen: Seen, mock: str, status: int | None) -> Sent:
        return Sent(mock, seen, asyncio.get_running_loop().time(), status)

    def _choose(self, seen: Seen) -> Mock:
        judged = [(mock, mock.rule(seen)) for mock in self.mocks]
        fitting = [(verdict.weight, mock) for mock, verdict in judged if not verdict.misses]
        if not fitting:
            self.sent.append(self._record(seen, "", None))
            raise self._refuse("no_mock", self._unmatched(seen, judged), seen)
        best = max(weight for weight, _ in fitting)
        winners = [mock for weight, mock in fitting if weight == best]
        if len(winners) > 1:
            self.sent.append(self._record(seen, "", None))
            names = " and ".join(f"`{mock.id}`" for mock in winners)
            raise self._refuse("mock_tie", f"The mocks {names} fit {seen.line()} equally well", seen)
        return winners[0]

    def _unmatched(self, seen: Seen, judged: Sequence[tuple[Mock, Any]]) -> str:
        nearest = sorted(judged, key=lambda item: (len(item[1].misses), -item[1].weight))[:NEAREST]
        hints = "".join(f"\n  nearest `{mock.id}`: {'; '.join(verdict.misses)}" for mock, verdict in nearest)
        return f"No mock fits {seen.line()}{hints}"

    def _refuse(self, code: str, message: str, seen: Seen) -> TransportError:
        self.troubles.append(Trouble(code, message, seen.request))
        return TransportError(code, message.partition("\n")[0])

    def leftovers(self) -> list[Trouble]:
        """Mocks that were not called as often as they must be."""
        return [trouble for mock in self.mocks if (trouble := _miscounted(mock))]


@dataclass(frozen=True, slots=True)
class StepTransport:
    """The transport that one step is given: requests know whose they are."""

    transport: MockTransport
    step: str

    async def send(self, request: HttpRequest) -> HttpResponse:
        return await self.transport.send(Seen(request, self.step))


def _miscounted(mock: Mock) -> Trouble | None:
    used, calls = mock.used, mock.calls
    if not calls:
        if used or mock.optional:
            return None
        return Trouble("mock_unused", f"The mock `{mock.id}` was never used; `optional: true` allows that")
    bounds = []
    if "exactly" in calls and used != calls["exactly"]:
        bounds.append(f"exactly {calls['exactly']}")
    if used < calls.get("at_least", 0):
        bounds.append(f"at least {calls['at_least']}")
    if used > calls.get("at_most", used):
        bounds.append(f"at most {calls['at_most']}")
    if not bounds:
        return None
    times = "once" if used == 1 else f"{used} times"
    return Trouble("mock_calls", f"The mock `{mock.id}` was called {times}, not {' and '.join(bounds)}")


async def _given(answer: Answer, request: HttpRequest) -> HttpResponse:
    """What a real service would have done: wait, then answer or break. A wait beyond the limit is a timeout."""
    subject = f"{request.method} {request.url}"
    if answer.fault == "timeout" or answer.latency_sec >= request.timeout_sec:
        await asyncio.sleep(request.timeout_sec)
        raise TransportError("timeout", f"{subject}: took too long.", retryable=True)
    if answer.latency_sec:
        await asyncio.sleep(answer.latency_sec)
    if answer.fault and not _arrives(answer, request):
        code, meaning = _FAULTS[answer.fault]
        retryable = code != "protocol_error" or request.idempotent
        raise TransportError(code, f"{subject}: {meaning}.", retryable)
    body = b"" if answer.status in BODILESS or request.method == "HEAD" else answer.body
    if len(body) > request.max_bytes and not request.skip_body:
        raise TransportError("response_too_large", f"{subject} answered more than {request.max_bytes} bytes.")
    if answer.fault and not request.skip_body:
        return HttpResponse(answer.status, answer.headers, body[: len(body) // 2], request.url, BROKEN_OFF)
    return HttpResponse(answer.status, answer.headers, body, request.url)


def _arrives(answer: Answer, request: HttpRequest) -> bool:
    """Whether there is an answer in spite of its fault: one whose body breaks off, where asking again does harm."""
    return answer.fault == "truncated" and (request.skip_body or not request.idempotent)


# The codes and words of the real transport.
_FAULTS = {
    "reset": ("connection_lost", "the connection broke"),
    "dns": ("dns_error", "host name could not be resolved"),
    "malformed": ("protocol_error", "the answer is not HTTP"),
    "truncated": ("connection_lost", "the connection broke"),
}
