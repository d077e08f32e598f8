"""Who goes first where work waits: a flow that has put in much of late yields to those that have put in little.

What waits is taken in the order of its due time, and work is entered as if it had been due a while ago:
`HEAD_START_SEC` for the first piece of a flow, `PACE_SEC` less for each that follows it in haste, down to nothing. So
one run of a small flow goes ahead of 100,000 tasks of another, work of one flow keeps its order, and nothing starves:
who has waited `HEAD_START_SEC` yields to nobody. Each process keeps its own count; it decides an order, never what
happens.
"""

from __future__ import annotations

from collections.abc import Hashable

HEAD_START_SEC = 3600.0
PACE_SEC = 0.5  # a flow that puts in no more than one piece in this time has a whole head start always
MAX_FLOWS = 10_000  # remembered at a time; who is forgotten begins anew


class Shares:
    def __init__(self) -> None:
        self._last: dict[Hashable, float] = {}  # what the last piece of a flow was entered as, on the clock of `now`

    def head_start(self, flow: Hashable, now: float) -> float:
        """Seconds for the next piece of work of this flow; counts it. `now`: seconds of a monotonic clock."""
        first = now - HEAD_START_SEC
        last = self._last.get(flow)
        if last is None and len(self._last) >= MAX_FLOWS:
            del self._last[next(iter(self._last))]
        entered = first if last is None else min(now, max(first, last + PACE_SEC))
        self._last[flow] = entered
        return now - entered
