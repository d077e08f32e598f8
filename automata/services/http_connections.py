"""The connections of one HTTP server: a share for each client, a bound for all, an end for those that wait too long.

Failure argument. Whoever opens a connection costs a descriptor and some memory before a byte has come, so the number
is bounded where connections are accepted. At a bound the oldest one goes that has no whole request on it, of the same
client or of whoever has most: one client that holds many open keeps nobody out, and a probe from its address still
gets in. Only where every connection has a request that is being answered is a new one refused. Deadlines are looked at
by one timer a second, not by one a connection, so that they cost a request nothing but a number.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from automata.access.rate_limiter import client_key

MAX_CONNECTIONS = 4096
SWEEP_SEC = 1.0
NEVER = float("inf")


class Connection(Protocol):
    """`client_key`: who opened it. `deadline`: the loop's time at which it has waited long enough."""

    client_key: str
    deadline: float

    def end(self) -> None:
        """Close it now; what is being answered on it is cancelled."""


class Connections:
    """`most` at a time, `share` of them for one client; those from trusted proxies count together alone."""

    def __init__(self, proxies: Sequence[str] = (), most: int | None = None, share: int | None = None) -> None:
        self.most = most or _bound()
        self.share = share or max(8, self.most // 4)
        self._proxies = [ip_network(proxy, strict=False) for proxy in proxies]
        self._all: set[Connection] = set()
        self._by_client: Counter[str] = Counter()
        self._waiting: dict[str, dict[Connection, None]] = {}  # without a whole request, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._all)

    def key_of(self, address: str) -> str:
        """Who an address counts as; empty for a trusted proxy."""
        try:
            ip = ip_address(address.partition("%")[0])
        except ValueError:
            return client_key(address)
        return "" if any(ip in network for network in self._proxies) else client_key(address)

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for it, made where need be; it waits for a request then."""
        client = connection.client_key
        if client and self._by_client[client] >= self.share and not self._make_room(client):
            return False
        if len(self._all) >= self.most and not self._make_room(self._widest()):
            return False
        self._all.add(connection)
        self._by_client[client] += 1
        self.waits(connection)
        self._sweep_later()
        return True

    def leave(self, connection: Connection) -> None:
        """It is closed, whoever closed it; once is enough."""
        if connection not in self._all:
            return
        self._all.discard(connection)
        self.works(connection)
        self._by_client[connection.client_key] -= 1
        if not self._by_client[connection.client_key]:
            del self._by_client[connection.client_key]

    def waits(self, connection: Connection) -> None:
        """It has no whole request."""
        if connection in self._all:
            self._waiting.setdefault(connection.client_key, {})[connection] = None

    def works(self, connection: Connection) -> None:
        """The head of a request has come."""
        if (waiting := self._waiting.get(connection.client_key)) is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._waiting[connection.client_key]

    def _widest(self) -> str:
        return max(self._waiting, key=lambda client: len(self._waiting[client]), default="")

    def _make_room(self, client: str) -> bool:
        """End the oldest connection of a client on which nothing is answered."""
        oldest = next(iter(self._waiting.get(client, ())), None)
        if oldest is None:
            return False
        self.leave(oldest)
        oldest.end()
        return True

    def _sweep_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_SEC, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for connection in [connection for connection in self._all if connection.deadline <= now]:
            connection.end()
        if self._all:
            self._sweep_later()


def _bound() -> int:
    """Half of the descriptors that this process may have: the database, the broker and files need the others."""
    soft: Any = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else max(16, min(MAX_CONNECTIONS, soft // 2))
