"""When a broken connection is tried again, and when a silent one is called broken."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

FIRST_SEC = 0.2
MAX_SEC = 5.0  # notifications are lost meanwhile, so not longer than a poll or two


class Backoff:
    """Doubles from FIRST_SEC to MAX_SEC; half of it is chance: a fleet does not return in one instant."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self._tries = 0
        self._chance = chance

    def next(self) -> float:
        """Seconds until the next try."""
        full: float = min(MAX_SEC, FIRST_SEC * 2 ** min(self._tries, 10))
        self._tries += 1
        return full * (0.5 + self._chance() / 2)

    def reset(self) -> None:
        """A try succeeded: begin again at FIRST_SEC."""
        self._tries = 0


# Promised: rebuilt within 30 s. 15 s of silence and two polls of at most 5 s.
SILENT_SEC = 15.0
# A notification that is missed now and then is a lost race (timers and retries are due without any), not a dead
# connection.
PAUSE_SEC = 60.0
MAX_PATIENCE_SEC = 600.0  # between rebuilds that changed nothing: then there was nothing to receive


class Watchdog:
    """Counts notifications, and work that none announced; says when the consumer's connection shall be built again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._patience = SILENT_SEC
        self._since: float | None = None  # the first unannounced work since the last notification
        self._last = 0.0

    def notified(self) -> None:
        """A notification came: the connection is alive."""
        self._since = None
        self._patience = SILENT_SEC

    def unannounced(self) -> bool:
        """Work was found and nothing had announced it. True: rebuild now."""
        now = self._clock()
        if self._since is None or now - self._last > PAUSE_SEC:
            self._since = now
        self._last = now
        if now - self._since < self._patience:
            return False
        self._since = None
        self._patience = min(self._patience * 2, MAX_PATIENCE_SEC)
        return True
