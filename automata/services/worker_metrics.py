"""What a worker counts: attempts by step type and result, how long they took, leases that other workers lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache

from automata.services.plan_cache import CompiledVersion
from automata.steps.contract import Outcome
from automata.store.worker_queue import Claim
from automata.telemetry import LEASES_LOST, STEP_ATTEMPTS, STEP_SECONDS

UNKNOWN = "unknown"  # a step of a version that does not compile, or of a type that is not installed: not a label's word


def count_claims(claims: Sequence[Claim]) -> None:
    """A claim of a task that another worker had means a lease that was lost."""
    if lost := sum(1 for claim in claims if claim.losses):
        LEASES_LOST.inc(lost)


def count_attempt(
    claim: Claim, compiled: CompiledVersion, outcome: Outcome, delay_ms: int | None, began: float
) -> None:
    """`began` is monotonic; `delay_ms` None: there is no further attempt."""
    code = outcome.failure.code if outcome.failure else None
    known = compiled.plan is not None and code != "unknown_type"
    type = compiled.plan.step(claim.step).type if compiled.plan is not None and known else UNKNOWN
    result = "succeeded" if code is None else "failed" if delay_ms is None else "retried"
    _attempts(type, result).inc()
    _seconds(type).observe(time.monotonic() - began)


# Finding a metric by its labels costs more than counting.
_attempts, _seconds = cache(STEP_ATTEMPTS.labels), cache(STEP_SECONDS.labels)
