"""Where a rehearsed step may call: the same rules as in production, as far as they can be judged by a name.

What a name resolves to is known to a worker alone, so a rule about networks holds back nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from automata.flow.model import Egress
from automata.steps.contract import HttpRequest, HttpResponse, Transport
from automata.steps.policy import EgressPolicy

# Mocks of a service on this machine are as good as others; whether a worker may call it, its operator says.
_POLICY = EgressPolicy(allow_loopback=True)


@dataclass(frozen=True, slots=True)
class VettedTransport:
    """A transport that refuses, with `egress_denied`, what the environment's lists or the built-in rules deny."""

    transport: Transport
    egress: Egress | None

    async def send(self, request: HttpRequest) -> HttpResponse:
        url = URL(request.url)
        _policy(self.egress).vet_host(url.raw_host or "", url.port or 0)
        return await self.transport.send(request)


@lru_cache(maxsize=64)
def _policy(egress: Egress | None) -> EgressPolicy:
    return _POLICY if egress is None else _POLICY.narrowed(egress.allow, egress.deny)
