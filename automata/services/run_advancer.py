"""Advances a batch of runs inside a transaction of its caller: asks the engine what happens next, and writes it down.

The orchestrator calls it for wake-ups that it took from the queue, the completer of the same process for results that
were accepted a moment ago. What others must learn of a batch is announced after the commit.

Failure argument. All that a batch writes is in the one transaction, so a batch that dies did nothing. An announcement
that is lost costs a poll. A run whose advance raises does not hold the others up: its wake-ups go back for later, and
after `MAX_LOSSES` times the run fails with the reason, where a person can see it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, Broker, tasks_ready
from automata.engine.advance import Decision, InstantRule, advance
from automata.engine.fairness import Shares
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import Invalid, Unavailable
from automata.services.admission import RECHECK, RETRY_SOON, Admissions, Candidate, admit, slot_of, wake_next
from automata.services.continued_runs import Ask, EndingChild, have_gone_on
from automata.services.direct_dispatch import DirectDispatch
from automata.services.plan_cache import PlanCache
from automata.services.run_decision import BatchWrites, RunAdvance, build_run_advance, take_snapshot
from automata.services.spans import send_run_span, with_parent_trace
from automata.services.step_waits import ChildAnswer, answer_asks, load_arrivals
from automata.store import concurrency_slots, orchestrator_queue, run_retries, worker_queue
from automata.store.database import Connection, Database
from automata.store.earlier_children import close_letters_below
from automata.store.json_codec import loads
from automata.store.new_runs import create_runs
from automata.store.orchestrator_queue import EnqueueRow, RunSnapshot, WakeUp
from automata.store.queue_sentinels import ADVANCE, CREATED
from automata.store.waiting_codec import SlotWait, encode
from automata.store.worker_queue import TaskResult
from automata.telemetry import RUNS_ENDED
from automata.tracing import Tracing

log = logging.getLogger(__name__)

MAX_LOSSES = 5
_PUT_BACK = Decision()  # of a run whose advance raised, or has to be made later


@dataclass(frozen=True, slots=True)
class Batch:
    """Wake-ups, with what is known of their runs: outputs (JSON text) by run and step, and whole runs by id."""

    wakeups: Sequence[WakeUp]
    outputs: Mapping[tuple[UUID, str], str | None] = field(default_factory=dict)
    snapshots: Mapping[UUID, RunSnapshot] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BatchEffects:
    """What to announce of a batch: ended runs (status, error), lanes with work, runs to look at, slots with room."""

    ended: list[tuple[RunAdvance, str, Any]]
    lanes: set[str]
    touched: list[UUID]
    freed_slots: list[str]


def completed_batch(results: Sequence[TaskResult], ended_at: Mapping[UUID, datetime]) -> Batch:
    """The batch of those results that were accepted in this transaction; `ended_at`: when, by fence.

    A late result is as good a text as an accepted one: only what was accepted may be read by others. The snapshots of
    accepted results are used up: a transaction that is tried again loads the runs.
    """
    accepted = [result for result in results if result.fence in ended_at]
    return Batch(
        [WakeUp(item.run_id, item.step, None, 0) for item in accepted],
        {(item.run_id, item.step): item.outputs for item in accepted if item.status == TaskStatus.SUCCEEDED},
        {run.id: run for item in accepted if (run := take_snapshot(item, ended_at[item.fence]))},
    )


class RunAdvancer:
    """One for a process: the orchestrator's and the completer's batches share its sense of fairness and its plans."""

    def __init__(
        self,
        db: Database,
        broker: Broker,
        plans: PlanCache,
        rules: Mapping[str, InstantRule],
        tracing: Tracing | None = None,
    ) -> None:
        self._db = db
        self._broker = broker
        self._plans = plans
        self._rules = rules
        self._tracing = tracing
        self._shares = Shares()

    async def advance(self, conn: Connection, batch: Batch, dispatch: DirectDispatch) -> BatchEffects:
        """Advance the runs of `batch` in the transaction of `conn`; the caller commits, then calls `announce`.

        `dispatch` gets what starts and finds a slot in the worker of this process.
        """
        run_advances = await self._load(conn, batch)
        retried = [run_advance.snapshot.id for run_advance in run_advances if run_advance.snapshot.attempt > 1]
        writes = BatchWrites(
            retried=retried, hand_to=dispatch.to, fresh_outputs=batch.outputs, shares=self._shares, dispatch=dispatch
        )
        await self._admit(conn, run_advances, writes)
        undecided = [item for item in run_advances if not item.decided and self._decide(item, writes)]
        while undecided:
            await self._fetch(conn, undecided, writes)
            undecided = [item for item in undecided if not item.decided and self._decide(item, writes)]
        touched = await self._reach_others(conn, run_advances, writes)
        await self._write(conn, writes, dispatch)
        if writes.going_on:
            await run_retries.go_on_instead(conn, writes.going_on)
        if writes.freed_slots:
            await concurrency_slots.free_slots(conn, list(writes.freed_slots))
        if put_back := [wakeup for item in run_advances if item.decision is _PUT_BACK for wakeup in item.wakeups]:
            await orchestrator_queue.postpone(conn, put_back)
        lanes = {row.lane for row in writes.enqueue} - {ADVANCE}
        return BatchEffects(writes.ended, lanes, touched, list(writes.freed_slots.values()))

    async def set_aside(self, conn: Connection, wakeups: Sequence[WakeUp], error: Exception) -> BatchEffects:
        """Put the wake-ups of one run back for later after `error`; the run fails with it after MAX_LOSSES times.

        Where even that is refused, they go back once more: nothing of this run may hold the others up.
        """
        writes = BatchWrites()
        try:
            async with conn.transaction():
                await self._end_if_lost(conn, wakeups, error, writes)
        except Unavailable:
            raise
        except Exception:
            log.exception("run %s can be neither advanced nor ended", wakeups[0].run_id)
            writes = BatchWrites()
        if not writes.ended:
            await orchestrator_queue.postpone(conn, wakeups)
        return BatchEffects(writes.ended, set(), [run for run, _ in writes.wake], list(writes.freed_slots.values()))

    async def _end_if_lost(
        self, conn: Connection, wakeups: Sequence[WakeUp], error: Exception, writes: BatchWrites
    ) -> None:
        for run_advance in await self._load(conn, Batch(wakeups)):
            if run_advance.compiled.plan and run_advance.compiled.plan.concurrency:
                with suppress(Exception):  # what cannot be made has no place to give back
                    self._find_slot(run_advance, BatchWrites())
            if self._give_up(run_advance, error, writes) is not _PUT_BACK:
                await orchestrator_queue.apply_writes(conn, writes)
                await concurrency_slots.free_slots(conn, list(writes.freed_slots))

    async def announce(self, effects: BatchEffects) -> None:
        """After the commit: wake everybody who has something to do now. Raises Unavailable."""
        if effects.freed_slots:
            async with self._db.transaction() as conn:
                await wake_next(conn, effects.freed_slots)
        for lane in effects.lanes:
            self._broker.notify(tasks_ready(lane))
        if effects.touched or effects.freed_slots:
            self._broker.notify(RUNS_PENDING, [str(id) for id in effects.touched])
        if effects.ended:
            self._broker.notify(RUNS_FINISHED, [str(item.snapshot.id) for item, _, _ in effects.ended])
            self._count_ended(effects.ended)

    def _count_ended(self, ended: Sequence[tuple[RunAdvance, str, Any]]) -> None:
        for run_advance, status, error in ended:
            RUNS_ENDED.labels(status).inc()
            if self._tracing:
                run = run_advance.snapshot
                began = run.resumed_at or run.created_at
                send_run_span(self._tracing, run, run_advance.compiled, status, began, error)

    # -- loading -------------------------------------------------------------------------------------------------

    async def _load(self, conn: Connection, batch: Batch) -> list[RunAdvance]:
        by_run: defaultdict[UUID, list[WakeUp]] = defaultdict(list)
        for wakeup in batch.wakeups:
            by_run[wakeup.run_id].append(wakeup)
        runs = list(batch.snapshots.values())
        if unknown := [id for id in by_run if id not in batch.snapshots]:
            runs += await orchestrator_queue.load_snapshots(conn, unknown)
        plans = await self._plans.get(run.version_id for run in runs)
        waited = [wakeup for run in runs for wakeup in by_run[run.id] if wakeup.wait]
        arrivals = await load_arrivals(conn, waited) if waited else {}
        return [build_run_advance(run, plans[run.version_id], by_run[run.id], arrivals) for run in runs]

    async def _outputs(
        self, conn: Connection, wanted: Sequence[tuple[UUID, str]], writes: BatchWrites
    ) -> dict[tuple[UUID, str], tuple[str, Any]]:
        """(status, outputs) of steps; what a worker of this process has just brought is not asked for."""
        fresh = writes.fresh_outputs
        outputs: dict[tuple[UUID, str], tuple[str, Any]] = {
            key: (TaskStatus.SUCCEEDED, None if (text := fresh[key]) is None else loads(text))
            for key in wanted
            if key in fresh
        }
        if unknown := [key for key in wanted if key not in fresh]:
            outputs |= await orchestrator_queue.load_outputs(conn, unknown)
        return outputs

    async def _fetch(self, conn: Connection, run_advances: Sequence[RunAdvance], writes: BatchWrites) -> None:
        """Get what the engine asked for: outputs, and the truth about work that it wants back."""
        drops = [(item.snapshot.id, step, item.view.cancelled) for item in run_advances for step in item.decision.drop]
        if drops:
            writes.orphans += await orchestrator_queue.drop_tasks(conn, drops)
        if asks := [Ask(item.snapshot, item.plan, ask) for item in run_advances for ask in item.decision.asks]:
            self._take_answers(run_advances, await answer_asks(conn, self._plans, asks))
        if failing := [item for item in run_advances if item.is_about_to_fail()]:
            await _look_at_children(conn, failing)
        wanted = [
            (item.snapshot.id, step) for item in run_advances for step in {*item.decision.needs, *item.decision.drop}
        ]
        outputs = await self._outputs(conn, wanted, writes)
        for item in run_advances:
            item.take_fetched(outputs)

    def _take_answers(
        self, run_advances: Sequence[RunAdvance], answers: Mapping[tuple[UUID, str], ChildAnswer]
    ) -> None:
        """A run that asks for a child which is being cancelled is put back as a whole: for less it has no states."""
        for item in run_advances:
            item.answers |= {ask.step: answers[item.snapshot.id, ask.step] for ask in item.decision.asks}
            if any(isinstance(answer, EndingChild) for answer in item.answers.values()):
                item.decision, item.decided = _PUT_BACK, True

    # -- deciding ------------------------------------------------------------------------------------------------

    async def _admit(self, conn: Connection, run_advances: Sequence[RunAdvance], writes: BatchWrites) -> None:
        """Which of the runs may begin under their flows' `concurrency`; the others' advances are over."""
        limited = [item for item in run_advances if item.compiled.plan and item.compiled.plan.concurrency]
        for item in limited:
            self._find_slot(item, writes)
        beginning = [item for item in limited if item.slot and item.is_new]
        if not beginning:
            return
        candidates = [Candidate(item.snapshot, item.plan, item.slot or "") for item in beginning]
        admissions = await admit(conn, candidates)
        for item in beginning:
            item.decided = self._keep_out(item, admissions, writes)
        writes.orphans += admissions.to_cancel

    def _keep_out(self, run_advance: RunAdvance, admissions: Admissions, writes: BatchWrites) -> bool:
        """Whether the run does not begin now; then it is written when it asks again, or that it is over."""
        run = run_advance.snapshot
        if run.id in admissions.early:
            soon = run.now + RETRY_SOON
            writes.enqueue.append(EnqueueRow(run.id, CREATED, ADVANCE, soon, run.version_id))
        elif slot := admissions.waiting.get(run.id):
            reads = encode(SlotWait(slot))
            writes.enqueue.append(EnqueueRow(run.id, CREATED, ADVANCE, run.now + RECHECK, run.version_id, reads))
        elif run.id in admissions.skipped:
            reason = {"code": "concurrency_skipped", "message": "As many runs as its flow allows were under way."}
            writes.end_run(run_advance, RunStatus.CANCELLED, None, reason)
        else:
            return False
        return True

    def _find_slot(self, run_advance: RunAdvance, writes: BatchWrites) -> None:
        context = {"inputs": run_advance.view.inputs, "vars": run_advance.view.vars}
        try:
            run_advance.slot = slot_of(run_advance.plan, run_advance.snapshot.flow_id, context)
        except Invalid as error:
            if run_advance.is_new:
                reason = {"code": "template_error", "message": f"concurrency: {error}"}
                writes.end_run(run_advance, RunStatus.FAILED, None, reason)
                run_advance.decided = True

    def _decide(self, run_advance: RunAdvance, writes: BatchWrites) -> bool:
        """Ask the engine; True when it must be asked again with more."""
        plan, now = run_advance.compiled.plan, run_advance.snapshot.now
        if plan is None:
            error = {"code": "bad_version", "message": str(run_advance.compiled.error)}
            writes.end_run(run_advance, RunStatus.FAILED, None, error)
            return False
        view, states, arrived = run_advance.view, run_advance.states, run_advance.arrived
        try:
            decision = advance(plan, view, states, arrived, now, self._rules, run_advance.errors())
        except Exception as error:
            log.exception("advance of run %s raised", run_advance.snapshot.id)
            run_advance.decision = self._give_up(run_advance, error, writes)
            return False
        run_advance.decision = decision
        if decision.needs or decision.asks or decision.drop:
            return True
        if plan.calls_flows and run_advance.is_about_to_fail() and run_advance.failed_by_child():
            if run_advance.going_on is None:
                return True
            if run_advance.going_on:
                writes.go_on_instead(run_advance, run_advance.going_on)
                return False
        writes.add_decision(run_advance)
        return False

    def _give_up(self, run_advance: RunAdvance, error: Exception, writes: BatchWrites) -> Decision:
        if max(wakeup.losses for wakeup in run_advance.wakeups) < MAX_LOSSES:
            return _PUT_BACK
        reason = {"code": "engine_error", "message": f"{type(error).__name__}: {error}"}
        writes.end_run(run_advance, RunStatus.FAILED, None, reason)
        return Decision()

    # -- writing -------------------------------------------------------------------------------------------------

    async def _reach_others(
        self, conn: Connection, run_advances: Sequence[RunAdvance], writes: BatchWrites
    ) -> list[UUID]:
        """Write the children that steps start, cancel those that nobody waits for; in the parents' transaction."""
        for run_advance in run_advances:
            writes.orphans += run_advance.orphans()
        if self._tracing:
            parents = {item.snapshot.id: item.snapshot for item in run_advances}
            writes.children = [with_parent_trace(self._tracing, child, parents) for child in writes.children]
        if writes.children:
            await create_runs(conn, writes.children)
        for by in {by for _, by in writes.continued}:
            await run_retries.continue_children(conn, [id for id, who in writes.continued if who == by], by)
        if writes.replaced:
            await close_letters_below(conn, writes.replaced)
        if writes.orphans:
            await orchestrator_queue.request_cancel(conn, writes.orphans)
        others = [run for run, _ in (*writes.wake, *writes.continued)] + [run.run_id for run in writes.going_on]
        return [run.id for run in writes.children] + writes.orphans + others

    async def _write(self, conn: Connection, writes: BatchWrites, dispatch: DirectDispatch) -> None:
        unread = writes.unread()
        outputs = await self._outputs(conn, unread, writes) if unread else {}
        complete = await orchestrator_queue.apply_writes(conn, writes)
        claims = writes.claims(outputs)
        if not complete:  # a row was there already: what is known of such a run is in doubt
            ours = await worker_queue.still_held(conn, [(row[0], row[1], row[5]) for row in writes.hand])
            claims = [(replace(claim, known=None), compiled) for claim, compiled in claims if claim.fence in ours]
        dispatch.claims = claims


async def _look_at_children(conn: Connection, run_advances: Sequence[RunAdvance]) -> None:
    """Find out which of the children that fail these runs go on by now."""
    steps = [(item.snapshot.id, step) for item in run_advances for step in item.failed_by_child()]
    gone_on = await have_gone_on(conn, steps) if steps else set()
    for item in run_advances:
        item.going_on = [step for step in item.failed_by_child() if (item.snapshot.id, step) in gone_on]
