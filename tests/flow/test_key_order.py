"""The order of keys makes a version where it is sent on, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from automata.flow.changes import changes
from automata.flow.model import content_hash


def flow(**more: Any) -> dict[str, Any]:
    return {"name": "f", "steps": [{"id": "a", "type": "http", "config": {"url": "https://erp.test"}}], **more}


def http(**config: Any) -> dict[str, Any]:
    return flow(steps=[{"id": "a", "type": "http", "config": {"url": "https://erp.test", **config}}])


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(item) for item in value] if isinstance(value, list) else value


PAIR = {"zeta": 1, "a": 2}
STEP = {"id": "s", "type": "transform", "config": {"mappings": {"zeta": 1, "a": 2}}}


@pytest.mark.parametrize(
    "spec",
    [
        http(body=PAIR),
        http(body=[{"deep": PAIR}]),
        http(form=PAIR),
        http(query=PAIR),
        http(headers={"Zed": "1", "A": "2"}),
        flow(steps=[STEP]),
        flow(on_failure=STEP),
        flow(steps=[{"id": "p", "type": "parallel", "branches": [{"id": "b", "steps": [STEP]}]}]),
        flow(steps=[{**STEP, "foreach": [PAIR]}]),
        flow(steps=[{**STEP, "outputs": {"zeta": "1", "a": "2"}}]),
        flow(outputs={"zeta": "1", "a": "2"}),
        flow(inputs={"x": {"type": "object", "default": PAIR}}),
        flow(schedules=[{"name": "n", "interval_sec": 60, "inputs": {"x": PAIR}}]),
        flow(webhooks=[{"name": "n", "secret": "S", "inputs": PAIR}]),
    ],
)
def test_keys_that_are_sent_in_another_order_are_another_version(spec: dict[str, Any]) -> None:
    assert content_hash(spec) != content_hash(reordered(spec))
    told = changes(spec, reordered(spec))
    assert {change.kind for change in told} == {"behaviour"}
    assert all("another order" in change.message for change in told)


def test_keys_of_a_variable_are_sent_on_too() -> None:
    variables: tuple[Any, Any] = ({"x": {"zeta": 1, "a": 2}}, {"x": {"a": 2, "zeta": 1}})
    assert content_hash(flow(), variables[0]) != content_hash(flow(), variables[1])
    (told,) = changes(flow(), flow(), variables)
    assert told.path == "vars.x"


@pytest.mark.parametrize(
    "spec",
    [
        flow(),
        http(method="POST", verify_tls=False, body={"a": 1}),
        flow(labels={"zeta": "1", "a": "2"}),
        flow(defaults={"timeout_sec": 5, "retry": {"max_attempts": 2, "backoff": "fixed"}}),
        flow(inputs={"zeta": {"type": "string", "required": True}, "a": {}}),
    ],
)
def test_any_other_order_of_keys_says_nothing(spec: dict[str, Any]) -> None:
    assert content_hash(spec) == content_hash(reordered(spec))
    assert changes(spec, reordered(spec)) == []


def test_a_flow_that_was_stored_in_the_order_it_is_written_in_keeps_its_version() -> None:
    spec = http(body={"a": 1, "bb": 2, "zeta": {"x": 1, "y": 2}}, query={"n": 1, "page": 2})
    assert content_hash(spec) == "a865c60b985b03797c9e1882409c1115681b4906f5e305aa54811008ac64d81b"
