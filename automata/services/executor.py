"""The executor: one attempt of a step, from its claim to what shall be written of it.

It renders the step's input, makes the call, and decides whether the step is tried again. It knows no slots, no leases
and no database: a worker that dies here leaves a lease that runs out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from automata.engine.advance import RunView, task_context
from automata.engine.retry import Failure, next_attempt_ms
from automata.engine.states import TaskStatus
from automata.errors import AutomataError
from automata.flow.model import RetryPolicy
from automata.flow.plan import ExecutionPlan, PlanStep, item_of
from automata.services import spans, worker_metrics
from automata.services.plan_cache import CompiledVersion
from automata.steps.attempt_log import AttemptLog, LoggedTransport
from automata.steps.contract import Outcome, StepContext, StepType, Transport
from automata.steps.egress import HttpTransport
from automata.steps.execute import error_of, execute_step
from automata.steps.recording import RecordingTransport
from automata.steps.secrets import Secrets
from automata.store.recordings import Recording
from automata.store.task_logs import TaskLog
from automata.store.worker_queue import Claim, TaskResult, TaskRetry
from automata.tracing import Tracing

log = logging.getLogger(__name__)

MAX_LOSSES = 5  # workers that one task may take down before it is called poison


@dataclass(slots=True)
class FinishedAttempt:
    """What an attempt leaves for the database: its verdict, and beside it its recording and its log, if it has any."""

    verdict: TaskResult | TaskRetry
    recording: Recording | None = None
    log: TaskLog | None = None


@dataclass(slots=True)
class _Attempt:
    """An attempt that is being made. `retry` is None until it is known that the step can be executed here at all;
    `recorder` is set once the call is prepared, where the flow records.
    """

    claim: Claim
    compiled: CompiledVersion
    log: AttemptLog
    retry: RetryPolicy | None = None
    recorder: RecordingTransport | None = None


class Executor:
    """Runs attempts, any number side by side. `types` are the step types that are installed, by name."""

    def __init__(
        self,
        types: Mapping[str, StepType],
        transport: HttpTransport,
        secrets: Secrets | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._types = types
        self._transport = transport
        self._secrets = secrets or Secrets()
        self._tracing = tracing

    async def run(self, claim: Claim, compiled: CompiledVersion) -> FinishedAttempt:
        """Make the attempt. Raises nothing but CancelledError: what goes wrong is in the verdict."""
        began = time.monotonic()
        attempt = _Attempt(claim, compiled, AttemptLog(self._secrets.mask))
        outcome = await self._execute(attempt)
        delay_ms = None
        if outcome.failure and attempt.retry:
            delay_ms = next_attempt_ms(attempt.retry, claim.attempt - claim.earlier, outcome.failure, random.random)
        attempt.log.end(outcome.failure, delay_ms)
        worker_metrics.count_attempt(claim, compiled, outcome, delay_ms, began)
        if self._tracing:
            spans.send_attempt_span(self._tracing, claim, compiled, outcome, time.monotonic() - began)
        if outcome.failure:
            _log_failure(claim, outcome.failure, delay_ms)
        verdict = _verdict(claim, outcome, delay_ms, letter=not _is_contained(claim, compiled))
        return FinishedAttempt(verdict, self._recording(attempt), _task_log(attempt))

    async def _execute(self, attempt: _Attempt) -> Outcome:
        claim, compiled = attempt.claim, attempt.compiled
        if compiled.plan is None:
            return Outcome(failure=Failure(str(compiled.error), "bad_version"))
        step = compiled.plan.step(claim.step)
        if claim.losses > MAX_LOSSES:
            reason = f"{claim.losses} workers were lost while they ran this step"
            return Outcome(failure=Failure(reason, "worker_lost"))
        step_type = self._types.get(step.type)
        if step_type is None:
            return Outcome(failure=Failure(f"step type {step.type!r} is not installed here", "unknown_type"))
        attempt.retry = step.retry
        view = _view(claim, compiled)
        context = task_context(compiled.plan, view, claim.step, claim.reads, claim.attempt, claim.now, claim.item)
        call = self._step_context(attempt, compiled.plan, step)
        if step.reads_secrets:
            try:
                context["secrets"] = await self._secrets.read(step.secrets)
            except AutomataError as error:
                return Outcome(failure=Failure(str(error), error.code, retryable=True))
        return await execute_step(step_type, step, context, call)

    def _step_context(self, attempt: _Attempt, plan: ExecutionPlan, step: PlanStep) -> StepContext:
        """What the step type gets: its identity, and a transport that narrows, traces, records and logs."""
        claim, mask = attempt.claim, self._secrets.mask
        transport: Transport = self._transport
        if (egress := plan.egress) is not None:
            transport = self._transport.narrowed(egress.allow, egress.deny)
        if self._tracing:
            transport = spans.TracedTransport(transport, spans.attempt_span_of(self._tracing, claim))
        if plan.recording:
            transport = attempt.recorder = RecordingTransport(transport)
        run_id = str(claim.run.id)
        return StepContext(
            run_id=run_id,
            step=claim.step,
            attempt=claim.attempt,
            timeout_sec=step.timeout_sec,
            idempotency_key=f"{run_id}:{claim.step}" + _key_suffix(claim),
            transport=LoggedTransport(transport, attempt.log, mask),
            log=attempt.log.say,
            mask=mask,
        )

    def _recording(self, attempt: _Attempt) -> Recording | None:
        """The exchanges of a recorded attempt, with its secrets and its secret inputs masked."""
        plan, run = attempt.compiled.plan, attempt.claim.run
        if not attempt.recorder or not attempt.recorder.seen or plan is None:
            return None
        inputs = {name: run.inputs.get(name) for name, declared in plan.inputs.items() if declared.secret}
        mask = self._secrets.mask_with(value for value in inputs.values() if isinstance(value, str))
        fields = plan.recording.fields if plan.recording else ()
        exchanges = attempt.recorder.exchanges(mask, fields)
        return Recording(run.id, attempt.claim.step, attempt.claim.attempt, exchanges)


def _task_log(attempt: _Attempt) -> TaskLog | None:
    claim = attempt.claim
    return TaskLog(claim.run.id, claim.step, claim.attempt, attempt.log.text()) if attempt.log else None


def _view(claim: Claim, compiled: CompiledVersion) -> RunView:
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


def _key_suffix(claim: Claim) -> str:
    """A call that a mended version has changed is another one: a service may refuse it under the key of the first."""
    item = item_of(claim.step)
    since = (claim.run.changed or {}).get(item[0] if item else claim.step)
    return f":{since}" if since else ""


def _is_contained(claim: Claim, compiled: CompiledVersion) -> bool:
    """Whether this run, or one above it, goes on when the step has failed."""
    plan = compiled.plan
    return claim.run.contained or (plan is not None and plan.contains_failure_of(claim.step))


def _verdict(claim: Claim, outcome: Outcome, delay_ms: int | None, *, letter: bool) -> TaskResult | TaskRetry:
    run, step, fence = claim.run.id, claim.step, claim.fence
    if outcome.failure is None:
        encoded = outcome.encoded.decode() if outcome.encoded else None
        return TaskResult(run, step, fence, TaskStatus.SUCCEEDED, encoded, None, claim.known, letter)
    error = error_of(step, outcome)
    if delay_ms is not None:
        return TaskRetry(run, step, fence, delay_ms, error)
    return TaskResult(run, step, fence, TaskStatus.FAILED, None, error, claim.known, letter)


def _log_failure(claim: Claim, failure: Failure, delay_ms: int | None) -> None:
    level, what = (logging.WARNING, "for good") if delay_ms is None else (logging.INFO, f"again in {delay_ms} ms")
    facts = {"run_id": str(claim.run.id), "step": claim.step, "attempt": claim.attempt, "code": failure.code}
    log.log(level, "an attempt failed, %s: %s", what, failure.message, extra=facts)
