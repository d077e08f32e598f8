"""The real transport. A request can reach only an address that the policy has judged.

How a check could be walked around, and what stands in the way:
- The name changes its address between check and use: the resolver given to aiohttp is the only lookup there is; it
  judges every address of the answer, and aiohttp connects to those very addresses. One bad address refuses them all.
- The host is an address: aiohttp does not ask the resolver then, so `send` judges it first.
- aiohttp takes some other path to a socket: sockets come from `_socket`, which judges the built-in classes once more.
- A redirect leads inside: one `send` is one hop, redirects are not followed here.
- A pooled connection was opened under another policy: the pool belongs to the transport, and the transport to one
  policy, which never changes.
- A proxy or a .netrc of the environment steps in: `trust_env` is off.
"""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from automata.flow.media import header_text
from automata.steps.addresses import parse_address
from automata.steps.answer_body import read_body
from automata.steps.answer_protocol import AnswerHandler
from automata.steps.content_encoding import ACCEPTED
from automata.steps.contract import HttpRequest, HttpResponse, TransportError
from automata.steps.policy import EgressPolicy
from automata.steps.urls import parse_url, redacted, without_queries

__all__ = ["EgressPolicy", "HttpTransport", "Lookup", "TransportLimits"]

Lookup = Callable[[str, int], Awaitable[list[str]]]

MAX_HEADER_BYTES = 32 * 1024
MAX_FINE = 1_000  # hosts and ports whose names the policy has found no fault with
MAX_NARROWED = 64  # versions that run at one time have few different lists
# aiohttp warns about larger bodies given as bytes; a BytesIO it writes in pieces.
PIECEWISE_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class TransportLimits:
    """`connections` in all, `per_host` to one host; 0 means no limit. More requests wait for a free one.

    `keepalive_sec` is under the five seconds after which common servers hang up, so that it is this side that closes
    an idle connection and no request meets one that is just being closed. `ca_file` replaces the system's CAs.
    """

    connections: int = 2_000
    per_host: int = 0
    connect_sec: float = 10.0
    keepalive_sec: float = 4.0
    dns_cache_sec: int = 10
    dns_threads: int = 16
    ca_file: str | None = None


