"""The orchestrator: takes wake-ups in batches, asks the engine what happens next, writes it down.

Failure argument. One batch is one transaction. If it dies, nothing of it happened and the wake-ups are still there;
if its reply is lost after COMMIT, the wake-ups are gone and so is the need. No state is kept between batches but
compiled versions. A run whose advance raises does not hold the others up: its wake-ups go back for later, and after
`MAX_LOSSES` times the run fails with the reason, where a person can see it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, TASKS_COMPLETED, Broker, tasks_ready
from automata.engine.advance import Decision, InstantRule, RunView, StepState, Timer, advance
from automata.engine.decision import FOREVER
from automata.engine.states import RunStatus, TaskStatus
from automata.errors import AutomataError, Invalid
from automata.flow.compile import Plan
from automata.services.admission import A_MOMENT, RECHECK, Applicant, admit, let_next, slot_of
from automata.services.children import Resolved, arrivals, resolve
from automata.services.plans import Compiled, Plans
from automata.services.spans import child_of, run_ended
from automata.settings import Settings
from automata.store import queue, slots
from automata.store.codec import dumps
from automata.store.database import Database
from automata.store.queue import Changes, Loaded, NewRun, WakeUp
from automata.telemetry import RUNS_ENDED
from automata.tracing import Tracing

log = logging.getLogger(__name__)

MAX_LOSSES = 5
BUSY_PAUSE_SEC = 0.005  # another orchestrator holds a run for about one batch


@dataclass(slots=True)
class _Turn:
    """One run in one batch: what is known of it, and what is decided."""

    loaded: Loaded
    compiled: Compiled
    view: RunView
    states: dict[str, StepState]
    fired: dict[str, Any]  # what arrived; None where only time passed
    wakeups: list[WakeUp]
    decision: Decision = field(default_factory=Decision)
    answers: dict[str, Resolved | Invalid] = field(default_factory=dict)
    slot: str | None = None  # of the flow's `concurrency`
    decided: bool = False

    @property
    def plan(self) -> Plan:
        assert self.compiled.plan is not None  # whoever asks has looked
        return self.compiled.plan

    @property
    def is_new(self) -> bool:
        """Whether the run begins with this turn, if anybody lets it."""
        steps = {item.step for item in self.wakeups}
        return queue.CREATED in steps and queue.CANCEL not in steps


@dataclass(frozen=True, slots=True)
class _Done:
    """What a batch did: runs that ended (how, which error), lanes with work, runs to look at, slots with more room."""

    ended: list[tuple[_Turn, str, Any]]
    lanes: set[str]
    touched: list[UUID]
    freed: list[str]


class Orchestrator:
    def __init__(
        self,
        db: Database,
        broker: Broker,
        plans: Plans,
        rules: Mapping[str, InstantRule],
        settings: Settings,
        tracing: Tracing | None = None,
    ) -> None:
        self._db = db
        self._broker = broker
        self._plans = plans
        self._rules = rules
        self._settings = settings
        self._tracing = tracing

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; an unreachable database is waited for."""
        with self._broker.listen(RUNS_PENDING, TASKS_COMPLETED) as bell:
            while not stop.is_set():
                try:
                    pause = await self.turn()
                    bell.done(found=not pause)
                except AutomataError as error:
                    log.warning("orchestrator: %s", error)
                    pause = 1.0
                if pause and not stop.is_set():
                    await bell.wait(pause)

    async def turn(self) -> float:
        """Advance one batch; returns the seconds that may pass before the next one is worth taking."""
        async with self._db.transaction() as conn:
            wakeups, busy = await queue.take(conn, self._settings.batch)
            if wakeups:
                done = await self._advance_batch(conn, wakeups)
        if not wakeups:
            return BUSY_PAUSE_SEC if busy else await self._until_due()
        if done.freed:
            async with self._db.transaction() as conn:
                await let_next(conn, done.freed)
        for lane in done.lanes:
            self._broker.ring(tasks_ready(lane))
        if done.touched or done.freed:
            self._broker.ring(RUNS_PENDING, [str(id) for id in done.touched])
        if done.ended:
            self._broker.ring(RUNS_FINISHED, [str(turn.loaded.id) for turn, _, _ in done.ended])
            self._tell(done.ended)
        return 0

    def _tell(self, ended: Sequence[tuple[_Turn, str, Any]]) -> None:
        for turn, status, error in ended:
            RUNS_ENDED.labels(status).inc()
            if self._tracing:
                run = turn.loaded
                run_ended(self._tracing, run, turn.compiled, status, run.resumed_at or run.created_at, error)

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            due = await queue.next_due(conn, queue.ADVANCE)
        return self._settings.poll_sec if due is None else min(max(due, BUSY_PAUSE_SEC), self._settings.poll_sec)

    async def _advance_batch(self, conn: AsyncConnection[Any], wakeups: Sequence[WakeUp]) -> _Done:
        by_run: defaultdict[UUID, list[WakeUp]] = defaultdict(list)
        for item in wakeups:
            by_run[item.run_id].append(item)
        turns = await self._load(conn, by_run)
        changes = _Outcome(retried=[turn.loaded.id for turn in turns if turn.loaded.attempt > 1])
        if limited := [turn for turn in turns if turn.compiled.plan and turn.compiled.plan.concurrency]:
            await self._admit(conn, limited, changes)
        asking = [turn for turn in turns if not turn.decided and self._decide(turn, changes)]
        while asking:
            await self._fetch(conn, asking, changes)
            asking = [turn for turn in asking if self._decide(turn, changes)]
        touched = await self._reach_others(conn, turns, changes)
        await queue.apply(conn, changes)
        if changes.freed:
            await slots.give_up(conn, list(changes.freed))
        if crashed := [item for turn in turns if turn.decision is _CRASHED for item in turn.wakeups]:
            await queue.postpone(conn, crashed)
        lanes = {row[2] for row in changes.enqueue} - {queue.ADVANCE}
        return _Done(changes.ended, lanes, touched, list(changes.freed.values()))

    async def _admit(self, conn: AsyncConnection[Any], turns: Sequence[_Turn], changes: _Outcome) -> None:
        """Which of these runs may begin under their flows' `concurrency`; the others' turns are over."""
        for turn in turns:
            self._find_slot(turn, changes)
        fresh = [turn for turn in turns if turn.slot and turn.is_new]
        if not fresh:
            return
        verdicts = await admit(conn, [Applicant(turn.loaded, turn.plan, turn.slot or "") for turn in fresh])
        for turn in fresh:
            run = turn.loaded
            if run.id in verdicts.early:
                changes.enqueue.append((run.id, queue.CREATED, queue.ADVANCE, run.now + A_MOMENT, run.version_id, ""))
                turn.decided = True
            elif slot := verdicts.waiting.get(run.id):
                reads = queue.SEPARATOR.join((slots.SLOT, slot))
                again = run.now + RECHECK
                changes.enqueue.append((run.id, queue.CREATED, queue.ADVANCE, again, run.version_id, reads))
                turn.decided = True
            elif run.id in verdicts.skipped:
                reason = {"code": "concurrency_skipped", "message": "As many runs as its flow allows were under way."}
                changes.end(turn, RunStatus.CANCELLED, None, reason)
                turn.decided = True
        changes.orphans += verdicts.to_cancel

    def _find_slot(self, turn: _Turn, changes: _Outcome) -> None:
        context = {"inputs": turn.view.inputs, "vars": turn.view.vars}
        try:
            turn.slot = slot_of(turn.plan, turn.loaded.flow_id, context)
        except Invalid as error:
            if turn.is_new:
                reason = {"code": "template_error", "message": f"concurrency: {error}"}
                changes.end(turn, RunStatus.FAILED, None, reason)
                turn.decided = True

    async def _load(self, conn: AsyncConnection[Any], by_run: Mapping[UUID, list[WakeUp]]) -> list[_Turn]:
        loaded = await queue.load(conn, list(by_run))
        plans = await self._plans.get(run.version_id for run in loaded)
        waited = [item for run in loaded for item in by_run[run.id] if item.reads]
        arrived = await arrivals(conn, waited) if waited else {}
        return [_turn(run, plans[run.version_id], by_run[run.id], arrived) for run in loaded]

    async def _reach_others(self, conn: AsyncConnection[Any], turns: Sequence[_Turn], changes: _Outcome) -> list[UUID]:
        """Write the children that steps start, cancel those that nobody waits for; in the parents' transaction."""
        for turn in turns:
            changes.orphans += _orphans(turn)
        if self._tracing:
            runs = {turn.loaded.id: turn.loaded for turn in turns}
            changes.children = [child_of(self._tracing, child, runs) for child in changes.children]
        if changes.children:
            await queue.create_runs(conn, changes.children)
        if changes.orphans:
            await queue.request_cancel(conn, changes.orphans)
        return [run.id for run in changes.children] + changes.orphans + [run for run, _ in changes.wake]

    def _decide(self, turn: _Turn, changes: _Outcome) -> bool:
        """Ask the engine; True when it must be asked again with more."""
        if turn.compiled.plan is None:
            error = {"code": "bad_version", "message": str(turn.compiled.error)}
            changes.end(turn, RunStatus.FAILED, None, error)
            return False
        try:
            decision = advance(
                turn.compiled.plan, turn.view, turn.states, turn.fired, turn.loaded.now, self._rules, _errors(turn)
            )
        except Exception as error:
            log.exception("advance of run %s raised", turn.loaded.id)
            turn.decision = self._give_up(turn, error, changes)
            return False
        turn.decision = decision
        if decision.needs or decision.asks or decision.drop:
            return True
        _collect(turn, turn.compiled.plan, decision, changes)
        return False

    def _give_up(self, turn: _Turn, error: Exception, changes: _Outcome) -> Decision:
        if max(item.losses for item in turn.wakeups) < MAX_LOSSES:
            return _CRASHED
        reason = {"code": "engine_error", "message": f"{type(error).__name__}: {error}"}
        changes.end(turn, RunStatus.FAILED, None, reason)
        return Decision()

    async def _fetch(self, conn: AsyncConnection[Any], turns: Sequence[_Turn], changes: _Outcome) -> None:
        """Get what the engine asked for: outputs, and the truth about work that it wants back."""
        if drops := [(turn.loaded.id, step, turn.view.cancelled) for turn in turns for step in turn.decision.drop]:
            changes.orphans += await queue.drop(conn, drops)
        if asks := [(turn.loaded, ask) for turn in turns for ask in turn.decision.asks]:
            answers = await resolve(conn, self._plans, asks)
            for turn in turns:
                turn.answers |= {ask.step: answers[turn.loaded.id, ask.step] for ask in turn.decision.asks}
        wanted = [(turn.loaded.id, step) for turn in turns for step in {*turn.decision.needs, *turn.decision.drop}]
        found = await queue.load_outputs(conn, wanted)
        for turn in turns:
            for step in turn.decision.needs:
                status, outputs = found[turn.loaded.id, step]
                turn.states[step] = StepState(TaskStatus(status), None, outputs, turn.states[step].error)
            for step in turn.decision.drop:
                if gone := found.get((turn.loaded.id, step)):
                    turn.states[step] = StepState(TaskStatus(gone[0]))
                else:  # a worker was faster: it runs, and the run waits for it
                    turn.states[step] = StepState(TaskStatus.RUNNING, turn.states[step].since)


