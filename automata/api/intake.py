"""Runs come in: requests that arrive together are written by one statement.

Failure argument. A caller hears of a run only after the statement that wrote it has committed. Every request draws
its run's id before the first try, so a statement whose answer was lost is sent again with the same ids: what was
written is recognised by its id, and nothing is written twice. One request's fault (a key that stands for another
request) must not fail its neighbours: then each goes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from automata.api.line import Line
from automata.broker.contract import RUNS_PENDING, Broker
from automata.errors import AutomataError, Conflict, Unavailable
from automata.store.database import Database
from automata.store.queue import CreatedRun, NewRun, create_runs
from automata.telemetry import INTAKE_ROWS, RUNS_CREATED
from automata.tracing import INCOMING

AGAIN = ("connection_lost", "retry")  # codes of failures that leave open, or undo, what was written


class Intake:
    def __init__(self, db: Database, broker: Broker, batch: int) -> None:
        self._db = db
        self._broker = broker
        self._line: Line[NewRun, CreatedRun] = Line(self._together, batch)

    async def create(self, run: NewRun) -> CreatedRun:
        """Write a run; returns after the commit.

        Raises Busy when the line is full, Conflict for a key that stands for another request, Unavailable.
        """
        if header := INCOMING.get():
            run = replace(run, traceparent=header)
        return await self._line.ask(run)

    async def _together(self, runs: Sequence[NewRun]) -> Sequence[CreatedRun | Exception]:
        INTAKE_ROWS.observe(len(runs))
        try:
            return await self._insert(runs)
        except Conflict as conflict:
            return [conflict] if len(runs) == 1 else [await self._alone(run) for run in runs]

    async def _alone(self, run: NewRun) -> CreatedRun | Exception:
        try:
            return (await self._insert([run]))[0]
        except AutomataError as error:
            return error

    async def _insert(self, runs: Sequence[NewRun]) -> list[CreatedRun]:
        try:
            made = await self._once(runs)
        except Unavailable as error:
            if error.code not in AGAIN:
                raise
            made = await self._once(runs)
        # A run under the id that its request drew is that request's own, even when an earlier try wrote it.
        answers = [CreatedRun(one.id, one.id == run.id, one.created_at) for run, one in zip(runs, made, strict=True)]
        self._announce([run for run, answer in zip(runs, answers, strict=True) if answer.created])
        return answers

    async def _once(self, runs: Sequence[NewRun]) -> list[CreatedRun]:
        # In autocommit: create_runs writes with one statement, so having its answer is having its commit.
        async with self._db.connection() as conn:
            return await create_runs(conn, runs)

    def _announce(self, fresh: Sequence[NewRun]) -> None:
        if not fresh:
            return
        for run in fresh:
            RUNS_CREATED.labels(run.trigger).inc()
        self._broker.ring(RUNS_PENDING, [str(run.id) for run in fresh])
