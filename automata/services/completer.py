"""The completer: gathers what attempts left for a moment, and commits it in batches.

It owns the transaction in which outcomes are accepted. In a process with an orchestrator the runs advance in that very
transaction, and what they start next is dispatched to the worker after the commit.

Failure argument. An outcome is accepted by its fence, once: a late one is refused, and so is one that is offered again
after a commit whose reply was lost. Outcomes that the database cannot take now are kept and offered again while their
leases are renewed. A batch that the database refuses for good is halved until the outcome that it refuses is alone:
that step fails, and no other. When runs cannot be advanced, their outcomes are committed all the same: results must
not wait for what else may be wrong with a run, and the orchestrator finds the wake-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

from automata.broker.contract import TASKS_COMPLETED, Broker, tasks_ready
from automata.engine.states import TaskStatus
from automata.errors import AutomataError, Unavailable
from automata.services.direct_dispatch import DirectDispatch, LocalWorker
from automata.services.executor import FinishedAttempt
from automata.services.leases import Leases
from automata.services.run_advancer import RunAdvancer, completed_batch
from automata.settings import Settings
from automata.store import recordings, task_logs, worker_queue
from automata.store.database import Connection, Database
from automata.store.worker_queue import TaskResult, TaskRetry
from automata.telemetry import RESULTS_LATE

log = logging.getLogger(__name__)

OFFER_AGAIN_SEC = 0.5
COMMIT_LOOPS = 2  # one computes while the other waits for the disk

Accepted = set[tuple[UUID, str]]  # results by run and step


class Completer:
    """Commits outcomes in `COMMIT_LOOPS` loops. `room` is set whenever a lease has ended with its outcome."""

    def __init__(
        self,
        db: Database,
        broker: Broker,
        leases: Leases,
        settings: Settings,
        advancer: RunAdvancer | None = None,
        local_worker: LocalWorker | None = None,
    ) -> None:
        """`advancer`: of the orchestrator of this process; what it starts goes to `local_worker`."""
        self.room = asyncio.Event()
        self._db = db
        self._broker = broker
        self._leases = leases
        self._lanes = settings.queues
        self._max_batch = max(1, settings.batch // COMMIT_LOOPS)
        self._advancer = advancer
        self._local_worker = local_worker
        self._gathered: list[FinishedAttempt] = []
        self._committing = 0  # attempts in batches that are being committed
        self._wake = asyncio.Event()
        self._commits = asyncio.Semaphore(COMMIT_LOOPS)

    @property
    def pending(self) -> int:
        """Attempts that are over and whose outcomes are not committed yet."""
        return len(self._gathered) + self._committing

    def add(self, finished: FinishedAttempt) -> None:
        """Take an outcome over; it is committed soon."""
        self._gathered.append(finished)
        self._wake.set()
        self.room.set()

    def clear(self) -> None:
        """Forget what was not committed: nobody renews its leases any more."""
        self._gathered.clear()
        self._committing = 0

    async def commit_loop(self) -> None:
        """One of `COMMIT_LOOPS`; runs until it is cancelled."""
        while True:
            await self._wake.wait()
            if len(self._gathered) <= self._max_batch:
                self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Commit all that is gathered. While one batch is committed the next one gathers: batches follow the load."""
        async with self._commits:
            while self._gathered:
                batch, self._gathered = self._gathered[: self._max_batch], self._gathered[self._max_batch :]
                self._committing += len(batch)
                try:
                    await self._commit_or_halve(batch)
                    self._committing -= len(batch)
                except Unavailable as error:
                    log.warning("completer: %d outcomes wait: %s", len(batch), error)
                    self._committing -= len(batch)
                    self._gathered[:0] = batch
                    await asyncio.sleep(OFFER_AGAIN_SEC)

    async def _commit_or_halve(self, batch: list[FinishedAttempt]) -> None:
        try:
            await self.commit(batch)
        except Unavailable:
            raise
        except AutomataError as error:
            if len(batch) > 1:
                await self._commit_or_halve(batch[: len(batch) // 2])
                await self._commit_or_halve(batch[len(batch) // 2 :])
                return
            await self.commit([_not_storable(batch[0], error)])
        for finished in batch:
            self._leases.held.pop(finished.verdict.fence, None)
        self.room.set()

    async def commit(self, batch: Sequence[FinishedAttempt]) -> Accepted:
        """Write a batch in one transaction, and advance its runs in it if that can be; returns what was accepted.

        Raises Unavailable when the database does not answer, another AutomataError when it refuses something.
        """
        results = [item.verdict for item in batch if isinstance(item.verdict, TaskResult)]
        accepted = await self._try_to_advance(batch, results)
        if accepted is None:
            accepted = await self._accept(batch, results)
        if late := len(results) - len(accepted):
            log.info("completer: %d late results refused", late)
            RESULTS_LATE.inc(late)
        if len(results) < len(batch):  # the others are tried again
            for lane in self._lanes:
                self._broker.notify(tasks_ready(lane))
        return accepted

    async def _try_to_advance(self, batch: Sequence[FinishedAttempt], results: Sequence[TaskResult]) -> Accepted | None:
        """None when no orchestrator is here, there is nothing to advance, or the batch is too much for it."""
        if self._advancer is None or not results:
            return None
        try:
            return await self._accept_and_advance(self._advancer, batch, results)
        except Unavailable:
            raise
        except Exception:
            log.exception("completer: %d results are committed without advancing their runs", len(results))
            return None

    async def _accept(self, batch: Sequence[FinishedAttempt], results: Sequence[TaskResult]) -> Accepted:
        async with self._db.transaction() as conn:
            accepted = await worker_queue.complete(conn, results) if results else set()
            await _write_beside_results(conn, batch)
        if accepted:
            self._broker.notify(TASKS_COMPLETED)
        return accepted

    async def _accept_and_advance(
        self, advancer: RunAdvancer, batch: Sequence[FinishedAttempt], results: Sequence[TaskResult]
    ) -> Accepted:
        """Another orchestrator may have one of the runs in hand: such a result is accepted and leaves a wake-up."""
        with DirectDispatch(self._local_worker) as dispatch:
            async with self._db.transaction() as conn:
                ended_at = await worker_queue.complete_under_lock(conn, results)
                others = [result for result in results if result.fence not in ended_at]
                left = await worker_queue.complete(conn, others) if others else set()
                await _write_beside_results(conn, batch)
                effects = await advancer.advance(conn, completed_batch(results, ended_at), dispatch)
        await advancer.announce(effects)
        if left:
            self._broker.notify(TASKS_COMPLETED)
        return {(result.run_id, result.step) for result in results if result.fence in ended_at} | left


async def _write_beside_results(conn: Connection, batch: Sequence[FinishedAttempt]) -> None:
    """Retries, recordings and logs. Those of a late result too: the call was made, and a replay may need its answer."""
    if retries := [item.verdict for item in batch if isinstance(item.verdict, TaskRetry)]:
        await worker_queue.retry(conn, retries)
    if recorded := [item.recording for item in batch if item.recording]:
        await recordings.save_recordings(conn, recorded)
    if logs := [item.log for item in batch if item.log]:
        await task_logs.save_logs(conn, logs)


def _not_storable(finished: FinishedAttempt, error: AutomataError) -> FinishedAttempt:
    """The attempt as a failure that can be stored, without what it would have left beside it."""
    verdict = finished.verdict
    reason = {"code": "not_storable", "message": f"the database refused the outcome: {error.message}"}
    letter = not isinstance(verdict, TaskResult) or verdict.letter
    return FinishedAttempt(
        TaskResult(verdict.run_id, verdict.step, verdict.fence, TaskStatus.FAILED, None, reason, letter=letter)
    )
