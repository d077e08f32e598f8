"""One connection of a broker, made in the background, and made again when it breaks or is called silent.

Failure argument. Whatever `serve` raises ends that connection and nothing else: the loop waits with back-off and serves
again. Nothing that a service awaits depends on it, so a server that is down, slow or lying costs polls, not work.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from automata import telemetry
from automata.broker.backoff import Backoff

log = logging.getLogger(__name__)

CLOSE_SEC = 2.0


class PersistentConnection:
    """Serves until it is closed. `connected` and `detail` say how it is."""

    def __init__(self, kind: str, role: str, serve: Callable[[], Awaitable[None]]) -> None:
        """`serve` connects, calls `up`, and goes on until the connection breaks; it cleans up when it is cancelled."""
        self.connected = False
        self.detail = "not connected yet"
        self._name = f"{kind} {role}"
        self._metric = telemetry.BROKER_CONNECTED.labels(kind, role)
        self._rebuilds = telemetry.BROKER_REBUILDS.labels(kind, role)
        self._serve = serve
        self._backoff = Backoff()
        self._serving: asyncio.Task[None] | None = None
        self._lost_at: float | None = None
        self._metric.set(0)
        self._loop = asyncio.create_task(self._run(), name=self._name)

    def up(self) -> None:
        """`serve` has connected."""
        self.connected = True
        self.detail = ""
        self._metric.set(1)
        self._backoff.reset()
        if self._lost_at is not None:
            log.info("broker: %s is back after %.1f s", self._name, time.monotonic() - self._lost_at)
            self._lost_at = None

    def rebuild(self, reason: str) -> None:
        """Throw the connection away and make another at once."""
        if self._serving and self.connected:
            log.warning("broker: %s is built anew: %s", self._name, reason)
            self._rebuilds.inc()
            self._serving.cancel()

    async def _run(self) -> None:
        while True:
            self._serving = asyncio.ensure_future(self._serve())
            try:
                # Not awaited itself: its cancellation by `rebuild` must not look like ours by `close`.
                await asyncio.wait([self._serving])
            except asyncio.CancelledError:
                await self._end_serving()
                raise
            rebuilt = self._serving.cancelled()
            self._down("built anew" if rebuilt else _reason(self._serving.exception()))
            if not rebuilt:
                await asyncio.sleep(self._backoff.next())

    def _down(self, reason: str) -> None:
        self.connected = False
        self._metric.set(0)
        self.detail = reason
        if self._lost_at is None:  # an outage is two lines in the log, not one a try
            self._lost_at = time.monotonic()
            log.warning("broker: %s is away: %s; polls find the work meanwhile", self._name, reason)

    async def _end_serving(self) -> None:
        if self._serving:
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=CLOSE_SEC)

    async def close(self) -> None:
        """End it within seconds."""
        self._loop.cancel()
        await asyncio.wait([self._loop], timeout=CLOSE_SEC + 1)
        self.connected = False
        self._metric.set(0)


def _reason(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}" if error else "the connection ended"
