"""Redirects, hop by hop over `Transport.send`, so that every hop is vetted and a mock sees every request."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from yarl import URL

from automata.steps.contract import HttpRequest, HttpResponse, Transport, TransportError, headroom_sec
from automata.steps.cookies import Jar
from automata.steps.urls import join_url, redacted

MAX_REDIRECTS = 10
MIN_HOP_SEC = 0.001

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What may travel to a host that the flow did not name. Everything else stays: an API key has no fixed header name.
_PUBLIC_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "cache-control", "content-language", "content-type",
     "if-modified-since", "if-none-match", "range", "traceparent", "tracestate", "user-agent"}
)  # fmt: skip
_DEFAULT_PORTS = ("http", 80, "https", 443)


async def follow(transport: Transport, first: HttpRequest, keep_body_at_home: bool) -> tuple[HttpRequest, HttpResponse]:
    """The last request and its answer. `keep_body_at_home` refuses to repeat a body to another host.

    Raises TransportError; one that comes after a request that may not be repeated was answered is not retryable.
    """
    chain = _Chain(first)
    for _ in range(MAX_REDIRECTS + 1):
        request = chain.request
        response = await chain.send(transport)
        location = response.header("location")
        if not request.follow_redirects or response.status not in _REDIRECTS or not location:
            return request, response
        chain.go_on(response, next_hop(request, response.status, location, keep_body_at_home))
    raise TransportError(
        "too_many_redirects", f"{redacted(first.url)} redirects more than {MAX_REDIRECTS} times in a row."
    )


class _Chain:
    """What one hop leaves to the next: cookies, the time that is left, and whether the work was done already."""

    def __init__(self, first: HttpRequest) -> None:
        self.request = first
        self._first = first
        self._jar = Jar()
        self._own_cookies = first.header("cookie") or ""
        self._deadline = self._now() + first.timeout_sec
        self._done = False

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def send(self, transport: Transport) -> HttpResponse:
        try:
            return await transport.send(self.request)
        except TransportError as error:
            if not (self._done and error.retryable):
                raise
            first = self._first
            message = f"{error.message} The {first.method} to {redacted(first.url)} was answered; it is not sent again."
            raise TransportError(error.code, message) from error

    def go_on(self, response: HttpResponse, following: HttpRequest) -> None:
        """Make `following` the next request, with what it takes from the hops before."""
        self._jar.take(self.request.url, response)
        if not same_site(URL(self.request.url), URL(following.url)):
            self._own_cookies = ""
        # A POST that is answered with "look there" was carried out: what goes wrong there must not repeat it.
        self._done = self._done or (following.method == "GET" and not self.request.idempotent)
        left = self._deadline - self._now()
        # Told before the attempt itself runs out of time, which would be tried again.
        left -= headroom_sec(self._first.timeout_sec) if self._done else 0
        self.request = replace(following, timeout_sec=max(left, MIN_HOP_SEC))
        if self._jar:
            self.request = replace(self.request, headers=self._jar.give(self.request, self._own_cookies))


def next_hop(request: HttpRequest, status: int, location: str, keep_body_at_home: bool) -> HttpRequest:
    """The request that a redirect asks for, by the rules of browsers. Raises TransportError."""
    try:
        url = join_url(request.url, location)
    except ValueError as error:
        message = f"{redacted(request.url)} redirects to an address that cannot be called: {error}"
        raise TransportError("bad_redirect", message) from None
    following = _without_body(request) if _becomes_get(request.method, status) else request
    if not same_site(URL(request.url), url):
        if keep_body_at_home and following.body is not None:
            raise TransportError(
                "redirect_refused",
                f"{redacted(request.url)} asks to send the body on to {redacted(url)}, which the flow does not name. "
                "The step reads secrets, so it stays here; put the final address into `url`.",
            )
        kept = tuple(pair for pair in following.headers if pair[0].lower() in _PUBLIC_HEADERS)
        following = replace(following, headers=kept)
    return replace(following, url=str(url))


def same_site(old: URL, new: URL) -> bool:
    """Same scheme, host and port; a step up from http to https on the default ports stays the same site."""
    if old.raw_host != new.raw_host:
        return False
    if (old.scheme, old.port) == (new.scheme, new.port):
        return True
    return (old.scheme, old.port, new.scheme, new.port) == _DEFAULT_PORTS


def _becomes_get(method: str, status: int) -> bool:
    if status == 303:
        return method not in ("GET", "HEAD")
    return status in (301, 302) and method == "POST"


def _without_body(request: HttpRequest) -> HttpRequest:
    kept = tuple(pair for pair in request.headers if not pair[0].lower().startswith("content-"))
    return replace(request, method="GET", body=None, headers=kept)
