"""What is asked of every request before its route, whoever sent it: bounds on its size, its Host and its origin.

A browser is the danger: any web page may send requests to 127.0.0.1, and requests with the cookie of somebody who is
signed in. Two checks close that. On loopback the Host must be ours (a rebound DNS name is the attacker's), and a
request that changes something must not say that it comes from another site, by Origin or by Sec-Fetch-Site.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.types import Scope

from automata.access.exposure import is_loopback
from automata.http.errors import CrossSite, HeadersTooLarge, Misdirected, TooLong

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
MAX_TARGET_BYTES = 8192  # path and query together
MAX_HEADER_BYTES = 32 * 1024  # all names and values together
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """`hosts` None: any Host is fine, because the operator opened the port to a network on purpose."""

    hosts: frozenset[str] | None

    @classmethod
    def of(cls, bound_to: str) -> RequestLimits:
        """The limits of a server that listens on `bound_to` (a name or an address)."""
        return cls(LOOPBACK_NAMES if is_loopback(bound_to) else None)

    def check(self, scope: Scope) -> None:
        """Raises TooLong, HeadersTooLarge, Misdirected, CrossSite."""
        _check_size(scope)
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
