"""Cases and flows that would never end, or that make no sense: each is told what is wrong, and soon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from automata.sandbox.case_runner import CaseResult
from automata.sandbox.pool import run_cases
from tests.costs import processor_sec
from tests.sandbox.test_case_runner import IMPORT, ORDERS, cases, problems, rehearse

SOON_SEC = 40.0  # of processor time; without an end each would take hours
FLAKY = {
    "id": "flaky",
    "type": "http",
    "config": {"url": "https://crm.example.com/orders"},
    "retry": {"max_attempts": 100, "initial_delay_ms": 1000, "max_delay_ms": 86_400_000, "backoff": "exponential"},
}
DOWN = {**ORDERS, "responses": [{"status": 503}]}


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    began = processor_sec()
    yield
    assert processor_sec() - began < SOON_SEC


def call(flow: str) -> dict[str, Any]:
    return {"id": "call", "type": "flow", "config": {"flow": flow}}


def transform(text: str) -> dict[str, Any]:
    return {"id": "bomb", "type": "transform", "config": {"mappings": {"x": text}}}


def error_of(result: CaseResult) -> str:
    return f"{(result.error or {}).get('code')} {(result.error or {}).get('message')} {result.steps}"


def test_a_case_of_a_flow_that_is_not_there_is_told() -> None:
    (made,) = cases({"mocks": [IMPORT]})
    (result,) = run_cases([made], {}, 1)
    assert problems(result) == "flow: there is no flow `orders`"


@pytest.mark.parametrize("others", [{}, {"b": {"name": "b", "steps": [call("orders")]}}], ids=["itself", "through b"])
def test_a_flow_that_calls_itself_comes_to_an_end(others: dict[str, Any]) -> None:
    result = rehearse({"expect": {"status": "SUCCEEDED"}}, call("b" if others else "orders"), others=others)
    assert not result.passed
    assert "deep" in error_of(result)


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 100000000000 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ range(10 ** 12) | list | length }}",
    ],
)
def test_a_template_that_would_take_for_ever_fails_its_step(text: str) -> None:
    result = rehearse({"expect": {"status": "SUCCEEDED"}}, transform(text))
    assert not result.passed
    assert result.status in ("FAILED", "")
    assert result.error or result.problems


def test_a_hundred_attempts_over_months_of_waiting_take_moments() -> None:
    result = rehearse({"mocks": [DOWN], "expect": {"status": "FAILED"}}, FLAKY)
    assert result.passed, problems(result)
    assert result.steps["flaky"]["attempts"] == 100
    assert result.elapsed_sec > 86_400


def test_a_delay_beyond_the_end_of_the_calendar_is_told() -> None:
    wait = {"id": "wait", "type": "delay", "config": {"until": "{{ inputs.at }}"}}
    result = rehearse(
        {"inputs": {"at": "9999-12-31T23:59:59Z"}, "expect": {"status": "SUCCEEDED"}}, wait, inputs={"at": {}}
    )
    assert not result.passed
    assert problems(result)