_CRASHED = Decision()


@dataclass(slots=True)
class _Outcome(Changes):
    """What a batch writes, and what it does to runs that are not of the batch."""

    children: list[NewRun] = field(default_factory=list)
    orphans: list[UUID] = field(default_factory=list)
    freed: dict[UUID, str] = field(default_factory=dict)
    ended: list[tuple[_Turn, str, Any]] = field(default_factory=list)

    def end(self, turn: _Turn, status: RunStatus, outputs: Any, error: Any) -> None:
        run = turn.loaded
        self.finish.append((run.id, run.flow_id, status, run.began or run.now, outputs, error))
        self.ended.append((turn, status, error))
        if run.parent:
            self.wake.append(run.parent)
        if turn.slot:
            self.freed[run.id] = turn.slot


def _errors(turn: _Turn) -> dict[str, Exception | None]:
    return {step: answer if isinstance(answer, Invalid) else None for step, answer in turn.answers.items()}


def _orphans(turn: _Turn) -> list[UUID]:
    """Children whose waiting step is over without their word."""
    over = {item.step for item in turn.decision.settle}
    unheard = [item for item in turn.wakeups if item.step in over and _is_unheard(turn.fired.get(item.step))]
    return queue.awaited(item.reads for item in unheard)


def _is_unheard(arrived: Any) -> bool:
    return isinstance(arrived, dict) and "status" in arrived and arrived["status"] is None


