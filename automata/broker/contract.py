"""What a broker is: a bell. It carries ids, never facts; who hears it asks the database what is true.

A bell may ring twice, late, out of order or never: listeners also poll, so a lost ring costs one poll interval.
How a loop uses it:

    with broker.listen(RUNS_PENDING) as bell:
        while not stop.is_set():
            found = await look_into_the_database()  # one or more committed transactions
            bell.done(found)                        # only now may the broker forget what it rang for
            if not found:
                await bell.wait(poll_sec)

A loop that dies between the ring and `done` loses nothing: the ring goes to another process, or comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

RUNS_PENDING = "runs.pending"
TASKS_READY = "tasks.ready"
TASKS_COMPLETED = "tasks.completed"
RUNS_FINISHED = "runs.finished"

# A ring of these reaches every process that listens; a ring of any other topic wakes at least one of them.
FANOUT = frozenset({RUNS_FINISHED})

# A worker of one lane must not swallow the rings for another.
_DEFAULT_LANE = "default"


def tasks_ready(lane: str) -> str:
    """The topic on which workers of a lane (a step's `queue:`) are woken."""
    return TASKS_READY if lane == _DEFAULT_LANE else f"{TASKS_READY}.{lane}"


@dataclass(frozen=True, slots=True)
class BrokerState:
    """For health pages and logs. A broker that is away makes a process slower, never unready."""

    kind: str  # local, postgres or rabbitmq
    connected: bool
    detail: str = ""


class Listener(Protocol):
    """Hears every ring since it was made or since its last `wait` returned; rings in between are merged."""

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        """True as soon as the bell rang, False after `timeout` seconds."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """What the rings named that `done` has not answered yet, oldest first: hints, cut at MAX_HINTS."""
        ...

    def done(self, found: bool = True) -> None:
        """A look that began after `wait` returned (or after the last `done`) is over and its work is committed.

        Never blocks. Say `found=False` when the look found nothing. Work found after a wait in which nothing rang is
        what tells the broker that its wire may be dead; it then builds the wire anew.
        """
        ...

    def close(self) -> None:
        """What rang and was not answered with `done` goes back to the broker."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Broker(Protocol):
    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        """Ring after the commit. Never blocks and never fails: the database already knows."""
        ...

    def listen(self, *topics: str, id: str | None = None) -> Listener:
        """Listen to topics; with `id` (fan-out topics only) just to rings that name it. Returns at once."""
        ...

    def state(self) -> BrokerState: ...

    async def close(self) -> None:
        """Rings that wait are sent within a second or dropped."""
        ...
