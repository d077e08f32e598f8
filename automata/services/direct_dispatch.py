"""Where the orchestrator and the worker of one process meet: decided work is dispatched already claimed.

Failure argument. The claim is written by the very transaction that decides the work, with a lease and a random fence
like any other, and the worker gets it after the commit. A process that dies in between, or whose commit was never
answered, leaves a lease that runs out. Slots are reserved before the commit, so the worker never holds more than it can
run; a transaction that fails releases them.

When the dispatched work is all that moves in its run, a snapshot of the run goes along with it and comes back with its
result, so that nobody has to load the run. While that result is accepted by its fence, under the lock of the run, the
snapshot is true: whoever changes such a run first ends its only piece of work or takes it over, and either ends the
fence. A request to cancel changes nothing by itself; the advance that carries it out drops the work.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self
from uuid import UUID

from automata.services.plan_cache import CompiledVersion
from automata.store.worker_queue import Claim


class LocalWorker(Protocol):
    """The worker of this process, as those who advance runs see it."""

    name: str

    @property
    def lease_sec(self) -> float: ...

    def reserve_slot(self, lane: str) -> UUID | None:
        """A slot and the fence for it; None when there is no slot, or older work of the lane waits for one."""
        ...

    async def wait_for_backlog(self, max_sec: float) -> None:
        """Return when few outcomes wait to be committed, or after `max_sec`."""

    def release_slots(self, count: int) -> None:
        """Give back slots that were reserved and are not used."""

    def start_claims(self, claims: Sequence[tuple[Claim, CompiledVersion]], asked: float) -> None:
        """Run what was claimed since `asked` (monotonic), each in a slot that was reserved for it."""
        ...


class DirectDispatch:
    """What one batch dispatches: leave the block after the commit. Without a worker it takes nothing."""

    def __init__(self, local_worker: LocalWorker | None = None) -> None:
        self._local_worker = local_worker
        self._asked = time.monotonic()
        self._reserved = 0
        self.claims: Sequence[tuple[Claim, CompiledVersion]] = ()

    @property
    def to(self) -> tuple[str, float]:
        """The worker's name and the seconds of its leases."""
        return (self._local_worker.name, self._local_worker.lease_sec) if self._local_worker else ("", 0.0)

    def take(self, lane: str) -> UUID | None:
        """The fence of work that shall be dispatched; None when it has to wait in the database for a claim."""
        fence = self._local_worker.reserve_slot(lane) if self._local_worker else None
        self._reserved += fence is not None
        return fence

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._local_worker is None or not self._reserved:
            return
        claims = self.claims if kind is None else ()
        self._local_worker.release_slots(self._reserved - len(claims))
        if claims:
            self._local_worker.start_claims(claims, self._asked)