class HttpTransport:
    """One pool of connections under one policy; it opens on first use, in the loop of that use.

    A GET, HEAD, PUT, DELETE or OPTIONS whose kept-alive connection turns out dead is sent once more at once; any other
    method is not.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        limits: TransportLimits = TransportLimits(),
        lookup: Lookup | None = None,
    ) -> None:
        self.policy = policy
        self.limits = limits
        self._lookup = lookup or _ThreadLookup(limits.dns_threads)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._owns_lookup = lookup is None
        self._retired: list[HttpTransport] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._fine: set[tuple[str, int]] = set()
        self._narrowed: dict[tuple[tuple[str, ...], tuple[str, ...]], HttpTransport] = {}

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One hop. Raises TransportError: `egress_denied`, `bad_config`, `response_too_large` are final; `timeout`,
        `dns_error`, `connect_error`, `tls_error`, `connection_lost` retryable; `protocol_error` is, when the request
        may be repeated. A body that breaks off fails such a request; any other has its answer, with `body_error`.
        """
        url = self._vetted(request)
        try:
            async with asyncio.timeout(request.timeout_sec):
                return await self._exchange(request, url)
        except TransportError:
            raise
        except Exception as error:
            raise _translated(error, request) from error

    def narrowed(self, allow: tuple[str, ...], deny: tuple[str, ...]) -> HttpTransport:
        """The transport under this policy and an environment's lists; the same one for the same lists. Raises Usage."""
        if (known := self._narrowed.get((allow, deny))) is not None:
            return known
        if len(self._narrowed) >= MAX_NARROWED:
            self._retire(self._narrowed.pop(next(iter(self._narrowed))))
        transport = HttpTransport(self.policy.narrowed(allow, deny), self.limits, self._lookup)
        self._narrowed[allow, deny] = transport
        return transport

    def _retire(self, gone: HttpTransport) -> None:
        """Requests may be under way in it: it is closed when as many others as there may be were retired after it."""
        self._retired.append(gone)
        if len(self._retired) > MAX_NARROWED:
            closing = asyncio.get_running_loop().create_task(self._retired.pop(0).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the pool; a later `send` fails. May be called twice."""
        self._closed = True
        for transport in (*self._narrowed.values(), *self._retired):
            await transport.close()
        session, self._session = self._session, None
        if session is not None:
            await session.close()
        if self._owns_lookup and isinstance(self._lookup, _ThreadLookup):
            self._lookup.close()

    def _vetted(self, request: HttpRequest) -> URL:
        try:
            url = parse_url(request.url)
        except ValueError as error:
            raise TransportError("bad_config", f"`url`: {error}") from None
        place = (url.raw_host or "", url.port or 0)
        if (
            place not in self._fine
        ):  # a policy's answer to a name never changes; addresses are judged at each connection
            self.policy.vet_host(*place)
            if len(self._fine) >= MAX_FINE:
                self._fine.clear()
            self._fine.add(place)
        return url

    async def _exchange(self, request: HttpRequest, url: URL) -> HttpResponse:
        deadline = asyncio.get_running_loop().time() + request.timeout_sec
        async with self._pool().request(
            request.method,
            url,
            data=_payload(request.body),
            headers=_headers(request),
            skip_auto_headers=("User-Agent", "Content-Type"),
            allow_redirects=False,
            ssl=request.verify_tls,
        ) as answer:
            body, error = await read_body(answer, request, deadline)
            headers = tuple((header_text(name), header_text(value)) for name, value in answer.raw_headers)
            return HttpResponse(answer.status, headers, body, str(answer.url), error)

    def _pool(self) -> aiohttp.ClientSession:
        if self._closed:
            raise TransportError("connect_error", "The worker is shutting down.", retryable=True)
        if self._session is None:
            self._session = self._open()
        return self._session

    def _open(self) -> aiohttp.ClientSession:
        limits = self.limits
        connector = aiohttp.TCPConnector(
            limit=limits.connections,
            limit_per_host=limits.per_host,
            keepalive_timeout=limits.keepalive_sec,
            ttl_dns_cache=limits.dns_cache_sec,
            resolver=_VettingResolver(self.policy, self._lookup),
            socket_factory=self._socket,
            ssl=ssl.create_default_context(cafile=limits.ca_file) if limits.ca_file else True,
        )
        factory: Any = partial(AnswerHandler, loop=asyncio.get_running_loop())
        connector._factory = factory  # aiohttp has no other way in; tests/steps/test_answer_protocol.py holds it
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # a cookie must not travel from one run to another
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_sec),
            trust_env=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            auto_decompress=False,  # automata.steps.answer_body does it
        )
        # It would send a PUT once more by itself when a kept connection closes, in an attempt that is one call. There
        # is no public name for it; tests/steps/test_answer_protocol.py holds it.
        session._retry_connection = False
        return session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        self.policy.vet_class(parse_address(address[0]))
        return socket.socket(family, kind, protocol)


class _VettingResolver(AbstractResolver):
    """Gives aiohttp an answer only when the policy accepts every address in it."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = [parse_address(text) for text in await self._lookup(host, port)]
        if not addresses:
            raise OSError(None, f"{host} has no address")
        name = host.lower().rstrip(".")
        for address in addresses:
            self._policy.vet_address(address, name, port)
        return [_result(host, port, str(address), address.version) for address in addresses]

    async def close(self) -> None:
        """The lookup belongs to the transport."""


class _ThreadLookup:
    """The system's resolver on threads of its own: a slow name server must not hold up the loop's other helpers."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="lookup")

    async def __call__(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        addresses = await loop.run_in_executor(self._threads, _system_lookup, host, port)
        return list(dict.fromkeys(addresses))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _system_lookup(host: str, port: int) -> list[str]:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [str(address[0]) for *_, address in addresses]


def _result(host: str, port: int, address: str, version: int) -> ResolveResult:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > PIECEWISE_BYTES else body


def _headers(request: HttpRequest) -> tuple[tuple[str, str], ...]:
    """aiohttp would ask for whatever it could decode itself."""
    return request.headers if request.header("accept-encoding") else (*request.headers, ("Accept-Encoding", ACCEPTED))


# In this order: the first class that fits names the trouble.
_CODES: tuple[tuple[type[Exception], str, str], ...] = (
    (TimeoutError, "timeout", "took too long"),
    (aiohttp.ClientConnectorDNSError, "dns_error", "host name could not be resolved"),
    (aiohttp.ClientSSLError, "tls_error", "no secure connection"),
    (aiohttp.ClientConnectorCertificateError, "tls_error", "no secure connection"),
    (ssl.SSLError, "tls_error", "no secure connection"),
    (aiohttp.ClientConnectorError, "connect_error", "no connection"),
    (aiohttp.ClientResponseError, "protocol_error", "the answer is not HTTP"),
    (aiohttp.ClientError, "connection_lost", "the connection broke"),
    (HttpProcessingError, "connection_lost", "the body broke off"),
    (OSError, "connection_lost", "the connection broke"),
)


def _translated(error: Exception, request: HttpRequest) -> TransportError:
    subject = f"{request.method} {redacted(request.url)}"
    if isinstance(error, aiohttp.InvalidURL | ValueError) and not isinstance(error, ssl.SSLError):
        return TransportError("bad_config", f"{subject} cannot be sent{_detail(error, request)}.")
    for kind, code, meaning in _CODES:
        if isinstance(error, kind):
            # Something was answered, so the call was made, and the same answer would come again.
            retryable = code != "protocol_error" or request.idempotent
            return TransportError(code, f"{subject}: {meaning}{_detail(error, request)}.", retryable)
    raise error


def _detail(error: Exception, request: HttpRequest) -> str:
    text = without_queries(str(error), request.url).strip().rstrip(".")
    return f" ({text})" if text else ""
