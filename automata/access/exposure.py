"""What is open to everybody: AUTOMATA_AUTH, AUTOMATA_METRICS, and who reaches the server.

A server on loopback may have a proxy in front of it that lets the whole world in, and cannot tell by the address that a
request comes from. So a public URL or a proxy that is named counts as being reached by others, and a request that says
that a proxy passed it on is refused where nobody said so.
"""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from automata.errors import Refused, Usage
from automata.settings import Settings


def authenticates(settings: Settings) -> bool:
    """`on` and `off` as they say; when nothing is said, on for whatever others reach.

    Raises Usage, and Refused for `off` where others reach the server.
    """
    mode = _read(settings.auth)
    way = _way_in(settings)
    if mode == "off" and way:
        raise Refused(
            f"AUTOMATA_AUTH=off would let everybody in who reaches {way}.",
            code="open_to_everybody",
            hint="Leave AUTOMATA_AUTH out, and make a token with `automata token create`; or listen on 127.0.0.1, "
            "without AUTOMATA_PUBLIC_URL and AUTOMATA_TRUSTED_PROXIES.",
        )
    return mode == "on" or (not mode and bool(way))


def reached_by_others(settings: Settings) -> bool:
    """Whether anybody beyond this machine may send requests, as far as the settings say."""
    return bool(_way_in(settings))


def _way_in(settings: Settings) -> str:
    """How others reach the server, for people to read; empty where they do not."""
    if not is_loopback(settings.host):
        return settings.host or "this machine"
    if settings.public_url and not is_loopback(_host_of(settings.public_url)):
        return settings.public_url
    return f"the proxies {', '.join(settings.trusted_proxies)}" if settings.trusted_proxies else ""


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def shows_metrics(settings: Settings) -> bool:
    """Whether /metrics is for everybody."""
    match settings.metrics.strip().lower():
        case "everybody":
            return True
        case "viewers":
            return False
        case "":
            return not reached_by_others(settings)
    raise Usage(f"AUTOMATA_METRICS: {settings.metrics[:40]!r} is neither everybody nor viewers", code="bad_setting")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than `localhost` is no loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _read(text: str) -> Literal["on", "off", ""]:
    match text.strip().lower():
        case "on" | "1" | "true" | "yes":
            return "on"
        case "off" | "0" | "false" | "no":
            return "off"
        case "":
            return ""
    raise Usage(f"AUTOMATA_AUTH: {text[:40]!r} is neither on nor off", code="bad_setting")
