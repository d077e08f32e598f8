"""How often a client may ask: a bucket of tokens for each, which fills again by itself. Memory is bounded."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

from cachetools import FIFOCache

MAX_KEYS = 10_000  # the bucket that was touched longest ago goes first, and is full again by then


class RateLimiter:
    """`per_sec` tokens flow into the bucket of a key, which holds `burst`; 0 a second: nothing is limited."""

    def __init__(
        self, per_sec: float, burst: float, max_keys: int = MAX_KEYS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_sec = per_sec
        self._burst = max(1.0, burst)
        self._clock = clock
        # Tokens in each bucket, and when that was so. A bucket that is written again is the youngest again.
        self._levels: FIFOCache[str, tuple[float, float]] = FIFOCache(max_keys)

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str) -> float:
        """Take a token. Returns 0, or the seconds until there is one; then nothing was taken."""
        if wait_sec := self.wait(key):
            return wait_sec
        if self._per_sec:
            self._levels[key] = (self._level(key) - 1, self._clock())
        return 0.0

    def wait(self, key: str) -> float:
        """The seconds until there is a token, 0 when there is one; takes nothing."""
        if not self._per_sec:
            return 0.0
        return max(0.0, (1 - self._level(key)) / self._per_sec)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - at) * self._per_sec)


def client_key(address: str) -> str:
    """What of an address counts as one client: all of IPv4, the /64 of IPv6, which one household has."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, 64), strict=False).network_address)
