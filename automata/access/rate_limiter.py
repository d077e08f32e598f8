"""How often somebody may ask: a bucket for each, that fills again by itself. Memory is bounded, whoever asks."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

MAX_BUCKETS = 10_000  # buckets; the one that was touched least lately goes first, and is full again by then


class RateLimiter:
    """`per_sec` drops run into each bucket, which holds `burst`; 0 a second: nothing is limited."""

    def __init__(
        self, per_sec: float, burst: float, most: int = MAX_BUCKETS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_sec = per_sec
        self._burst = max(1.0, burst)
        self._most = most
        self._clock = clock
        self._levels: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str) -> float:
        """Take a drop. Returns 0, or the seconds until there is one; then nothing was taken."""
        if wait := self.wait(key):
            return wait
        if self._per_sec:
            self._put(key, self._level(key) - 1)
        return 0.0

    def wait(self, key: str) -> float:
        """The seconds until there is a drop, 0 when there is one; takes nothing."""
        if not self._per_sec:
            return 0.0
        return max(0.0, (1 - self._level(key)) / self._per_sec)

    def _level(self, key: str) -> float:
        level, at = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - at) * self._per_sec)

    def _put(self, key: str, level: float) -> None:
        self._levels.pop(key, None)  # and in again at the end: the order is that of the last touch
        if len(self._levels) >= self._most:
            del self._levels[next(iter(self._levels))]
        self._levels[key] = (level, self._clock())


def client_key(address: str) -> str:
    """What of an address counts as one asker: all of IPv4, the /64 of IPv6, which one household has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)
