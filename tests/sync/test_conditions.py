"""What the attempts say about a source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from automata.store.sync import AttemptRow, SourceRow
from automata.sync.conditions import Condition, conditions

TIME = datetime(2026, 1, 5, 9, tzinfo=UTC)
ID = UUID(int=1)
SHA = "a" * 40
SOURCE = SourceRow(
    *(ID, "https://example.com/f.git", "", "main", "prod", SHA, None, TIME, False),
    *(None, None, None, None, None, None, None, None, None),
)


def attempt(status: Any, step: str = "", sha: str = SHA, code: str = "some_reason", **more: Any) -> AttemptRow:
    error = {"step": step, "code": code, "message": "Why.", "transient": False, **more} if step else None
    return AttemptRow(1, ID, sha, status, TIME, TIME, None, error)


def truths(*attempts: AttemptRow) -> list[str]:
    """Of Fetched, Validated, Synced."""
    return [condition.status for condition in conditions(SOURCE, attempts)][:3]


def condition(kind: str, source: SourceRow, *attempts: AttemptRow) -> Condition:
    (found,) = [one for one in conditions(source, attempts) if one.type == kind]
    return found


def test_nothing_is_known_before_the_first_attempt() -> None:
    assert [condition.status for condition in conditions(SOURCE, [])] == ["Unknown"] * 6


@pytest.mark.parametrize(("hours", "stalled"), [(1, "False"), (23, "False"), (24, "True"), (240, "True")])
def test_what_may_pass_and_has_not_for_a_day_is_stalled(hours: int, stalled: str) -> None:
    newest = attempt("failed", "fetch", transient=True)
    found = condition("Stalled", replace(SOURCE, synced_at=TIME - timedelta(hours=hours)), newest)
    assert (found.status, "It has been so since" in found.message) == (stalled, stalled == "True")
    assert condition("Stalled", replace(SOURCE, synced_at=None), newest).status == "False"


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
    failed = attempt("failed", "fetch", "b" * 40)
    assert truths(failed, attempt("synced")) == ["False", "True", "False"]
    assert condition("Validated", SOURCE, failed, attempt("synced")).sha == SHA


def test_a_condition_has_a_reason_a_message_a_commit_and_a_time() -> None:
    assert condition("Validated", SOURCE, attempt("failed", "validate")).to_json() == {
        "type": "Validated", "status": "False", "reason": "SomeReason", "message": "Why.",
        "sha": SHA, "time": "2026-01-05T09:00:00+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("latest", "expected"),
    [
        (attempt("failed", "validate"), "True"),
        (attempt("refused", "guard"), "True"),
        (attempt("failed", "fetch", transient=True), "False"),
        (attempt("synced"), "False"),
    ],
)
def test_what_waits_for_a_commit_is_stalled_and_what_may_pass_is_not(latest: AttemptRow, expected: str) -> None:
    assert condition("Stalled", SOURCE, latest).status == expected


def test_a_blocked_prune_says_what_to_type() -> None:
    command = "automata sync --repo r --branch main --env prod --confirm-deletes 0123456789ab"
    blocked = attempt("refused", "guard", code="prune_blocked", hint=f"If this is meant: {command}")
    found = condition("PruneBlocked", SOURCE, blocked)
    assert (found.status, found.reason) == ("True", "PruneBlocked")
    assert command in found.message
    assert condition("PruneBlocked", SOURCE, attempt("refused", "guard")).status == "False", "another guard"
    assert condition("PruneBlocked", SOURCE, attempt("synced"), blocked).status == "False", "it went on"


def test_a_pin_shows_until_it_is_released_and_other_attempts_stay_as_they_were() -> None:
    pinned = replace(SOURCE, pinned_at=TIME, pinned_by="Ada", pinned_reason="orders are doubled")
    found = condition("Synced", pinned, attempt("rolled_back"), attempt("synced"))
    assert (found.status, found.reason, found.sha, found.time) == ("False", "Pinned", SHA, TIME)
    for part in ("Ada", "orders are doubled", f"automata sync release --source {ID}"):
        assert part in found.message
    assert truths(attempt("rolled_back"), attempt("failed", "validate")) == ["True", "False", "False"]


def test_drift_names_some_flows_and_counts_the_rest() -> None:
    flows = [{"message": f"f{number} is archived"} for number in range(9)]
    found = condition("Drifted", replace(SOURCE, drift={"count": 12, "flows": flows}, drift_at=TIME))
    assert (found.status, found.reason) == ("True", "ChangedBesideGit")
    assert found.message.endswith("f4 is archived; and 7 more.")
    calm = condition("Drifted", replace(SOURCE, drift={"count": 0, "flows": []}, drift_at=TIME))
    assert (calm.status, calm.reason) == ("False", "NoDrift")
