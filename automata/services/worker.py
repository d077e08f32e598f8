"""The worker: claims tasks for its free slots, runs them, hands the outcomes in together.

Failure argument. A claim is committed before the call and the result after it, so a worker that dies leaves a lease
that runs out, and the call is made again (at least once). A worker that cannot renew stops the call before the lease
ends, and a result that comes late is refused by its fence (accepted exactly once). Outcomes that the database cannot
take now are kept and offered again while their leases are renewed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from automata.broker.contract import TASKS_COMPLETED, Broker, tasks_ready
from automata.engine.advance import RunView, task_context
from automata.engine.retry import Failure, next_attempt_ms
from automata.engine.states import TaskStatus
from automata.errors import AutomataError, Unavailable
from automata.flow.plan import ExecutionPlan
from automata.services import spans, tally
from automata.services.leases import Leases
from automata.services.plans import Compiled, Plans
from automata.settings import Settings
from automata.steps.attempt_log import AttemptLog, LoggedTransport
from automata.steps.contract import Outcome, StepContext, StepType, Transport
from automata.steps.egress import HttpTransport
from automata.steps.execute import error_of, execute_step
from automata.steps.recording import RecordingTransport
from automata.steps.secrets import Secrets
from automata.store import recordings, tasklogs, tasks
from automata.store.database import Connection, Database
from automata.store.queue import next_due
from automata.store.recordings import Kept
from automata.store.tasklogs import TaskLog
from automata.store.tasks import Claim, Result, Retry, new_fence
from automata.telemetry import RESULTS_LATE, SLOTS, SLOTS_BUSY
from automata.tracing import Tracing

log = logging.getLogger(__name__)

BUSY_PAUSE_SEC = 0.005  # another worker is claiming the very rows that are ready
MAX_LOSSES = 5  # workers that one task may take down before it is called poison
OFFER_AGAIN_SEC = 0.5
HAND_IN_LOOPS = 2  # one computes while the other waits for the disk
QUICK_SEC = 0.02  # a call that others may wait for without anybody noticing
PACE_SHARE = 0.05  # of the last call in the pace
MAX_BATCHES = 4  # of outcomes that wait to be handed in


Finish = Callable[[Sequence[Result], Callable[[Connection], Awaitable[None]]], Awaitable[set[tuple[UUID, str]]]]


class Worker:
    def __init__(
        self,
        db: Database,
        broker: Broker,
        plans: Plans,
        types: Mapping[str, StepType],
        transport: HttpTransport,
        settings: Settings,
        *,
        secrets: Secrets | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self._db = db
        self._broker = broker
        self._plans = plans
        self._types = types
        self._transport = transport
        self._settings = settings
        self._lanes = list(settings.queues)
        self._secrets = secrets or Secrets()
        self._tracing = tracing
        self._leases = Leases(db, settings)
        self._held = self._leases.held
        self._done: list[Result | Retry] = []
        self._kept: dict[UUID, Kept] = {}  # by fence: what a recorded attempt goes into the database with
        self._logs: dict[UUID, TaskLog] = {}  # by fence: what an attempt said
        self._handing_in = asyncio.Event()
        self._flushing = asyncio.Semaphore(HAND_IN_LOOPS)
        self._freed = asyncio.Event()
        # What an orchestrator of this process may hand over (services/handover.py).
        self._finish: Finish | None = None
        self._reserved = 0
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._pace_sec = 1.0  # what a call takes of late
        self._handing = 0  # outcomes in batches that are being committed
        self._behind = set(self._lanes)  # lanes where older work may wait in the database
        self._taking = False  # new work, from the database and by hand
        self._open = False  # somebody renews leases and hands outcomes in
        SLOTS.set(settings.concurrency)
        SLOTS_BUSY.set_function(lambda: min(settings.concurrency, len(self._held) - len(self._done) - self._handing))

    def join(self, finish: Finish) -> None:
        """Hand outcomes in through the orchestrator of this process: accepted and advanced at once."""
        self._finish = finish

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then drain: claim nothing, finish within `drain_sec`, give the rest back."""
        try:
            async with asyncio.TaskGroup() as group:
                parts = (*[self._hand_in_loop] * HAND_IN_LOOPS, self._leases.heartbeat, self._leases.watch)
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

    # -- what the orchestrator of this process hands over -----------------------------------------------------------

    @property
    def lease_sec(self) -> float:
        return self._settings.lease_sec

    def reserve(self, lane: str) -> UUID | None:
        """A slot and the fence for it; None when there is no slot, or older work of the lane waits for one."""
        if not self._taking or lane in self._behind or lane not in self._lanes:
            return None
        if self._free() <= 0:
            self._behind.add(lane)
            return None
        self._reserved += 1
        return new_fence()

    async def caught_up(self, most_sec: float) -> None:
        """Returns when few outcomes wait to be handed in, or after so many seconds."""
        until = time.monotonic() + most_sec
        while (left := until - time.monotonic()) > 0 and len(self._done) + self._handing > self._settings.batch:
            self._freed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._freed.wait(), left)

    def give_back(self, slots: int) -> None:
        self._reserved -= slots
        self._freed.set()

    def begin(self, claims: Sequence[tuple[Claim, Compiled]], asked: float) -> None:
        """Run what was claimed since `asked` (monotonic), each in a slot that was reserved for it.

        A worker whose loops are gone renews no leases: it starts nothing, and these run out.
        """
        if self._open:
            tally.claimed([claim for claim, _ in claims])
            for claim, compiled in claims:
                self._start(claim, compiled, asked)
        self.give_back(len(claims))

    def _free(self) -> int:
        """Tasks that may be taken on. While the database takes no outcomes they pile up here only so far.

        Quick calls have the next batch at hand, so that nobody waits for a slot that is free again before the commit.
        """
        ended = len(self._done) + self._handing
        ahead = self._settings.batch if self._pace_sec < QUICK_SEC else 0
        room = self._settings.concurrency + ahead - (len(self._held) - ended)
        return min(room, MAX_BATCHES * self._settings.batch - ended) - self._reserved

    def _start(self, claim: Claim, compiled: Compiled, asked: float) -> None:
        self._leases.hold(claim, asyncio.create_task(self._execute(claim, compiled)), asked)

    # -- claiming ------------------------------------------------------------------------------------------------

    async def _claim_loop(self, stop: asyncio.Event) -> None:
        with self._broker.listen(*map(tasks_ready, self._lanes)) as bell:
            while not stop.is_set():
                free = self._free()
                if free <= 0:
                    self._freed.clear()
                    await _either(self._freed, stop)
                    continue
                try:
                    claimed = await self._claim(min(free, self._settings.batch))
                    bell.done(found=claimed > 0)
                    pause = 0 if claimed else await self._until_due()
                except AutomataError as error:
                    log.warning("worker: %s", error)
                    pause = 1.0
                if pause and not stop.is_set():
                    await bell.wait(pause)

    async def _claim(self, limit: int) -> int:
        asked = time.monotonic()
        async with self._db.connection() as conn:
            claims = await self._claim_from_lanes(conn, limit)
        if claims:
            tally.claimed(claims)
            plans = await self._plans.get({claim.version_id for claim in claims})
            for claim in claims:
                self._start(claim, plans[claim.version_id], asked)
        return len(claims)

    async def _claim_from_lanes(self, conn: Connection, limit: int) -> list[Claim]:
        """Lane by lane, so that each is walked in its own index order; whoever was first is last the next time."""
        claims: list[Claim] = []
        self._lanes.append(self._lanes.pop(0))
        for lane in self._lanes:
            if not (left := limit - len(claims)):
                break
            found = await tasks.claim(conn, lane, left, self._settings.lease_sec, self.name)
            (self._behind.discard if len(found) < left else self._behind.add)(lane)
            claims += found
        return claims

    async def _until_due(self) -> float:
        async with self._db.connection() as conn:
            moments = [due for lane in self._lanes if (due := await next_due(conn, lane)) is not None]
        poll = self._settings.poll_sec
        return min(max(min(moments, default=poll), BUSY_PAUSE_SEC), poll)

    # -- executing -----------------------------------------------------------------------------------------------

    async def _execute(self, claim: Claim, compiled: Compiled) -> None:
        said, began = AttemptLog(self._secrets.mask), time.monotonic()
        try:
            async with self._slots:
                began = time.monotonic()  # a call that waits for its slot is not slow
                outcome, policy = await self._outcome(claim, compiled, said)
                self._pace_sec += (time.monotonic() - began - self._pace_sec) * PACE_SHARE
        except asyncio.CancelledError:
            self._held.pop(claim.fence, None)
            self._kept.pop(claim.fence, None)
            self._freed.set()
            return
        delay = None
        if outcome.failure and policy:
            delay = next_attempt_ms(policy, claim.attempt - claim.earlier, outcome.failure, random.random)
        said.end(outcome.failure, delay)
        tally.attempted(claim, compiled, outcome, delay, began)
        if self._tracing:
            spans.attempted(self._tracing, claim, compiled, outcome, time.monotonic() - began)
        if outcome.failure:
            _tell(claim, outcome.failure, delay)
        if said:
            self._logs[claim.fence] = TaskLog(claim.run.id, claim.step, claim.attempt, said.text())
        self._done.append(_verdict(claim, outcome, delay))
        self._handing_in.set()
        self._freed.set()

    async def _outcome(self, claim: Claim, compiled: Compiled, said: AttemptLog) -> tuple[Outcome, Any]:
        if compiled.plan is None:
            return Outcome(failure=Failure(str(compiled.error), "bad_version")), None
        step = compiled.plan.step(claim.step)
        if claim.losses > MAX_LOSSES:
            reason = f"{claim.losses} workers were lost while they ran this step"
            return Outcome(failure=Failure(reason, "worker_lost")), None
        step_type = self._types.get(step.type)
        if step_type is None:
            return Outcome(failure=Failure(f"step type {step.type!r} is not installed here", "unknown_type")), None
        view = _view(claim, compiled)
        context = task_context(compiled.plan, view, claim.step, claim.reads, claim.attempt, claim.now, claim.item)
        transport: Transport = self._transport
        if (egress := compiled.plan.egress) is not None:
            transport = self._transport.narrowed(egress.allow, egress.deny)
        if self._tracing:
            transport = spans.TracedTransport(transport, spans.place_of(self._tracing, claim))
        recorder = RecordingTransport(transport) if compiled.plan.recording else None
        call = StepContext(
            run_id=view.id,
            step=claim.step,
            attempt=claim.attempt,
            timeout_sec=step.timeout_sec,
            idempotency_key=f"{view.id}:{claim.step}",
            transport=LoggedTransport(recorder or transport, said, self._secrets.mask),
            log=said.say,
            mask=self._secrets.mask,
        )
        if step.reads_secrets:
            try:
                context["secrets"] = await self._secrets.read(step.secrets)
            except AutomataError as error:
                return Outcome(failure=Failure(str(error), error.code, retryable=True)), step.retry
        outcome = await execute_step(step_type, step, context, call)
        if recorder and recorder.seen:
            self._kept[claim.fence] = self._keep(claim, compiled.plan, recorder)
        return outcome, step.retry

    def _keep(self, claim: Claim, plan: ExecutionPlan, recorder: RecordingTransport) -> Kept:
        inputs = {name: claim.run.inputs.get(name) for name, given in plan.inputs.items() if given.secret}
        mask = self._secrets.mask_with(value for value in inputs.values() if isinstance(value, str))
        fields = plan.recording.fields if plan.recording else ()
        return Kept(claim.run.id, claim.step, claim.attempt, recorder.exchanges(mask, fields))

    # -- handing in ----------------------------------------------------------------------------------------------

    async def _hand_in_loop(self) -> None:
        while True:
            await self._handing_in.wait()
            if len(self._done) <= max(1, self._settings.batch // HAND_IN_LOOPS):
                self._handing_in.clear()
            await self._flush()

    async def _flush(self) -> None:
        """While one batch is being committed the next one gathers: the batch size follows the load by itself."""
        most = max(1, self._settings.batch // HAND_IN_LOOPS)
        async with self._flushing:
            while self._done:
                batch, self._done = self._done[:most], self._done[most:]
                self._handing += len(batch)
                try:
                    await self._hand_in(batch)
                    self._handing -= len(batch)
                except Unavailable as error:
                    # The leases are renewed meanwhile, so offering the outcomes again is safe. A lost reply is safe
                    # too: what was accepted has no fence any more.
                    log.warning("worker: %d outcomes wait: %s", len(batch), error)
                    self._handing -= len(batch)
                    self._done[:0] = batch
                    await asyncio.sleep(OFFER_AGAIN_SEC)

    async def _hand_in(self, batch: list[Result | Retry]) -> None:
        try:
            await self._commit(batch)
        except Unavailable:
            raise
        except AutomataError as error:
            await self._hand_in_apart(batch, error)
            return
        for item in batch:
            self._held.pop(item.fence, None)
        self._freed.set()

    async def _hand_in_apart(self, batch: list[Result | Retry], error: AutomataError) -> None:
        """The database refuses something in the batch for good: find it by halves, and fail that step alone."""
        if len(batch) > 1:
            await self._hand_in(batch[: len(batch) // 2])
            await self._hand_in(batch[len(batch) // 2 :])
            return
        item = batch[0]
        self._kept.pop(item.fence, None)
        self._logs.pop(item.fence, None)
        reason = {"code": "not_storable", "message": f"the database refused the outcome: {error.message}"}
        await self._commit([Result(item.run_id, item.step, item.fence, TaskStatus.FAILED, None, reason)])
        self._held.pop(item.fence, None)
        self._freed.set()

    async def _commit(self, batch: list[Result | Retry]) -> None:
        results = [item for item in batch if isinstance(item, Result)]
        retries = [item for item in batch if isinstance(item, Retry)]

        also = partial(self._write_rest, batch, retries)
        accepted = await self._advanced(results, also)
        if accepted is None:
            async with self._db.transaction() as conn:
                accepted = await tasks.complete(conn, results) if results else set()
                await also(conn)
            if accepted:
                self._broker.ring(TASKS_COMPLETED)
        for item in batch:
            self._kept.pop(item.fence, None)
            self._logs.pop(item.fence, None)
        if refused := len(results) - len(accepted):
            log.info("worker: %d late results refused", refused)
            RESULTS_LATE.inc(refused)
        if retries:
            for lane in self._lanes:
                self._broker.ring(tasks_ready(lane))

    async def _write_rest(self, batch: list[Result | Retry], retries: list[Retry], conn: Connection) -> None:
        """What belongs to outcomes beside the results."""
        if retries:
            await tasks.retry(conn, retries)
        if self._kept:
            # Of a late result too: the call was made, and a replay may need its answer.
            await recordings.keep(conn, [self._kept[item.fence] for item in batch if item.fence in self._kept])
        if self._logs:
            await tasklogs.keep(conn, [self._logs[item.fence] for item in batch if item.fence in self._logs])

    async def _advanced(
        self, results: Sequence[Result], also: Callable[[Connection], Awaitable[None]]
    ) -> set[tuple[UUID, str]] | None:
        """The accepted ones when the orchestrator of this process took them, and their runs a step further.

        None when there is no such orchestrator, or the batch is too much for it: results must not wait for what else
        may be wrong with a run.
        """
        if self._finish is None or not results:
            return None
        try:
            return await self._finish(results, also)
        except Unavailable:
            raise
        except Exception:
            log.exception("worker: %d results are handed in without advancing their runs", len(results))
            return None

    # -- leaving -------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Finish what finishes in time; what does not is given back at once instead of when its lease ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_sec):
                while self._held or self._reserved:
                    self._freed.clear()
                    if self._reserved:  # a batch that is being committed hands them over, or gives them back
                        await self._freed.wait()
                        continue
                    await asyncio.wait([item.call for item in self._held.values()])
                    await self._flush()
        if self._held:
            await self._release()

    async def _release(self) -> None:
        rest = [item for item in self._held.values() if not item.call.done()]
        for item in rest:
            item.call.cancel()
        if rest:
            rows = [(item.claim.run.id, item.claim.step, item.claim.fence) for item in rest]
            try:
                async with self._db.connection() as conn:
                    await tasks.release(conn, rows)
            except AutomataError as error:
                log.warning("worker: %d tasks are not given back, their leases run out: %s", len(rows), error)

    def _abandon(self) -> None:
        """What is still under way when the loops are gone has nobody to renew its lease: end it."""
        for item in self._held.values():
            item.call.cancel()
        self._held.clear()
        self._done.clear()
        self._handing = 0
        self._kept.clear()
        self._logs.clear()


def _view(claim: Claim, compiled: Compiled) -> RunView:
    run = claim.run
    return RunView(
        id=str(run.id),
        flow=compiled.flow,
        version=compiled.number,
        attempt=run.attempt,
        trigger=run.trigger,
        scheduled_for=run.scheduled_for,
        created_at=run.created_at,
        inputs=run.inputs,
        vars=compiled.variables,
        cancelled=False,
    )


def _verdict(claim: Claim, outcome: Outcome, delay_ms: int | None) -> Result | Retry:
    if outcome.failure is None:
        encoded = outcome.encoded.decode() if outcome.encoded else None
        return Result(claim.run.id, claim.step, claim.fence, TaskStatus.SUCCEEDED, encoded, None, claim.known)
    error = error_of(claim.step, outcome)
    if delay_ms is not None:
        return Retry(claim.run.id, claim.step, claim.fence, delay_ms, error)
    return Result(claim.run.id, claim.step, claim.fence, TaskStatus.FAILED, None, error, claim.known)


def _tell(claim: Claim, failure: Failure, delay_ms: int | None) -> None:
    level, what = (logging.WARNING, "for good") if delay_ms is None else (logging.INFO, f"again in {delay_ms} ms")
    facts = {"run_id": str(claim.run.id), "step": claim.step, "attempt": claim.attempt, "code": failure.code}
    log.log(level, "an attempt failed, %s: %s", what, failure.message, extra=facts)


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
