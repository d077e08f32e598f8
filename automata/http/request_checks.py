"""What is asked of every request before its route, whoever sent it: bounds on its size, its Host and its origin.

A browser is the danger: any web page may send requests to 127.0.0.1, and requests with the cookie of somebody who is
signed in. Two checks close that. On loopback the Host must be ours (a rebound DNS name is the attacker's), and a
request that changes something must not say that it comes from another site, by Origin or by Sec-Fetch-Site.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from automata.access.exposure import authenticates, reached_by_others
from automata.http.errors import CrossSite, HeadersTooLarge, Misdirected, PassedOn, TooLong
from automata.settings import Settings

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_TARGET_BYTES = 8192  # path and query together
MAX_HEADER_BYTES = 32 * 1024  # all names and values together
# What proxies add, by default or where their documentation tells how to set them up.
FORWARDING = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"true-client-ip",
        b"cf-connecting-ip",
    }
)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`hosts` None: any Host is fine, because the operator opened the port to a network on purpose. `passed_on`: a
    request may say that a proxy passed it on."""

    hosts: frozenset[str] | None
    passed_on: bool = True

    @classmethod
    def of(cls, settings: Settings) -> RequestLimits:
        """The limits of a server with these settings. Raises Usage and Refused as `authenticates` does."""
        hosts = None if reached_by_others(settings) else LOOPBACK_NAMES
        return cls(hosts, passed_on=authenticates(settings))

    def check(self, scope: Scope) -> None:
        """Raises TooLong, HeadersTooLarge, Misdirected, PassedOn, CrossSite."""
        _check_size(scope)
        if not self.passed_on and any(name in FORWARDING for name, _ in scope["headers"]):
            raise PassedOn(
                "A proxy passed this request on, and this server lets everybody in who reaches it.",
                hint="Name the proxy in AUTOMATA_TRUSTED_PROXIES, or the address that browsers use in"
                " AUTOMATA_PUBLIC_URL: then a token is asked for.",
            )
        host = header(scope, b"host")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise Misdirected(
                f"This server does not answer to the Host {host[:100]!r}.",
                hint="It is bound to loopback: use localhost, 127.0.0.1 or [::1].",
            )
        if scope["method"] not in SAFE:
            _check_origin(scope, host)


def _check_size(scope: Scope) -> None:
    if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
        raise TooLong(f"The address is longer than {MAX_TARGET_BYTES} bytes.")
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"The headers are larger than {MAX_HEADER_BYTES} bytes.")


def _check_origin(scope: Scope, host: str) -> None:
    origin, site = header(scope, b"origin"), header(scope, b"sec-fetch-site")
    if (origin and _origin_host(origin) != host.lower()) or site in ("cross-site", "same-site"):
        raise CrossSite(
            f"A page of {origin[:100]!r} may not change anything here.",
            hint="Browsers may write only from this server's own pages; other clients send no Origin.",
        )


def _origin_host(origin: str) -> str | None:
    """Host and port of an Origin; None for `null` and for what is none."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _name(host: str) -> str:
    """The host without its port, lower case."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def header(scope: Scope, name: bytes) -> str:
    """The first header of this lower-case name, empty where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
