"""The orchestrator: takes wake-ups in batches, asks the engine what happens next, writes it down.

Failure argument. One batch is one transaction. If it dies, nothing of it happened and the wake-ups are still there;
if its reply is lost after COMMIT, the wake-ups are gone and so is the need. Results of a worker in this process are a
batch too: accepted, advanced and dispatched in one transaction, under the same lock of the run. What is kept between
batches are compiled versions, and the snapshot of a run beside its only piece of work (services/direct_dispatch.py).
A run whose advance raises does not hold the others up: its wake-ups go back for later, and after `MAX_LOSSES` times
the run fails with the reason, where a person can see it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, Broker, tasks_ready
from automata.engine.advance import Decision, InstantRule, StepState, advance
from automata.engine.fairness import Shares
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import AutomataError, Invalid
from automata.services.admission import RECHECK, RETRY_SOON, Candidate, admit, slot_of, wake_next
from automata.services.child_runs import load_arrivals, resolve_children
from automata.services.direct_dispatch import DirectDispatch, LocalWorker
from automata.services.plan_cache import PlanCache
from automata.services.run_advance import BatchWrites, RunAdvance, build_run_advance, take_snapshot
from automata.services.spans import send_run_span, with_parent_trace
from automata.settings import Settings
from automata.store import queue, slots, tasks
from automata.store.codec import loads
from automata.store.database import Connection, Database
from automata.store.queue import Loaded, WakeUp
from automata.store.tasks import Result
from automata.telemetry import RUNS_ENDED
from automata.tracing import Tracing

log = logging.getLogger(__name__)

Also = Callable[[Connection], Awaitable[None]]

MAX_LOSSES = 5
FINISH_FIRST_SEC = 0.02  # what is begun goes before what is new, but holds it up no longer
BUSY_PAUSE_SEC = 0.005  # another orchestrator holds a run for about one batch


@dataclass(frozen=True, slots=True)
class _Done:
    """What a batch did: runs that ended (how, which error), lanes with work, runs to look at, slots with more room."""

    ended: list[tuple[RunAdvance, str, Any]]
    lanes: set[str]
    touched: list[UUID]
    freed: list[str]


class Orchestrator:
    def __init__(
        self,
        db: Database,
        broker: Broker,
        plans: PlanCache,
        rules: Mapping[str, InstantRule],
        settings: Settings,
        tracing: Tracing | None = None,
        local_worker: LocalWorker | None = None,
    ) -> None:
        """`local_worker` is the worker of this very process, which gets what is decided without a claim of its own."""
        self._db = db
        self._broker = broker
        self._plans = plans
        self._rules = rules
        self._settings = settings
        self._tracing = tracing
        self._local_worker = local_worker
        self._shares = Shares()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; an unreachable database is waited for."""
        with self._broker.listen(RUNS_PENDING, TASKS_COMPLETED) as listener:
            while not stop.is_set():
                try:
                    found, pause = await self._look()
                    listener.done(found)
                except AutomataError as error:
                    log.warning("orchestrator: %s", error)
                    pause = 1.0
                if pause and not stop.is_set():
                    await listener.wait(pause)

    async def run_once(self) -> float:
        """Advance one batch; returns the seconds that may pass before the next one is worth taking."""
        return (await self._look())[1]

    async def _look(self) -> tuple[bool, float]:
        """Advance one batch; whether there was any, and the seconds until the next one is worth taking."""
        if self._local_worker:
            await self._local_worker.wait_for_backlog(FINISH_FIRST_SEC)
        with DirectDispatch(self._local_worker) as dispatch:
            async with self._db.transaction() as conn:
                wakeups, busy = await queue.take(conn, self._settings.batch)
                if wakeups:
                    done = await self._advance_batch(conn, wakeups, dispatch)
        if not wakeups:
            return False, BUSY_PAUSE_SEC if busy else max(BUSY_PAUSE_SEC, await self._until_due())
        await self._follow(done)
        # A batch that had room took all there was: when the next is due costs less to ask than another batch.
        return True, 0 if busy or len(wakeups) == self._settings.batch else await self._until_due()

    async def finish(self, results: Sequence[Result], also: Also) -> set[tuple[UUID, str]]:
        """Accept results and advance their runs, all in one transaction; `also` writes what else belongs to it.

        Returns the accepted ones. Another orchestrator may have one of the runs in hand: it finds the wake-up.
        """
        with DirectDispatch(self._local_worker) as dispatch:
            async with self._db.transaction() as conn:
                here = await tasks.finish(conn, results)
                rest = [one for one in results if one.fence not in here]
                there = await tasks.complete(conn, rest) if rest else set()
                await also(conn)
                # A late result is as good a text as an accepted one: only what was accepted may be read by others.
                taken = [one for one in results if one.fence in here]
                wakeups = [WakeUp(one.run_id, one.step, None, 0) for one in taken]
                known = {run.id: run for one in taken if (run := take_snapshot(one, here[one.fence]))}
                outputs = {(one.run_id, one.step): one.outputs for one in taken if one.status == TaskStatus.SUCCEEDED}
                done = await self._advance_batch(conn, wakeups, dispatch, outputs, known)
        await self._follow(done)
        if there:
            self._broker.notify(TASKS_COMPLETED)
        return {(one.run_id, one.step) for one in taken} | there

    async def _follow(self, done: _Done) -> None:
        """After the commit: tell whoever has something to do now."""
        if done.freed:
            async with self._db.transaction() as conn:
                await wake_next(conn, done.freed)
        for lane in done.lanes:
            self._broker.notify(tasks_ready(lane))
        if done.touched or done.freed:
            self._broker.notify(RUNS_PENDING, [str(id) for id in done.touched])
        if done.ended:
            self._broker.notify(RUNS_FINISHED, [str(run_advance.snapshot.id) for run_advance, _, _ in done.ended])
            self._tell(done.ended)

    def _tell(self, ended: Sequence[tuple[RunAdvance, str, Any]]) -> None:
        for run_advance, status, error in ended:
            RUNS_ENDED.labels(status).inc()
            if self._tracing:
                run = run_advance.snapshot
                send_run_span(self._tracing, run, run_advance.compiled, status, run.resumed_at or run.created_at, error)

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            due = await queue.next_due(conn, queue.ADVANCE)
        return self._settings.poll_sec if due is None else min(due, self._settings.poll_sec)

    async def _advance_batch(
        self,
        conn: AsyncConnection[Any],
        wakeups: Sequence[WakeUp],
        dispatch: DirectDispatch,
        outputs: Mapping[tuple[UUID, str], str | None] | None = None,
        known: Mapping[UUID, Loaded] | None = None,
    ) -> _Done:
        by_run: defaultdict[UUID, list[WakeUp]] = defaultdict(list)
        for item in wakeups:
            by_run[item.run_id].append(item)
        run_advances = await self._load(conn, by_run, known or {})
        retried = [run_advance.snapshot.id for run_advance in run_advances if run_advance.snapshot.attempt > 1]
        changes = BatchWrites(retried=retried, hand_to=dispatch.to, fresh=outputs or {}, shares=self._shares)
        if limited := [
            run_advance
            for run_advance in run_advances
            if run_advance.compiled.plan and run_advance.compiled.plan.concurrency
        ]:
            await self._admit(conn, limited, changes)
        asking = [
            run_advance
            for run_advance in run_advances
            if not run_advance.decided and self._decide(run_advance, changes, dispatch)
        ]
        while asking:
            await self._fetch(conn, asking, changes)
            asking = [run_advance for run_advance in asking if self._decide(run_advance, changes, dispatch)]
        touched = await self._reach_others(conn, run_advances, changes)
        await self._write(conn, changes, dispatch)
        if changes.freed:
            await slots.give_up(conn, list(changes.freed))
        if crashed := [
            item for run_advance in run_advances if run_advance.decision is _CRASHED for item in run_advance.wakeups
        ]:
            await queue.postpone(conn, crashed)
        lanes = {row[2] for row in changes.enqueue} - {queue.ADVANCE}
        return _Done(changes.ended, lanes, touched, list(changes.freed.values()))

    async def _write(self, conn: AsyncConnection[Any], changes: BatchWrites, dispatch: DirectDispatch) -> None:
        unread = changes.unread()
        found = await self._outputs(conn, unread, changes) if unread else {}
        complete = await queue.apply(conn, changes)
        claims = changes.claims(found)
        if not complete:  # a row was there already: what is known of such a run is in doubt
            ours = await tasks.still_held(conn, [(row[0], row[1], row[5]) for row in changes.hand])
            claims = [(replace(claim, known=None), compiled) for claim, compiled in claims if claim.fence in ours]
        dispatch.claims = claims

    async def _outputs(
        self, conn: AsyncConnection[Any], wanted: Sequence[tuple[UUID, str]], changes: BatchWrites
    ) -> dict[tuple[UUID, str], tuple[str, Any]]:
        """(status, outputs) of steps; what the worker handed in a moment ago is not asked for."""
        fresh = changes.fresh
        found: dict[tuple[UUID, str], tuple[str, Any]] = {
            key: (TaskStatus.SUCCEEDED, None if (text := fresh[key]) is None else loads(text))
            for key in wanted
            if key in fresh
        }
        if unknown := [key for key in wanted if key not in fresh]:
            found |= await queue.load_outputs(conn, unknown)
        return found

    async def _admit(
        self, conn: AsyncConnection[Any], run_advances: Sequence[RunAdvance], changes: BatchWrites
    ) -> None:
        """Which of these runs may begin under their flows' `concurrency`; the others' turns are over."""
        for run_advance in run_advances:
            self._find_slot(run_advance, changes)
        fresh = [run_advance for run_advance in run_advances if run_advance.slot and run_advance.is_new]
        if not fresh:
            return
        admissions = await admit(
            conn, [Candidate(run_advance.snapshot, run_advance.plan, run_advance.slot or "") for run_advance in fresh]
        )
        for run_advance in fresh:
            run = run_advance.snapshot
            if run.id in admissions.early:
                changes.enqueue.append((run.id, queue.CREATED, queue.ADVANCE, run.now + RETRY_SOON, run.version_id, ""))
                run_advance.decided = True
            elif slot := admissions.waiting.get(run.id):
                reads = queue.SEPARATOR.join((slots.SLOT, slot))
                again = run.now + RECHECK
                changes.enqueue.append((run.id, queue.CREATED, queue.ADVANCE, again, run.version_id, reads))
                run_advance.decided = True
            elif run.id in admissions.skipped:
                reason = {"code": "concurrency_skipped", "message": "As many runs as its flow allows were under way."}
                changes.end(run_advance, RunStatus.CANCELLED, None, reason)
                run_advance.decided = True
        changes.orphans += admissions.to_cancel

    def _find_slot(self, run_advance: RunAdvance, changes: BatchWrites) -> None:
        context = {"inputs": run_advance.view.inputs, "vars": run_advance.view.vars}
        try:
            run_advance.slot = slot_of(run_advance.plan, run_advance.snapshot.flow_id, context)
        except Invalid as error:
            if run_advance.is_new:
                reason = {"code": "template_error", "message": f"concurrency: {error}"}
                changes.end(run_advance, RunStatus.FAILED, None, reason)
                run_advance.decided = True

    async def _load(
        self, conn: AsyncConnection[Any], by_run: Mapping[UUID, list[WakeUp]], known: Mapping[UUID, Loaded]
    ) -> list[RunAdvance]:
        loaded = list(known.values())
        if unknown := [id for id in by_run if id not in known]:
            loaded += await queue.load(conn, unknown)
        plans = await self._plans.get(run.version_id for run in loaded)
        waited = [item for run in loaded for item in by_run[run.id] if item.reads]
        arrived = await load_arrivals(conn, waited) if waited else {}
        return [build_run_advance(run, plans[run.version_id], by_run[run.id], arrived) for run in loaded]

    async def _reach_others(
        self, conn: AsyncConnection[Any], run_advances: Sequence[RunAdvance], changes: BatchWrites
    ) -> list[UUID]:
        """Write the children that steps start, cancel those that nobody waits for; in the parents' transaction."""
        for run_advance in run_advances:
            changes.orphans += run_advance.orphans()
        if self._tracing:
            runs = {run_advance.snapshot.id: run_advance.snapshot for run_advance in run_advances}
            changes.children = [with_parent_trace(self._tracing, child, runs) for child in changes.children]
        if changes.children:
            await queue.create_runs(conn, changes.children)
        if changes.orphans:
            await queue.request_cancel(conn, changes.orphans)
        return [run.id for run in changes.children] + changes.orphans + [run for run, _ in changes.wake]

    def _decide(self, run_advance: RunAdvance, changes: BatchWrites, dispatch: DirectDispatch) -> bool:
        """Ask the engine; True when it must be asked again with more."""
        if run_advance.compiled.plan is None:
            error = {"code": "bad_version", "message": str(run_advance.compiled.error)}
            changes.end(run_advance, RunStatus.FAILED, None, error)
            return False
        try:
            decision = advance(
                run_advance.compiled.plan,
                run_advance.view,
                run_advance.states,
                run_advance.fired,
                run_advance.snapshot.now,
                self._rules,
                run_advance.errors(),
            )
        except Exception as error:
            log.exception("advance of run %s raised", run_advance.snapshot.id)
            run_advance.decision = self._give_up(run_advance, error, changes)
            return False
        run_advance.decision = decision
        if decision.needs or decision.asks or decision.drop:
            return True
        changes.collect(run_advance, dispatch)
        return False

    def _give_up(self, run_advance: RunAdvance, error: Exception, changes: BatchWrites) -> Decision:
        if max(item.losses for item in run_advance.wakeups) < MAX_LOSSES:
            return _CRASHED
        reason = {"code": "engine_error", "message": f"{type(error).__name__}: {error}"}
        changes.end(run_advance, RunStatus.FAILED, None, reason)
        return Decision()

    async def _fetch(
        self, conn: AsyncConnection[Any], run_advances: Sequence[RunAdvance], changes: BatchWrites
    ) -> None:
        """Get what the engine asked for: outputs, and the truth about work that it wants back."""
        if drops := [
            (run_advance.snapshot.id, step, run_advance.view.cancelled)
            for run_advance in run_advances
            for step in run_advance.decision.drop
        ]:
            changes.orphans += await queue.drop(conn, drops)
        if asks := [(run_advance.snapshot, ask) for run_advance in run_advances for ask in run_advance.decision.asks]:
            answers = await resolve_children(conn, self._plans, asks)
            for run_advance in run_advances:
                run_advance.answers |= {
                    ask.step: answers[run_advance.snapshot.id, ask.step] for ask in run_advance.decision.asks
                }
        wanted = [
            (run_advance.snapshot.id, step)
            for run_advance in run_advances
            for step in {*run_advance.decision.needs, *run_advance.decision.drop}
        ]
        found = await self._outputs(conn, wanted, changes)
        for run_advance in run_advances:
            for step in run_advance.decision.needs:
                status, outputs = found[run_advance.snapshot.id, step]
                run_advance.states[step] = StepState(TaskStatus(status), None, outputs, run_advance.states[step].error)
            for step in run_advance.decision.drop:
                if gone := found.get((run_advance.snapshot.id, step)):
                    run_advance.states[step] = StepState(TaskStatus(gone[0]))
                else:  # a worker was faster: it runs, and the run waits for it
                    run_advance.states[step] = StepState(TaskStatus.RUNNING, run_advance.states[step].since)


_CRASHED = Decision()
