"""What a broker is: a bell. It carries ids, never facts; who hears it asks the database what is true.

A bell may ring twice, late, out of order or never: listeners also poll, so a lost ring costs one poll interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

RUNS_PENDING = "runs.pending"
TASKS_READY = "tasks.ready"
TASKS_COMPLETED = "tasks.completed"
RUNS_FINISHED = "runs.finished"


class Listener(Protocol):
    """Hears every ring since it was made or since its last `wait` returned; rings in between are merged."""

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        """True as soon as the bell rang, False after `timeout` seconds."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Broker(Protocol):
    def ring(self, topic: str, ids: Sequence[str] = ()) -> None:
        """Ring after the commit. Never blocks and never fails: the database already knows."""
        ...

    def listen(self, *topics: str, id: str | None = None) -> Listener:
        """Listen to topics; with `id` only to rings that name it."""
        ...

    async def close(self) -> None: ...
