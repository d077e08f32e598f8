"""What the attempts say about a source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from automata.store.sync import AttemptRow
from automata.sync.conditions import conditions

TIME = datetime(2026, 1, 5, 9, tzinfo=UTC)


def attempt(status: Any, step: str = "", sha: str = "a" * 40) -> AttemptRow:
    error = {"step": step, "code": "some_reason", "message": "Why.", "transient": False} if step else None
    return AttemptRow(1, UUID(int=1), sha, status, TIME, TIME, None, error)


def truths(*attempts: AttemptRow) -> list[str]:
    return [condition.status for condition in conditions(attempts)]


def test_nothing_is_known_before_the_first_attempt() -> None:
    assert truths() == ["Unknown"] * 3


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        (attempt("synced"), ["True", "True", "True"]),
        (attempt("unchanged"), ["True", "True", "True"]),
        (attempt("failed", "fetch"), ["False", "Unknown", "False"]),
        (attempt("failed", "resolve"), ["False", "Unknown", "False"]),
        (attempt("failed", "read"), ["True", "False", "False"]),
        (attempt("failed", "validate"), ["True", "False", "False"]),
        (attempt("refused", "guard"), ["True", "True", "False"]),
        (attempt("failed", "apply"), ["True", "True", "False"]),
        (attempt("failed", "a step of another version"), ["False", "Unknown", "False"]),
    ],
)
def test_a_condition_follows_the_step_where_the_attempt_ended(newest: AttemptRow, expected: list[str]) -> None:
    assert truths(newest) == expected


def test_a_failed_fetch_says_nothing_about_validity() -> None:
    found = conditions([attempt("failed", "fetch", "b" * 40), attempt("synced")])
    assert [condition.status for condition in found] == ["False", "True", "False"]
    assert found[1].sha == "a" * 40


def test_a_condition_has_a_reason_a_message_a_commit_and_a_time() -> None:
    assert conditions([attempt("failed", "validate")])[1].to_json() == {
        "type": "Validated", "status": "False", "reason": "SomeReason", "message": "Why.",
        "sha": "a" * 40, "time": "2026-01-05T09:00:00+00:00",
    }  # fmt: skip
