"""The worker: claims tasks for its free slots, has them executed, and drains when it is to end.

Failure argument. A claim is committed before the call and the result after it, so a worker that dies leaves a lease
that runs out, and the call is made again (at least once). A worker that cannot renew stops the call before the lease
ends, and a result that comes late is refused by its fence (accepted exactly once). What is claimed is executed by
services/executor.py, its outcomes are committed by services/completer.py, and its leases renewed by services/leases.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from automata.broker.contract import Broker, tasks_ready
from automata.errors import AutomataError
from automata.services import worker_metrics
from automata.services.completer import COMMIT_LOOPS, Completer
from automata.services.executor import Executor
from automata.services.leases import Leases
from automata.services.plan_cache import CompiledVersion, PlanCache
from automata.services.run_advancer import RunAdvancer
from automata.settings import Settings
from automata.store import worker_queue
from automata.store.database import Connection, Database
from automata.store.ids import new_fence
from automata.store.orchestrator_queue import seconds_to_next_due
from automata.store.worker_queue import Claim
from automata.telemetry import SLOTS, SLOTS_BUSY

log = logging.getLogger(__name__)

BUSY_PAUSE_SEC = 0.005  # another worker is claiming the very rows that are ready
QUICK_SEC = 0.02  # a call that others may wait for without anybody noticing
PACE_SHARE = 0.05  # of the last call in the pace
MAX_PENDING_BATCHES = 4  # of outcomes that wait for their commit


class Worker:
    """One of any number; tasks are shared out by their claims.

    `advancer` is that of the orchestrator in this process, if there is one: outcomes then advance their runs at once,
    and what the runs start next comes back here without a claim (services/direct_dispatch.py).
    """

    def __init__(
        self,
        db: Database,
        broker: Broker,
        plans: PlanCache,
        executor: Executor,
        settings: Settings,
        advancer: RunAdvancer | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._db = db
        self._broker = broker
        self._plans = plans
        self._executor = executor
        self._settings = settings
        self._lanes = list(settings.queues)
        self._leases = Leases(db, settings)
        self._held = self._leases.held
        self._completer = Completer(db, broker, self._leases, settings, advancer, local_worker=self)
        self._freed = self._completer.room
        self._reserved = 0  # slots for what is being decided by the orchestrator of this process
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._pace_sec = 1.0  # what a call takes of late
        self._lanes_with_backlog = set(self._lanes)  # older work may wait in the database
        self._taking = False  # new work, from the database and from the orchestrator of this process
        self._open = False  # leases are renewed and outcomes committed
        SLOTS.set(settings.concurrency)
        SLOTS_BUSY.set_function(lambda: min(settings.concurrency, len(self._held) - self._completer.pending))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain: claim nothing, finish within `drain_sec`, give the rest back."""
        try:
            async with asyncio.TaskGroup() as group:
                parts = (*[self._completer.commit_loop] * COMMIT_LOOPS, self._leases.heartbeat, self._leases.watch)
                loops = [group.create_task(part()) for part in parts]
                self._open = self._taking = True
                await self._claim_loop(stop)
                self._taking = False
                await self._drain()
                for loop in loops:
                    loop.cancel()
        finally:
            self._open = self._taking = False
            self._abandon()

    # -- what the orchestrator of this process dispatches --------------------------------------------------------

    @property
    def lease_sec(self) -> float:
        """How long a claim is ours."""
        return self._settings.lease_sec

    def reserve_slot(self, lane: str) -> UUID | None:
        """A slot and the fence for it; None when there is no slot, or older work of the lane waits for one."""
        if not self._taking or lane in self._lanes_with_backlog or lane not in self._lanes:
            return None
        if self._free_slots() <= 0:
            self._lanes_with_backlog.add(lane)
            return None
        self._reserved += 1
        return new_fence()

    async def wait_for_backlog(self, max_sec: float) -> None:
        """Return when few outcomes wait to be committed, or after `max_sec`."""
        until = time.monotonic() + max_sec
        while (left := until - time.monotonic()) > 0 and self._completer.pending > self._settings.batch:
            self._freed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), left)

    def release_slots(self, count: int) -> None:
        """Give back slots that were reserved and are not used."""
        self._reserved -= count
        self._freed.set()

    def start_claims(self, claims: Sequence[tuple[Claim, CompiledVersion]], asked: float) -> None:
        """Run what was claimed since `asked` (monotonic), each in a slot that was reserved for it.

        A worker whose loops are gone renews no leases: it starts nothing, and these run out.
        """
        if self._open:
            worker_metrics.count_claims([claim for claim, _ in claims])
            for claim, compiled in claims:
                self._start(claim, compiled, asked)
        self.release_slots(len(claims))

    def _free_slots(self) -> int:
        """Tasks that may be taken on. While the database takes no outcomes they pile up here only so far.

        Quick calls have the next batch at hand, so that no task waits for a slot that is free again before the commit.
        """
        ended = self._completer.pending
        ahead = self._settings.batch if self._pace_sec < QUICK_SEC else 0
        room = self._settings.concurrency + ahead - (len(self._held) - ended)
        return min(room, MAX_PENDING_BATCHES * self._settings.batch - ended) - self._reserved

    # -- claiming ------------------------------------------------------------------------------------------------

    async def _claim_loop(self, stop: asyncio.Event) -> None:
        with self._broker.listen(*map(tasks_ready, self._lanes)) as listener:
            while not stop.is_set():
                free = self._free_slots()
                if free <= 0:
                    self._freed.clear()
                    await _either(self._freed, stop)
                    continue
                try:
                    claimed = await self._claim(min(free, self._settings.batch))
                    listener.done(found=claimed > 0)
                    pause_sec = 0 if claimed else await self._until_due()
                except AutomataError as error:
                    log.warning("worker: %s", error)
                    pause_sec = 1.0
                if pause_sec and not stop.is_set():
                    await listener.wait(pause_sec)

    async def _claim(self, limit: int) -> int:
        asked = time.monotonic()
        async with self._db.connection() as conn:
            claims = await self._claim_from_lanes(conn, limit)
        if claims:
            worker_metrics.count_claims(claims)
            plans = await self._plans.get({claim.version_id for claim in claims})
            for claim in claims:
                self._start(claim, plans[claim.version_id], asked)
        return len(claims)

    async def _claim_from_lanes(self, conn: Connection, limit: int) -> list[Claim]:
        """Lane by lane, so that each is walked in its own index order; the first one is the last the next time."""
        claims: list[Claim] = []
        self._lanes.append(self._lanes.pop(0))
        for lane in self._lanes:
            if not (left := limit - len(claims)):
                break
            of_lane = await worker_queue.claim(conn, lane, left, self._settings.lease_sec, self.name)
            if len(of_lane) < left:
                self._lanes_with_backlog.discard(lane)
            else:
                self._lanes_with_backlog.add(lane)
            claims += of_lane
        return claims

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            moments = [due for lane in self._lanes if (due := await seconds_to_next_due(conn, lane)) is not None]
        poll = self._settings.poll_sec
        return min(max(min(moments, default=poll), BUSY_PAUSE_SEC), poll)

    # -- executing -----------------------------------------------------------------------------------------------

    def _start(self, claim: Claim, compiled: CompiledVersion, asked: float) -> None:
        self._leases.hold(claim, asyncio.create_task(self._attempt(claim, compiled)), asked)

    async def _attempt(self, claim: Claim, compiled: CompiledVersion) -> None:
        try:
            async with self._slots:
                began = time.monotonic()  # a call that waits for its slot is not slow
                finished = await self._executor.run(claim, compiled)
                self._pace_sec += (time.monotonic() - began - self._pace_sec) * PACE_SHARE
        except asyncio.CancelledError:
            self._held.pop(claim.fence, None)
            self._freed.set()
            return
        self._completer.add(finished)

    # -- leaving -------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Finish what finishes in time; what does not is given back at once instead of when its lease ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_sec):
                while self._held or self._reserved:
                    self._freed.clear()
                    if self._reserved:  # a batch that is being committed uses them, or releases them
                        await self._freed.wait()
                        continue
                    await asyncio.wait([lease.call for lease in self._held.values()])
                    await self._completer.flush()
        if self._held:
            await self._release()

    async def _release(self) -> None:
        leases = [lease for lease in self._held.values() if not lease.call.done()]
        for lease in leases:
            lease.call.cancel()
        if leases:
            rows = [(lease.claim.run.id, lease.claim.step, lease.claim.fence) for lease in leases]
            try:
                async with self._db.connection() as conn:
                    await worker_queue.release(conn, rows)
            except AutomataError as error:
                log.warning("worker: %d tasks are not given back, their leases run out: %s", len(rows), error)

    def _abandon(self) -> None:
        """What is still under way when the loops are gone has nobody to renew its lease: end it."""
        for lease in self._held.values():
            lease.call.cancel()
        self._held.clear()
        self._completer.clear()


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
