"""Retries: what is tried again, when, and that no number breaks the arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automata.engine.retry import MAX_DELAY_MS, Failure, next_attempt_ms
from automata.flow.model import RetryPolicy

NETWORK = Failure("connection reset", "network", retryable=True)


def policy(**values: object) -> RetryPolicy:
    return RetryPolicy(**({"max_attempts": 10, "jitter": "none"} | values))  # type: ignore[arg-type]


def delays(chosen: RetryPolicy, count: int) -> list[int | None]:
    return [next_attempt_ms(chosen, attempt, NETWORK, lambda: 0.5) for attempt in range(1, count + 1)]


def test_fixed_backoff_repeats_the_initial_delay() -> None:
    assert delays(policy(backoff="fixed", initial_delay_ms=200), 3) == [200, 200, 200]


def test_linear_backoff_adds_the_initial_delay_each_time() -> None:
    assert delays(policy(backoff="linear", initial_delay_ms=200), 3) == [200, 400, 600]


def test_exponential_backoff_doubles_and_stops_at_the_cap() -> None:
    assert delays(policy(initial_delay_ms=200, max_delay_ms=1000), 5) == [200, 400, 800, 1000, 1000]


def test_full_jitter_is_uniform_between_zero_and_the_delay() -> None:
    chosen = policy(jitter="full", backoff="fixed", initial_delay_ms=1000)
    assert next_attempt_ms(chosen, 1, NETWORK, lambda: 0.0) == 0
    assert next_attempt_ms(chosen, 1, NETWORK, lambda: 0.25) == 250
    assert next_attempt_ms(chosen, 1, NETWORK, lambda: 0.999) == 999


def test_attempts_are_counted_with_the_first_one() -> None:
    assert delays(policy(max_attempts=3, backoff="fixed", initial_delay_ms=1), 4) == [1, 1, None, None]
    assert delays(RetryPolicy(), 1) == [None]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_the_default_statuses_are_retried(status: int) -> None:
    assert next_attempt_ms(policy(), 1, Failure("", "http_status", status=status), lambda: 0) == 1000


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501, None])
def test_other_statuses_and_failures_without_one_are_final(status: int | None) -> None:
    assert next_attempt_ms(policy(), 1, Failure("", "http_status", status=status), lambda: 0) is None


def test_on_status_replaces_the_list() -> None:
    chosen = policy(on_status=(404,))
    assert next_attempt_ms(chosen, 1, Failure("", "http_status", status=404), lambda: 0) == 1000
    assert next_attempt_ms(chosen, 1, Failure("", "http_status", status=503), lambda: 0) is None


def after(milliseconds: int, **values: object) -> int | None:
    failure = Failure("", "http_status", status=429, retry_after_ms=milliseconds)
    return next_attempt_ms(policy(**values), 1, failure, lambda: 0.5)


def test_retry_after_is_a_minimum() -> None:
    assert after(5000) == 5000
    assert after(10) == 1000
    assert after(5000, jitter="full") == 5000


def test_retry_after_is_capped_by_the_longest_delay() -> None:
    assert after(86_400_000, max_delay_ms=60_000) == 60_000


numbers = st.integers(min_value=-(10**40), max_value=10**40)


@given(
    st.builds(
        RetryPolicy,
        max_attempts=numbers,
        backoff=st.sampled_from(["fixed", "linear", "exponential"]),
        initial_delay_ms=numbers,
        max_delay_ms=numbers,
        jitter=st.sampled_from(["full", "none"]),
    ),
    numbers,
    st.none() | numbers,
    st.floats(min_value=0, max_value=1, exclude_max=True),
)
def test_no_number_breaks_the_arithmetic_or_leaves_the_caps(
    chosen: RetryPolicy, attempt: int, retry_after: int | None, dice: float
) -> None:
    failure = Failure("", "timeout", retryable=True, retry_after_ms=retry_after)
    delay = next_attempt_ms(chosen, attempt, failure, lambda: dice)
    if attempt >= chosen.max_attempts:
        assert delay is None
    else:
        assert delay is not None
        assert 0 <= delay <= min(max(chosen.max_delay_ms, 0), MAX_DELAY_MS)
