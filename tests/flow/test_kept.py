"""Which steps a run may keep when it goes on by another version of its flow."""

from __future__ import annotations

from typing import Any

import pytest

from automata.flow.kept import changed_steps, first_changed
from automata.flow.model import Flow

Json = dict[str, Any]
A: Json = {"id": "a", "type": "http", "config": {"url": "https://x.example.com", "body": {"n": 1}}}
INSIDE: Json = {"id": "in", "type": "transform", "config": {"mappings": {"v": 1}}}
GROUP: Json = {"id": "g", "type": "parallel", "branches": [{"id": "b", "steps": [INSIDE]}]}
HANDLER: Json = {"id": "h", "type": "transform", "config": {"mappings": {"v": 1}}}
BEFORE = [A, GROUP]
KEPT = ["a", "g.b.in", "g"]


def flow(*steps: Json, **more: Any) -> Flow:
    return Flow.from_spec({"name": "f", "steps": list(steps), **more})


def first(before: Flow, after: Flow, kept: list[str]) -> str | None:
    return first_changed(changed_steps(before, after), kept)


@pytest.mark.parametrize(
    "a",
    [
        A,
        {**A, "name": "Another name", "retry": {"max_attempts": 5}, "timeout_sec": 9, "queue": "other"},
        {**A, "config": {"body": {"n": 1}, "url": "https://x.example.com"}},
    ],
)
def test_what_says_when_and_how_a_step_runs_is_no_difference(a: Json) -> None:
    after = flow(a, {**GROUP, "depends_on": ["a"]}, {**INSIDE, "id": "new"}, on_failure=HANDLER, outputs={"x": 1})
    assert first(flow(*BEFORE, on_failure={**HANDLER, "type": "delay"}), after, KEPT) is None


@pytest.mark.parametrize(
    ("steps", "changed"),
    [
        ([{**A, "config": {"url": "https://y.example.com", "body": {"n": 1}}}, GROUP], "a"),
        ([{**A, "config": {"url": "https://x.example.com", "body": {"n": True}}}, GROUP], "a"),
        ([{**A, "condition": "inputs.x"}, GROUP], "a"),
        ([{**A, "outputs": {"x": 1}}, GROUP], "a"),
        ([{**A, "continue_on_error": True}, GROUP], "a"),
        ([{**A, "foreach": "[1]"}, GROUP], "a"),
        ([{**A, "type": "transform"}, GROUP], "a"),
        ([GROUP], "a"),
        ([A, INSIDE], "g.b.in"),
        ([A, {**GROUP, "branches": [{"id": "b", "steps": [INSIDE, {**INSIDE, "id": "more"}]}]}], "g"),
        ([A, {**GROUP, "branches": [{"id": "c", "steps": [INSIDE]}]}], "g.b.in"),
        ([A, {**GROUP, "outputs": {"x": 1}}], "g"),
    ],
)
def test_a_kept_step_that_means_something_else_is_named(steps: list[Json], changed: str) -> None:
    assert first(flow(*BEFORE), flow(*steps), KEPT) == changed


def test_items_are_kept_with_their_step_and_what_is_not_kept_may_be_anything() -> None:
    before, after = {**A, "foreach": "[1]"}, {**A, "foreach": "[2]"}
    assert first(flow(before), flow(after), ["a[0]"]) == "a"
    assert first(flow(before), flow(after), []) is None
    handled = flow(A, on_failure=HANDLER)
    assert first(flow(A, HANDLER), handled, ["h"]) == "h", "a step that became on_failure is not kept"
