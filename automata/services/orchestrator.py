"""The orchestrator: takes wake-ups in batches, and has their runs advanced.

Failure argument. One batch is one transaction. If it dies, nothing of it happened and the wake-ups are still there;
if its reply is lost after COMMIT, the wake-ups are gone and so is the need. Results of a worker in this process are a
batch too (services/completer.py), under the same locks of the runs. What is kept between batches are compiled versions,
and the snapshot of a run beside its only piece of work (services/direct_dispatch.py).

What the database refuses of one run takes its whole batch back. So the next batches are half as large, down to one
wake-up: one that is refused alone goes back for later, counted, and the others go on (RunAdvancer.set_aside).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from automata.broker.contract import RUNS_PENDING, TASKS_COMPLETED, Broker
from automata.errors import AutomataError, Unavailable
from automata.services.direct_dispatch import DirectDispatch, LocalWorker
from automata.services.run_advancer import Batch, RunAdvancer
from automata.settings import Settings
from automata.store import orchestrator_queue
from automata.store.database import Database
from automata.store.orchestrator_queue import WakeUp
from automata.store.queue_sentinels import ADVANCE

log = logging.getLogger(__name__)

FINISH_FIRST_SEC = 0.02  # what is begun goes before what is new, but holds it up no longer
BUSY_PAUSE_SEC = 0.005  # another orchestrator holds a run for about one batch


class Orchestrator:
    """One of any number; runs are shared out by the locks of their wake-ups."""

    def __init__(
        self,
        db: Database,
        broker: Broker,
        advancer: RunAdvancer,
        settings: Settings,
        local_worker: LocalWorker | None = None,
    ) -> None:
        """`local_worker` is the worker of this very process, which gets what is decided without a claim of its own."""
        self._db = db
        self._broker = broker
        self._advancer = advancer
        self._settings = settings
        self._local_worker = local_worker
        self._batch = settings.batch

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; an unreachable database is waited for."""
        with self._broker.listen(RUNS_PENDING, TASKS_COMPLETED) as listener:
            while not stop.is_set():
                try:
                    found_work, pause_sec = await self._take_batch()
                    listener.done(found_work)
                except AutomataError as error:
                    log.warning("orchestrator: %s", error)
                    pause_sec = 1.0
                if pause_sec and not stop.is_set():
                    await listener.wait(pause_sec)

    async def run_once(self) -> float:
        """Advance one batch; returns the seconds that may pass before the next one is worth taking."""
        return (await self._take_batch())[1]

    async def _take_batch(self) -> tuple[bool, float]:
        """Advance one batch; whether there was any, and the seconds until the next one is worth taking."""
        if self._local_worker:
            await self._local_worker.wait_for_backlog(FINISH_FIRST_SEC)
        wakeups: list[WakeUp] = []
        try:
            with DirectDispatch(self._local_worker) as dispatch:
                async with self._db.transaction() as conn:
                    wakeups, busy = await orchestrator_queue.take_wakeups(conn, self._batch)
                    if wakeups:
                        effects = await self._advancer.advance(conn, Batch(wakeups), dispatch)
        except Unavailable:
            raise
        except Exception as error:
            await self._make_way(wakeups, error)
            return True, 0
        if not wakeups:
            return False, BUSY_PAUSE_SEC if busy else max(BUSY_PAUSE_SEC, await self._until_due())
        await self._advancer.announce(effects)
        # A batch that had room took all there was: when the next is due costs less to ask than another batch.
        is_full = len(wakeups) == self._batch
        self._batch = min(self._settings.batch, 2 * self._batch)
        return True, 0 if busy or is_full else await self._until_due()

    async def _make_way(self, wakeups: Sequence[WakeUp], error: Exception) -> None:
        """Have smaller batches after one that was taken back, and set the run aside that is one alone."""
        if not wakeups:
            raise error
        self._batch = max(1, len(wakeups) // 2)
        if len(wakeups) > 1:
            return
        log.error("advancing run %s was refused: %s", wakeups[0].run_id, error)
        async with self._db.transaction() as conn:
            again, _ = await orchestrator_queue.take_wakeups(conn, 1)
            # Another may be the first by now: it goes back as it is, and is taken next.
            if [wakeup.run_id for wakeup in again] != [wakeups[0].run_id]:
                raise Unavailable("The run that was refused is no longer the first to be advanced.")
            ended = await self._advancer.set_aside(conn, again, error)
        await self._advancer.announce(ended)

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            due = await orchestrator_queue.seconds_to_next_due(conn, ADVANCE)
        return self._settings.poll_sec if due is None else min(due, self._settings.poll_sec)
