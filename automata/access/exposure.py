"""What is open to everybody: AUTOMATA_AUTH, AUTOMATA_METRICS, and where the server listens."""

from __future__ import annotations

import ipaddress
from typing import Literal

from automata.errors import Refused, Usage
from automata.settings import Settings


def authenticates(settings: Settings) -> bool:
    """`on` and `off` as they say; when nothing is said, on for whatever is not bound to loopback.

    Raises Usage, and Refused for `off` on an address that others reach.
    """
    mode = _read(settings.auth)
    local = is_loopback(settings.host)
    if mode == "off" and not local:
        raise Refused(
            f"AUTOMATA_AUTH=off would let everybody in who reaches {settings.host}.",
            code="open_to_everybody",
            hint="Leave AUTOMATA_AUTH out, and make a token with `automata token create`; or listen on 127.0.0.1.",
        )
    return mode == "on" or (not mode and not local)


def shows_metrics(settings: Settings) -> bool:
    """Whether /metrics is for everybody."""
    match settings.metrics.strip().lower():
        case "everybody":
            return True
        case "viewers":
            return False
        case "":
            return is_loopback(settings.host)
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
