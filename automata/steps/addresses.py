"""What an address is: its class, the IPv4 addresses that hide inside it, and which spellings of a host are accepted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LOOPBACK = "loopback"
METADATA = "a cloud metadata service"

# Own table instead of `ipaddress.is_private` and its kin: what those mean has changed between Python releases,
# and this list must not. The most telling class comes first.
_DENIED: tuple[tuple[str, str], ...] = (
    ("169.254.169.254/32", METADATA),  # AWS, Azure, Google, most others
    ("169.254.170.0/24", METADATA),  # AWS container and pod credentials
    ("100.100.100.200/32", METADATA),  # Alibaba
    ("168.63.129.16/32", METADATA),  # Azure wire server: a public address that only answers inside
    ("192.0.0.192/32", METADATA),  # Oracle
    ("fd00:ec2::/32", METADATA),  # AWS
    ("fd20:ce::254/128", METADATA),  # Google
    ("fd00:42::42/128", METADATA),  # Scaleway
    ("0.0.0.0/8", "unspecified"),
    ("127.0.0.0/8", LOOPBACK),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved"),
    ("224.0.0.0/4", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::1/128", LOOPBACK),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
    ("100::/64", "reserved"),
    ("64:ff9b:1::/48", "a local NAT64 prefix"),  # where the IPv4 address sits in it, only the operator knows
)
DENIED: tuple[tuple[Network, str], ...] = tuple((ip_network(text), name) for text, name in _DENIED)

MAPPED, NAT64 = "IPv4-mapped", "NAT64"
_LOW_32 = (
    (IPv6Network("::ffff:0:0/96"), MAPPED),
    (IPv6Network("::ffff:0:0:0/96"), "IPv4-translated"),
    (IPv6Network("64:ff9b::/96"), NAT64),
    (IPv6Network("::/96"), "IPv4-compatible"),
)
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_ALL_ONES = 0xFFFFFFFF

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_LOCAL_NAMES = ("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback")
_METADATA_NAMES = ("metadata.google.internal", "instance-data", "metadata.goog")


def parse_host(host: str) -> Address | str:
    """An address, or a name in lower case without its trailing dots. Raises ValueError with one sentence.

    Addresses are accepted in their usual spelling only: `0x7f.1` means one thing to one library and another to the
    next, and such a difference is how a check is walked around.
    """
    name = host.lower().rstrip(".")
    if "%" in name:
        raise ValueError(f"The host `{host}` holds a percent sign; zone ids and escapes are not accepted.")
    if ":" in name:
        return _ipv6(host)
    if _NUMERIC.fullmatch(name.rpartition(".")[2]):
        return _ipv4(host, name)
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError(f"`{host}` is not a host name.")
    return name


def parse_address(text: str) -> Address:
    """An address as the resolver or the socket layer writes it; a zone id is dropped."""
    return ip_address(text.partition("%")[0])


def name_class(name: str) -> str | None:
    """The denied class that a name stands for by convention, before any lookup."""
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return LOOPBACK
    return METADATA if name in _METADATA_NAMES else None


def address_class(address: Address) -> str | None:
    """The denied class of this address or of one hidden inside it; None for an address that may be called."""
    for form, inner in forms(address):
        for network, name in DENIED:
            if inner in network:
                return name if not form else f"{name} ({inner} in {form} form)"
    return None


def is_loopback(found: str) -> bool:
    """Whether a class that `address_class` or `name_class` gave is loopback, in any form."""
    return found.partition(" (")[0] == LOOPBACK


def forms(address: Address) -> Iterator[tuple[str, Address]]:
    """The address itself under '', then each IPv4 address that a gateway or stack would read out of it."""
    yield "", address
    if isinstance(address, IPv6Address):
        yield from _hidden(address)


def _hidden(address: IPv6Address) -> Iterator[tuple[str, IPv4Address]]:
    number = int(address)
    for network, name in _LOW_32:
        # `::` and `::1` are addresses of their own, not IPv4-compatible ones.
        if address in network and number > 1:
            yield name, IPv4Address(number & _ALL_ONES)
    if address in _SIX_TO_FOUR:
        yield "6to4", IPv4Address(number >> 80 & _ALL_ONES)
    if address in _TEREDO:
        yield "Teredo server", IPv4Address(number >> 64 & _ALL_ONES)
        yield "Teredo client", IPv4Address(number & _ALL_ONES ^ _ALL_ONES)
    if number >> 32 & _ALL_ONES in _ISATAP:
        yield "ISATAP", IPv4Address(number & _ALL_ONES)


def _ipv6(host: str) -> Address:
    try:
        return IPv6Address(host)
    except ValueError:
        raise ValueError(f"`{host}` is not an IPv6 address.") from None


def _ipv4(host: str, name: str) -> Address:
    try:
        return IPv4Address(name)
    except ValueError:
        raise ValueError(
            f"`{host}` is not an address in its usual spelling; write four decimal numbers, such as 192.0.2.1."
        ) from None
