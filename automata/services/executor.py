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
from automata.flow.compile import Plan, PlanStep
from automata.flow.model import RetryPolicy
from automata.services import spans, worker_metrics
from automata.services.plan_cache import CompiledVersion
from automata.steps.contract import Outcome, StepContext, StepType, Transport
from automata.steps.egress import HttpTransport
from automata.steps.execute import error_of, execute_step
from automata.steps.recording import RecordingTransport
from automata.steps.said import AttemptLog, LoggedTransport
from automata.steps.secrets import Secrets
from automata.store.recordings import Kept
from automata.store.tasklogs import TaskLog
from automata.store.tasks import Claim, Result, Retry
from automata.tracing import Tracing

log = logging.getLogger(__name__)

MAX_LOSSES = 5  # workers that one task may take down before it is called poison


@dataclass(slots=True)
class FinishedAttempt:
    """What an attempt leaves for the database: its verdict, and beside it its recording and its log, if it has any."""

    verdict: Result | Retry
    recording: Kept | None = None
    log: TaskLog | None = None


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
        began, attempt_log = time.monotonic(), AttemptLog(self._secrets.mask)
        outcome, policy, recording = await self._execute(claim, compiled, attempt_log)
        delay_ms = None
        if outcome.failure and policy:
            delay_ms = next_attempt_ms(policy, claim.attempt - claim.earlier, outcome.failure, random.random)
        attempt_log.end(outcome.failure, delay_ms)
        worker_metrics.count_attempt(claim, compiled, outcome, delay_ms, began)
        if self._tracing:
            spans.send_attempt_span(self._tracing, claim, compiled, outcome, time.monotonic() - began)
        if outcome.failure:
            _log_failure(claim, outcome.failure, delay_ms)
        text = TaskLog(claim.run.id, claim.step, claim.attempt, attempt_log.text()) if attempt_log else None
        return FinishedAttempt(_verdict(claim, outcome, delay_ms), recording, text)

    async def _execute(
        self, claim: Claim, compiled: CompiledVersion, attempt_log: AttemptLog
    ) -> tuple[Outcome, RetryPolicy | None, Kept | None]:
        """The outcome, the policy of its retries (None where the step cannot be executed here), and its recording."""
        if compiled.plan is None:
            return Outcome(failure=Failure(str(compiled.error), "bad_version")), None, None
        step = compiled.plan.step(claim.step)
        if claim.losses > MAX_LOSSES:
            reason = f"{claim.losses} workers were lost while they ran this step"
            return Outcome(failure=Failure(reason, "worker_lost")), None, None
        step_type = self._types.get(step.type)
        if step_type is None:
            reason = f"step type {step.type!r} is not installed here"
            return Outcome(failure=Failure(reason, "unknown_type")), None, None
        view = _view(claim, compiled)
        context = task_context(compiled.plan, view, claim.step, claim.reads, claim.attempt, claim.now, claim.item)
        if step.reads_secrets:
            try:
                context["secrets"] = await self._secrets.read(step.secrets)
            except AutomataError as error:
                return Outcome(failure=Failure(str(error), error.code, retryable=True)), step.retry, None
        transport = self._transport_of(claim, compiled.plan)
        recorder = RecordingTransport(transport) if compiled.plan.recording else None
        logged = LoggedTransport(recorder or transport, attempt_log, self._secrets.mask)
        call = self._step_context(claim, view.id, step, logged, attempt_log)
        outcome = await execute_step(step_type, step, context, call)
        recording = self._recording(claim, compiled.plan, recorder) if recorder and recorder.seen else None
        return outcome, step.retry, recording

    def _transport_of(self, claim: Claim, plan: Plan) -> Transport:
        """The way out, narrowed to what the flow allows, and traced."""
        transport: Transport = self._transport
        if (egress := plan.egress) is not None:
            transport = self._transport.narrowed(egress.allow, egress.deny)
        if self._tracing:
            transport = spans.TracedTransport(transport, spans.attempt_span_of(self._tracing, claim))
        return transport

    def _step_context(
        self, claim: Claim, run_id: str, step: PlanStep, transport: Transport, attempt_log: AttemptLog
    ) -> StepContext:
        return StepContext(
            run_id=run_id,
            step=claim.step,
            attempt=claim.attempt,
            timeout_sec=step.timeout_sec,
            idempotency_key=f"{run_id}:{claim.step}",
            transport=transport,
            log=attempt_log.say,
            mask=self._secrets.mask,
        )

    def _recording(self, claim: Claim, plan: Plan, recorder: RecordingTransport) -> Kept:
        """The exchanges of a recorded attempt, with its secrets and its secret inputs masked."""
        inputs = {name: claim.run.inputs.get(name) for name, declared in plan.inputs.items() if declared.secret}
        mask = self._secrets.mask_with(value for value in inputs.values() if isinstance(value, str))
        fields = plan.recording.fields if plan.recording else ()
        return Kept(claim.run.id, claim.step, claim.attempt, recorder.exchanges(mask, fields))


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


def _verdict(claim: Claim, outcome: Outcome, delay_ms: int | None) -> Result | Retry:
    if outcome.failure is None:
        encoded = outcome.encoded.decode() if outcome.encoded else None
        return Result(claim.run.id, claim.step, claim.fence, TaskStatus.SUCCEEDED, encoded, None, claim.known)
    error = error_of(claim.step, outcome)
    if delay_ms is not None:
        return Retry(claim.run.id, claim.step, claim.fence, delay_ms, error)
    return Result(claim.run.id, claim.step, claim.fence, TaskStatus.FAILED, None, error, claim.known)


def _log_failure(claim: Claim, failure: Failure, delay_ms: int | None) -> None:
    level, what = (logging.WARNING, "for good") if delay_ms is None else (logging.INFO, f"again in {delay_ms} ms")
    facts = {"run_id": str(claim.run.id), "step": claim.step, "attempt": claim.attempt, "code": failure.code}
    log.log(level, "an attempt failed, %s: %s", what, failure.message, extra=facts)
