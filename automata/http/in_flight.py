"""How many requests are being answered: a bound for all, a share of it for each client, and probes apart from both."""

from __future__ import annotations

from collections import Counter

from automata.errors import Busy

MAX_IN_FLIGHT = 1000  # requests of one process; each may hold a body, so this times max_body_bytes bounds memory
MAX_PROBES = 50
PROBES = frozenset(
    {"/healthz", "/readyz"}
)  # what asks whether a process lives must not wait behind those that it serves


class InFlight:
    """`enter` and `leave` a request; `share` of the requests for one client."""

    def __init__(self, most: int = MAX_IN_FLIGHT, share: int | None = None) -> None:
        self._most = most
        self._share = share or max(1, most // 4)
        self._all = 0
        self._probes = 0
        self._by_client: Counter[str] = Counter()

    def enter(self, client: str, path: str) -> None:
        """Raises Busy, and nothing is to be left then."""
        if path in PROBES:
            if self._probes >= MAX_PROBES:
                raise Busy(f"{MAX_PROBES} probes are being answered.", hint="Try again in a second.")
            self._probes += 1
            return
        if self._all >= self._most:
            raise Busy(f"{self._most} requests are being answered.", hint="Try again in a second.")
        if self._by_client[client] >= self._share:
            raise Busy(
                f"{self._share} requests of your address are being answered.", hint="Wait for some of their answers."
            )
        self._all += 1
        self._by_client[client] += 1

    def leave(self, client: str, path: str) -> None:
        """The request that entered has been answered."""
        if path in PROBES:
            self._probes -= 1
            return
        self._all -= 1
        self._by_client[client] -= 1
        if not self._by_client[client]:
            del self._by_client[client]
