"""Creating runs: one statement writes the runs of requests that arrive together.

Failure argument. A caller learns of a run only after the statement that wrote it has committed. Every request draws
its run's id before the first try, so a statement whose answer was lost is sent again with the same ids: a row with
that id is this request's own, and nothing is written twice. One request's fault (a key that belongs to another
request) fails that request alone. A batch that is all or nothing is one transaction, which its first fault ends.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from automata.broker.contract import RUNS_PENDING, Broker
from automata.engine.fairness import Shares
from automata.errors import Busy, Conflict, Unavailable
from automata.operations.batcher import Batcher
from automata.store.database import Database
from automata.store.new_runs import CreatedRun, NewRun, create_runs_or_conflicts
from automata.telemetry import INTAKE_ROWS, RUNS_CREATED
from automata.tracing import INCOMING

MAX_BATCHES = 4  # of up to 1,000 runs at once; single runs need connections too
AGAIN = ("connection_lost", "retry")  # codes of failures that leave open, or undo, what was written


class _Rollback(Exception):
    """Ends a transaction that must leave nothing."""


class RunCreator:
    """Writes the runs that this process is asked for, those that come together by one statement."""

    def __init__(self, db: Database, broker: Broker, batch: int) -> None:
        self._db = db
        self._broker = broker
        self._batcher: Batcher[NewRun, CreatedRun] = Batcher(self._insert, batch)
        self._batches = 0
        self._shares = Shares()

    async def create(self, run: NewRun) -> CreatedRun:
        """Write a run; returns after the commit.

        Raises Busy when the queue is full, Conflict for a key that belongs to another request, Unavailable.
        """
        if header := INCOMING.get():
            run = replace(run, traceparent=header)
        return await self._batcher.submit(self._in_turn(run))

    def _in_turn(self, run: NewRun) -> NewRun:
        return replace(run, head_start=self._shares.head_start(run.flow_id, time.monotonic()))

    async def create_many(self, runs: Sequence[NewRun], *, together: bool) -> Sequence[CreatedRun | Conflict]:
        """Write runs by one statement; with `together` a Conflict among the answers means that none was written.

        Raises Busy when as many batches are under way as this process takes, Unavailable.
        """
        if self._batches >= MAX_BATCHES:
            raise Busy(f"{MAX_BATCHES} batches of runs are being written already.", hint="Try again in a second.")
        if not runs:
            return []
        if header := INCOMING.get():
            runs = [replace(run, traceparent=header) for run in runs]
        runs = [self._in_turn(run) for run in runs]
        self._batches += 1
        try:
            return await self._insert(runs, together=together)
        finally:
            self._batches -= 1

    async def _insert(self, runs: Sequence[NewRun], *, together: bool = False) -> Sequence[CreatedRun | Conflict]:
        INTAKE_ROWS.observe(len(runs))
        write = self._all_or_none if together else self._each
        try:
            answers = await write(runs)
        except Unavailable as error:
            if error.code not in AGAIN:
                raise
            answers = await write(runs)
        answers = [_own(run, answer) for run, answer in zip(runs, answers, strict=True)]
        if not together or not any(isinstance(answer, Conflict) for answer in answers):
            self._announce([run for run, answer in zip(runs, answers, strict=True) if _is_new(answer)])
        return answers

    async def _each(self, runs: Sequence[NewRun]) -> list[CreatedRun | Conflict]:
        # In autocommit: create_runs_or_conflicts writes with one statement, so having its answer is having its commit.
        async with self._db.connection() as conn:
            return await create_runs_or_conflicts(conn, runs)

    async def _all_or_none(self, runs: Sequence[NewRun]) -> list[CreatedRun | Conflict]:
        answers: list[CreatedRun | Conflict] = []
        with suppress(_Rollback):
            async with self._db.transaction() as conn:
                answers = await create_runs_or_conflicts(conn, runs)
                if any(isinstance(answer, Conflict) for answer in answers):
                    raise _Rollback
        return answers

    def _announce(self, fresh: Sequence[NewRun]) -> None:
        if not fresh:
            return
        for run in fresh:
            RUNS_CREATED.labels(run.trigger).inc()
        self._broker.notify(RUNS_PENDING, [str(run.id) for run in fresh])


def _own(run: NewRun, answer: CreatedRun | Conflict) -> CreatedRun | Conflict:
    """A run under the id that its request drew is that request's own, even when an earlier try wrote it."""
    return answer if isinstance(answer, Conflict) else CreatedRun(answer.id, answer.id == run.id, answer.created_at)


def _is_new(answer: CreatedRun | Conflict) -> bool:
    return isinstance(answer, CreatedRun) and answer.created
