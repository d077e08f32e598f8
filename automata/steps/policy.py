"""Where steps may call: the classes that are always denied, then the operator's deny and allow lists. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from ipaddress import ip_network

from automata.errors import Usage
from automata.steps.addresses import (
    MAPPED,
    NAT64,
    Address,
    Network,
    address_class,
    forms,
    is_loopback,
    name_class,
    parse_host,
)
from automata.steps.contract import TransportError

_GLOB = re.compile(r"[a-z0-9_*.-]+")
_PORT = re.compile(r"(?P<host>[^:]*|\[[^\]]*\](?:/\d+)?):(?P<port>\d{1,5})")
_BRACKETS = re.compile(r"^\[([0-9a-f:.]+)\](/\d+)?$")
# A gateway or the kernel turns these into plain IPv4 traffic, so an allowed IPv4 network covers them.
_SAME_DESTINATION = frozenset({"", MAPPED, NAT64})


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a list: a host glob or a network, for one port or for all."""

    text: str
    glob: str | None
    network: Network | None
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Rule:
        """`api.example.com`, `*.example.com:443`, `10.0.0.0/8`, `[fd00::]/8:443`, `10.1.2.3`. Raises Usage."""
        target, port = _split_port(text.strip().lower())
        network = _network(target)
        if network is None and (not _GLOB.fullmatch(target) or not target.strip(".")):
            raise Usage(
                f"The egress rule `{text}` is neither a host, a host with `*`, an address nor a network.",
                hint="Write `*.example.com`, `10.0.0.0/8` or `[fd00::]/8`, each with `:port` if you like.",
            )
        return cls(text, None if network else target.rstrip("."), network, port)

    def names(self, host: str, port: int) -> bool:
        """Whether the host as the URL spells it is meant."""
        return self.glob is not None and self._port(port) and fnmatchcase(host, self.glob)

    def holds(self, address: Address, port: int) -> bool:
        return self.network is not None and self._port(port) and address in self.network

    def _port(self, port: int) -> bool:
        return self.port is None or self.port == port


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Deny wins; when `allow` is not empty, only what it names may be called.

    Loopback needs `allow_loopback`; link-local, metadata, multicast and reserved addresses are denied whatever the
    lists say; private networks are allowed unless `deny` names them. Raises Usage for a rule that cannot be read.
    `within` must agree too; `lists` is what people know the two lists by.
    """

    allow_loopback: bool = False
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    within: EgressPolicy | None = None
    lists: tuple[str, str] = ("AUTOMATA_EGRESS_ALLOW", "AUTOMATA_EGRESS_DENY")
    _allow: tuple[Rule, ...] = field(init=False, repr=False, compare=False, default=())
    _deny: tuple[Rule, ...] = field(init=False, repr=False, compare=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allow", tuple(map(Rule.parse, self.allow)))
        object.__setattr__(self, "_deny", tuple(map(Rule.parse, self.deny)))

    def narrowed(self, allow: tuple[str, ...], deny: tuple[str, ...]) -> EgressPolicy:
        """This policy and, on top of it, the lists of an environment. Raises Usage."""
        lists = ("`egress.allow` of the environment", "`egress.deny` of the environment")
        return replace(self, allow=allow, deny=deny, within=self, lists=lists)

    def vet_host(self, host: str, port: int) -> Address | str:
        """Judge what the URL says, before any lookup; an address is judged whole. Raises TransportError."""
        if self.within is not None:
            self.within.vet_host(host, port)
        try:
            target = parse_host(host)
        except ValueError as error:
            raise denied(str(error)) from None
        if not isinstance(target, str):
            self.vet_address(target, str(target), port)
            return target
        self._refuse_class(name_class(target), target)
        self._refuse_rule(next((rule for rule in self._deny if rule.names(target, port)), None), target)
        if self._allow and not any(rule.network or rule.names(target, port) for rule in self._allow):
            # Only a network rule needs the lookup, and a lookup of a name that is made up of data is itself a leak.
            raise self._unlisted(target, target, port)
        return target

    def vet_address(self, address: Address, host: str, port: int) -> None:
        """Judge one address that `host` resolved to (or is). Raises TransportError `egress_denied`."""
        if self.within is not None:
            self.within.vet_address(address, host, port)
        shown = host if host == str(address) else f"{host} ({address})"
        self.vet_class(address, shown)
        rules = (rule for rule in self._deny if rule.names(host, port) or _held(rule, address, port))
        self._refuse_rule(next(rules, None), shown)
        if self._allow and not self._allowed(address, host, port):
            raise self._unlisted(shown, host, port)

    def vet_class(self, address: Address, shown: str | None = None) -> None:
        """Judge by the built-in classes alone. Raises TransportError `egress_denied`."""
        self._refuse_class(address_class(address), shown or str(address))

    def _allowed(self, address: Address, host: str, port: int) -> bool:
        same = [inner for form, inner in forms(address) if form in _SAME_DESTINATION]
        return any(rule.names(host, port) or any(rule.holds(inner, port) for inner in same) for rule in self._allow)

    def _refuse_class(self, found: str | None, shown: str) -> None:
        if found is None or (self.allow_loopback and is_loopback(found)):
            return
        way_out = (
            "Set AUTOMATA_ALLOW_LOOPBACK=true on the worker to allow it (for development)."
            if is_loopback(found)
            else "This class of address cannot be allowed."
        )
        raise denied(f"Calling {shown} is refused: it is {found}. {way_out}")

    def _refuse_rule(self, rule: Rule | None, shown: str) -> None:
        if rule is not None:
            raise denied(
                f"Calling {shown} is refused by the rule `{rule.text}` of the egress deny list. "
                f"Take it out of {self.lists[1]} to allow it."
            )

    def _unlisted(self, shown: str, host: str, port: int) -> TransportError:
        return denied(
            f"Calling {shown} port {port} is refused: no rule of the egress allow list names it. "
            f"Add `{host}` to {self.lists[0]} to allow it."
        )


def denied(message: str) -> TransportError:
    return TransportError("egress_denied", message, retryable=False)


def _held(rule: Rule, address: Address, port: int) -> bool:
    return any(rule.holds(inner, port) for _, inner in forms(address))


def _split_port(text: str) -> tuple[str, int | None]:
    match = _PORT.fullmatch(text)
    if match is None:
        return _BRACKETS.sub(r"\1\2", text), None
    return _BRACKETS.sub(r"\1\2", match["host"]), _checked_port(text, int(match["port"]))


def _checked_port(text: str, port: int) -> int:
    if not 0 < port < 65_536:
        raise Usage(f"The egress rule `{text}` names port {port}, which does not exist.")
    return port


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
