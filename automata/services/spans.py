"""The spans of runs and of attempts of steps, and the header that hands the trace on to services that are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from time import time
from typing import Any
from uuid import UUID

from automata.services.plan_cache import CompiledVersion
from automata.steps.contract import HttpRequest, HttpResponse, Outcome, Transport
from automata.store.new_runs import NewRun
from automata.store.orchestrator_queue import RunSnapshot
from automata.store.worker_queue import Claim
from automata.tracing import HEADER, SpanIds, Tracing, attempt_span, run_span


@dataclass(frozen=True, slots=True)
class TracedTransport:
    """Adds the trace's header to requests; a flow that writes the header itself is left alone."""

    transport: Transport
    span: SpanIds

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Send `request` with the header. Raises as the transport does."""
        if request.header(HEADER) is None:
            request = replace(request, headers=(*request.headers, (HEADER, self.span.header())))
        return await self.transport.send(request)


def attempt_span_of(tracing: Tracing, claim: Claim) -> SpanIds:
    """The span of the attempt that was claimed."""
    run = claim.run
    return attempt_span(run_span(run.id, run.attempt, run.traceparent, tracing.ratio), claim.fence)


def with_parent_trace(tracing: Tracing, child: NewRun, parents: Mapping[UUID, RunSnapshot]) -> NewRun:
    """`child` as a run in the trace of its parent."""
    if child.parent_run_id is None:
        return child
    parent = parents[child.parent_run_id]
    header = run_span(parent.id, parent.attempt, parent.traceparent, tracing.ratio).header()
    return replace(child, traceparent=header)


def send_attempt_span(
    tracing: Tracing, claim: Claim, compiled: CompiledVersion, outcome: Outcome, seconds: float
) -> None:
    """The span of an attempt that took `seconds` and is over now."""
    now = time()
    step = compiled.plan.step(claim.step) if compiled.plan else None
    facts = {
        "automata.step": claim.step,
        "automata.step.type": step.type if step else None,
        "automata.attempt": claim.attempt,
        **_of_run(str(claim.run.id), compiled, claim.run.trigger),
    }
    error = outcome.failure.code if outcome.failure else None
    tracing.ended(attempt_span_of(tracing, claim), f"step {claim.step}", now - seconds, now, facts, error)


def send_run_span(
    tracing: Tracing, run: RunSnapshot, compiled: CompiledVersion, status: str, began: datetime, error: Any
) -> None:
    """The span of a run that ended; `error` is its JSON, if it has one."""
    facts = {"automata.run.status": status, **_of_run(str(run.id), compiled, run.trigger)}
    span = run_span(run.id, run.attempt, run.traceparent, tracing.ratio)
    code = str((error or {}).get("code", "failed")) if status == "FAILED" else None
    tracing.ended(span, f"run {compiled.flow}", began, run.now, facts, code)


def _of_run(id: str, compiled: CompiledVersion, trigger: str) -> dict[str, Any]:
    return {
        "automata.run": id,
        "automata.flow": compiled.flow,
        "automata.version": compiled.number,
        "automata.trigger": trigger,
    }
