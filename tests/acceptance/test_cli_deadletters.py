"""`automata dlq` and what goes on where it failed: on a server that really runs, with payments that were declined."""

from __future__ import annotations

import re
from typing import Any

import pytest

from automata.cli.demo.shop import DECLINED
from tests.acceptance.conftest import Automata

NOBODY = "00000000-0000-7000-8000-000000000000"


def declined(automata: Automata) -> str:
    """A run that failed at `pay`."""
    made = automata("run", "start", "settle-invoice", "-i", f"invoice={DECLINED}", "--wait", "-o", "json")
    assert made.code == 1
    return str(made.json["id"])


def letter_of(automata: Automata, run: str, *more: str) -> Any:
    (letter,) = automata("dlq", "list", "--run", run, "-o", "json", *more).json["items"]
    return letter


def test_a_step_that_failed_for_good_is_listed_and_shown(automata: Automata) -> None:
    run = declined(automata)
    letter = letter_of(automata, run)
    assert (letter["step"], letter["state"], letter["run_status"]) == ("pay", "open", "FAILED")
    shown = automata("dlq", "show", str(letter["id"])).out
    assert all(word in shown for word in ("402", "/bank", run))
    listed = automata("dlq", "list", "--run", run).out.splitlines()
    assert listed[1].split()[:3] == [str(letter["id"]), "settle-invoice", "pay"]


def test_a_retried_letter_makes_the_run_go_on_and_fail_again(automata: Automata) -> None:
    run = declined(automata)
    letter = letter_of(automata, run)
    answer = automata("dlq", "retry", str(letter["id"]), "--by", "ada")
    assert (answer.code, run in answer.out) == (0, True)
    assert automata("run", "watch", run, "-o", "json").json["attempt"] == 2
    closed = letter_of(automata, run, "--state", "retried")
    assert (closed["id"], closed["resolved_by"]) == (letter["id"], "ada")
    assert letter_of(automata, run)["id"] != letter["id"]


def test_a_closed_letter_is_not_closed_twice(automata: Automata) -> None:
    letter = str(letter_of(automata, declined(automata))["id"])
    assert automata("dlq", "discard", letter).code == 0
    for verb in ("discard", "retry"):
        assert automata("dlq", verb, letter).code == 6


def test_a_filter_is_counted_before_and_done_in_batches(automata: Automata, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("automata.cli.bulk.BATCH", 2)
    first = letter_of(automata, declined(automata))["created_at"]
    for _ in range(4):
        declined(automata)
    chosen = ("--flow", "settle-invoice", "--code", "http_status", "--since", first)
    counted = automata("dlq", "discard", *chosen, "--dry-run")
    assert "Discard would reach 5 dead letters." in counted.out
    answer = automata("dlq", "discard", *chosen)
    assert "Discarded 5 dead letters." in answer.out
    assert "so far" in answer.err
    assert automata("dlq", "list", *chosen, "-o", "json").json["items"] == []


def test_on_a_terminal_it_is_asked_first(automata: Automata, monkeypatch: pytest.MonkeyPatch) -> None:
    run = declined(automata)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    said = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda *_, **__: next(said))
    refused = automata("dlq", "retry", "--run", run)
    assert (refused.code, letter_of(automata, run)["state"]) == (1, "open")
    assert automata("dlq", "retry", "--run", run).code == 0
    assert automata("run", "watch", run, "-o", "json").json["attempt"] == 2
    assert automata("dlq", "retry", "--run", run, "--yes").code == 0, "asks nobody: the answers are used up"


@pytest.mark.parametrize(
    "words",
    [
        ("dlq", "retry"),
        ("dlq", "discard"),
        ("dlq", "retry", "1", "--all"),
        ("run", "cancel"),
        ("run", "cancel", NOBODY, "--flow", "slow"),
        ("run", "cancel", NOBODY, "--dry-run"),
        ("run", "retry"),
        ("run", "retry", NOBODY, "--flow", "slow"),
        ("run", "retry", NOBODY, "--dry-run"),
        ("run", "retry", "--flow", "slow", "--wait"),
        ("run", "rerun", NOBODY, "--version", "newest"),
    ],
)
def test_what_is_not_clearly_meant_is_refused(automata: Automata, words: tuple[str, ...]) -> None:
    answer = automata(*words)
    assert (answer.code, answer.out) == (3, "")
    assert "hint" in answer.err or "exclude" in answer.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("dlq", "retry", "--all", "--flow", "slow"), 1),
        (("dlq", "show", "999999999"), 3),
        (("dlq", "show", "../runs"), 3),
        (("dlq", "show", "9" * 40), 3),
        (("dlq", "list", "--state", "lost"), 1),
        (("dlq", "list", "--since", "yesterday"), 1),
        (("run", "cancel", "--status", "FAILED"), 1),
        (("run", "retry", NOBODY), 3),
        (("run", "rerun", NOBODY), 3),
    ],
)
def test_what_cannot_be_is_told(automata: Automata, words: tuple[str, ...], code: int) -> None:
    answer = automata(*words)
    assert (answer.code, answer.out) == (code, "")
    assert answer.err.startswith("error: ")


def test_a_run_goes_on_where_it_failed(automata: Automata) -> None:
    run = declined(automata)
    answer = automata("run", "retry", run, "--wait")
    assert answer.code == 1, "the card is declined again"
    assert re.search(r"^attempt +2\s*$", answer.out, re.MULTILINE)
    tasks = {task["step"]: task for task in automata("run", "tasks", run, "-o", "json").json["items"]}
    assert (tasks["invoice"]["attempt"], tasks["pay"]["attempt"]) == (1, 2)


def test_failed_runs_go_on_by_a_filter(automata: Automata) -> None:
    runs = [declined(automata) for _ in range(2)]
    since = automata("run", "show", runs[0], "-o", "json").json["created_at"]
    chosen = ("--flow", "settle-invoice", "--since", since)
    assert "Retry would reach 2 runs." in automata("run", "retry", *chosen, "--dry-run").out
    answer = automata("run", "retry", *chosen, "-o", "json").json
    assert sorted(answer["runs"]) == sorted(runs)
    for run in runs:
        assert automata("run", "watch", run, "-o", "json").json["attempt"] == 2


def test_a_run_that_succeeded_cannot_go_on_but_can_be_run_again(automata: Automata) -> None:
    run = automata("run", "start", "typed", "-i", "count=7", "--wait", "-o", "json").json["id"]
    assert automata("run", "retry", run).code == 6
    again = automata("run", "rerun", run, "--version", "latest", "--idempotency-key", f"again-{run}", "-o", "json").json
    assert (again["rerun_of"], again["inputs"]["count"], again["trigger"]) == (run, 7, "rerun")
    same = automata("run", "rerun", run, "--version", "1", "--idempotency-key", f"again-{run}", "-o", "json").json
    assert same["id"] == again["id"]
    assert automata("run", "rerun", run, "--version", "99").code == 3
    assert automata("run", "rerun", run, "--wait").code == 0


def test_runs_are_cancelled_by_a_filter(automata: Automata) -> None:
    runs = [automata("run", "start", "slow", "-o", "json").json["id"] for _ in range(3)]
    assert "Cancel would reach 3 runs." in automata("run", "cancel", "--flow", "slow", "--dry-run").out
    assert "Asked for the end of 3 runs." in automata("run", "cancel", "--flow", "slow").out
    ended = [automata("run", "watch", run, "-o", "json").json["status"] for run in runs]
    assert ended == ["CANCELLED"] * 3
    assert automata("run", "cancel", "--flow", "slow", "-o", "json").json["matched"] == 0