def _turn(run: Loaded, compiled: Compiled, wakeups: list[WakeUp], arrived: Mapping[tuple[UUID, str], Any]) -> _Turn:
    states = {
        step: StepState(TaskStatus(status), since, error=error) for step, (status, error, since) in run.states.items()
    }
    fired: dict[str, Any] = {}
    for item in wakeups:
        if item.step not in (queue.CREATED, queue.CANCEL) and item.step not in states:
            fired[item.step] = arrived.get((run.id, item.step))  # no result and no longer queued: a timer that was due
            states[item.step] = StepState(TaskStatus.RUNNING, item.queued_at)
    view = RunView(
        id=str(run.id),
        flow=compiled.flow,
        version=compiled.number,
        attempt=run.attempt,
        trigger=run.trigger,
        scheduled_for=run.scheduled_for,
        created_at=run.created_at,
        inputs=run.inputs,
        vars=compiled.variables,
        cancelled=any(item.step == queue.CANCEL for item in wakeups),
        resumed=run.resumed,
    )
    return _Turn(run, compiled, view, states, fired, wakeups)


def _collect(turn: _Turn, plan: Plan, decision: Decision, changes: _Outcome) -> None:
    run = turn.loaded
    known = {item.step: item.reads for item in turn.wakeups}
    for start in decision.start:
        given = () if start.item is None else (queue.ITEM, dumps(start.item))
        reads = queue.SEPARATOR.join((*given, *start.reads))
        changes.enqueue.append((run.id, start.step, plan.step(start.step).queue, None, run.version_id, reads))
    for timer in decision.wait:
        reads = _reads_of(timer, known.get(timer.step, ()))
        changes.enqueue.append((run.id, timer.step, queue.ADVANCE, timer.until, run.version_id, reads))
    for child in decision.call:
        made = turn.answers[child.step]
        assert isinstance(made, Resolved)  # the engine calls what was answered so
        new = made.new_run(run, child.step)
        changes.children.append(new)
        waits, until = ("wait", FOREVER) if child.call.wait else ("nowait", None)
        reads = queue.SEPARATOR.join((queue.CHILD, str(new.id), waits))
        changes.enqueue.append((run.id, child.step, queue.ADVANCE, until, run.version_id, reads))
    for item in decision.settle:
        changes.settle.append((run.id, item.step, item.status, item.since or run.now, item.outputs, item.error))
    if result := decision.result:
        changes.end(turn, result.status, result.outputs, result.error)


def _reads_of(timer: Timer, known: Sequence[str]) -> str:
    """What the row of a waiting step says beside its time: what it said before, or what it asks of whom."""
    if known:
        return queue.SEPARATOR.join(known)
    return "" if timer.note is None else queue.SEPARATOR.join((queue.APPROVAL, timer.note))
