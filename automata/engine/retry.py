"""Whether a failed attempt is tried again, and after how long. The caller brings the dice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from automata.flow.model import RetryPolicy

# A year: later than any sane retry, and far from where adding it to a timestamp would overflow.
MAX_DELAY_MS = 366 * 24 * 3600 * 1000
# 2**40 ms is 34 years, so a higher power is over every cap; without the bound attempt 10,000 builds a huge integer.
MAX_POWER = 40


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in one attempt. `retryable` is for failures without a status: network errors, timeouts."""

    message: str
    code: str
    status: int | None = None
    retryable: bool = False
    retry_after_ms: int | None = None


def next_attempt_ms(policy: RetryPolicy, attempt: int, failure: Failure, random: Callable[[], float]) -> int | None:
    """Milliseconds until the next attempt, or None to give up.

    `attempt` is the one that just failed, counted from 1; `random` gives floats in [0, 1).
    """
    if attempt >= policy.max_attempts or not _worth_retrying(policy, failure):
        return None
    cap = _clamp(policy.max_delay_ms, MAX_DELAY_MS)
    delay = _clamp(_backoff_ms(policy, max(attempt, 1)), cap)
    if policy.jitter == "full":
        delay = int(random() * delay)
    return max(delay, _clamp(failure.retry_after_ms or 0, cap))


def _worth_retrying(policy: RetryPolicy, failure: Failure) -> bool:
    return failure.retryable or failure.status in policy.on_status


def _backoff_ms(policy: RetryPolicy, attempt: int) -> int:
    if policy.backoff == "fixed":
        return policy.initial_delay_ms
    if policy.backoff == "linear":
        return policy.initial_delay_ms * attempt
    return int(policy.initial_delay_ms * 2 ** min(attempt - 1, MAX_POWER))


def _clamp(value: int, cap: int) -> int:
    return max(0, min(value, cap))
