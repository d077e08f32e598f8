"""What a broker is: it carries notifications between processes. They name ids, never facts; the database knows those.

A notification may come twice, late, out of order or never: listeners also poll, so a lost one costs a poll interval.
How a loop uses it:

    with broker.listen(RUNS_PENDING) as listener:
        while not stop.is_set():
            found = await look_into_the_database()  # one or more committed transactions
            listener.done(found)                    # only now may the broker forget its notifications
            if not found:
                await listener.wait(poll_sec)

A loop that dies between a notification and `done` loses nothing: it goes to another process, or comes back.
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

# A notification of these reaches every process that listens; one of any other topic wakes at least one of them.
FANOUT = frozenset({RUNS_FINISHED})

# A worker of one lane must not swallow the notifications for another.
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
    """Receives every notification since it was made or since its last `wait` returned; those in between are merged."""

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        """True as soon as a notification comes, False after `timeout` seconds."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """The ids of notifications that `done` has not acknowledged yet, oldest first: hints, cut at MAX_HINTS."""
        ...

    def done(self, found: bool = True) -> None:
        """A look that began after `wait` returned (or after the last `done`) is over and its work is committed.

        Never blocks. Pass `found=False` when the look found nothing. Work that is found after a wait without any
        notification is how the broker learns that its connection may be dead; it then builds a new one.
        """
        ...

    def close(self) -> None:
        """Notifications that `done` has not acknowledged go back to the broker."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Broker(Protocol):
    """One for a process. What it loses costs a poll, never work."""

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        """Call it after the commit. Never blocks and never fails: the database already knows."""
        ...

    def listen(self, *topics: str, id: str | None = None) -> Listener:
        """Listen to topics; with `id` (fan-out topics only) just to notifications that name it. Returns at once."""
        ...

    def state(self) -> BrokerState:
        """Whether the broker is connected, and if not, why."""
        ...

    async def close(self) -> None:
        """Notifications that wait are sent within a second or dropped."""
        ...
