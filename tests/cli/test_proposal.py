"""`automata proposal` as people and programs use it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded

Run = Callable[..., tuple[int, str, str]]
FLOW = "name: orders\nsteps: [{id: a, type: transform, config: {mappings: {n: %d}}}]\n"


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fresh_database_url: str
) -> Run:
    work = tmp_path / "work"
    (work / "flows").mkdir(parents=True)
    (work / "flows/orders.yaml").write_text(FLOW % 1)
    (work / "automata.yaml").write_text("checks: {required: [validate], approvals: 1}\n")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", *words], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(tmp_path / "flows.git")], check=True)
    (tmp_path / "orders.yaml").write_text(FLOW % 2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOMATA_REPO", str(tmp_path / "flows.git"))
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", fresh_database_url)
    monkeypatch.setenv("AUTOMATA_ACTOR", "Ada <ada@example.com>")

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: app(["proposal", *words], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


BOB = ("--as", "Bob <bob@example.com>")


def test_a_change_goes_from_a_file_to_the_branch(run: Run) -> None:
    code, out, _ = run("create", "two", "-f", "flows/orders.yaml=orders.yaml", "-m", "Two instead of one")
    assert (code, out) == (0, "Made proposal 1 (two): DRAFT; checks: pending.\n")
    assert run("submit", "1")[1] == "Submitted proposal 1 (two): PENDING_REVIEW; checks: pending.\n"
    code, _, err = run("approve", "1")
    assert code == 5
    assert "author" in err
    assert run("approve", "1", *BOB, "-m", "yes")[0] == 0
    code, out, _ = run("sandbox", "1")
    assert code == 0
    assert "Passed" in out
    code, out, _ = run("list", "-o", "json")
    (one,) = json.loads(out)["items"]
    assert (one["state"], one["checks"], one["approvals"]["by"]) == ("APPROVED", "passed", ["Bob <bob@example.com>"])
    code, out, _ = run("diff", "two")
    assert "+steps: [{id: a, type: transform, config: {mappings: {n: 2}}}]" in out
    code, out, _ = run("apply", "two")
    assert code == 0
    assert "Applied proposal 1 as " in out
    code, out, _ = run("show", "1")
    assert "APPLIED" in out
    assert "Passed" in out
    assert run("list")[1].splitlines()[1:] == []
    assert "APPLIED" in run("list", "--all")[1]


def test_an_approval_names_somebody_and_says_of_which_commit_it_is(run: Run) -> None:
    run("create", "two", "-f", "flows/orders.yaml=orders.yaml", "-m", "Two")
    run("submit", "two")
    for who in ("bob", "Bob", "Bob <bob@localhost>", "Bob <bob@automata>"):
        code, out, err = run("approve", "two", "--as", who)
        assert (code, out) == (5, ""), who
        assert "[no_identity]" in err
    head = json.loads(run("show", "two", "-o", "json")[1])["head_sha"]
    assert run("approve", "two", *BOB, "--head", "0" * 40)[0] == 6
    code, out, _ = run("approve", "two", *BOB, "--head", head)
    assert code == 0
    assert f"Approved proposal 1 (two) at {head[:12]}: " in out


def test_what_the_check_refuses_has_exit_code_1_and_may_not_be_applied(run: Run, tmp_path: Path) -> None:
    (tmp_path / "orders.yaml").write_text(FLOW.replace("n: %d", "n: '{{ steps.x.outputs.y }}'"))
    run("create", "bad", "-f", "flows/orders.yaml=orders.yaml", "-m", "Bad")
    code, out, _ = run("sandbox", "bad")
    assert code == 1
    assert "Refused by validate" in out
    run("submit", "bad")
    run("approve", "bad", *BOB)
    code, _, err = run("apply", "bad")
    assert code == 5
    assert "refuses it, by validate" in err
    code, out, _ = run("show", "bad", "-o", "json")
    told = json.loads(out)
    assert told["sandbox_result"]["failed"] == ["validate"]
    assert run("reject", "bad", *BOB, "-m", "no")[0] == 0
    assert run("close", "bad")[0] == 6


def test_what_a_case_expected_of_a_step_is_told_beside_what_was_there(run: Run, tmp_path: Path) -> None:
    (tmp_path / "case.yaml").write_text(
        "flow: orders\ncases: [{name: two of them, expect: {steps: {a: {outputs: {n: 2, m: 1}}}}}]\n"
    )
    (tmp_path / "other.yaml").write_text(FLOW % 3)
    files = ("-f", "flows/orders.yaml=other.yaml", "-f", "tests/orders.test.yaml=case.yaml")
    assert run("create", "wrong", *files, "-m", "Wrong")[0] == 0
    assert run("sandbox", "wrong")[0] == 0  # the base does not require tests
    (told,) = json.loads(run("show", "wrong", "-o", "json")[1])["sandbox_result"]["differences"]
    assert (told["flow"], told["name"], told["step"], told["where"]) == (
        "orders",
        "two of them",
        "a",
        "steps.a.outputs",
    )
    assert (told["expected"], told["actual"]) == ({"n": 2, "m": 1}, {"n": 3})
    assert len(told["diff"]) == 2
    assert "outputs.n must be" in told["diff"][0]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "99"), 3),
        (("create", "x", "-m", "nothing"), 3),
        (("create", "x", "-m", "m", "-f", "flows/orders.yaml=none.yaml"), 3),
        (("create", "../x", "-m", "m", "-f", "flows/orders.yaml=orders.yaml"), 3),
        (("create", "main", "-m", "m", "-f", "flows/orders.yaml=orders.yaml"), 3),
        (("create", "x", "-m", "m", "-f", "../orders.yaml=orders.yaml"), 3),
        (("create", "x", "-m", "", "-f", "flows/orders.yaml=orders.yaml"), 1),
        (("create", "x", "-m", "m", "-f", "flows/orders.yaml=orders.yaml", "--as", "A\nB <x>"), 1),
        (("update", "99", "--title", "x"), 3),
        (("update", "99"), 3),
    ],
)
def test_bad_input_is_told_and_changes_nothing(run: Run, words: tuple[str, ...], code: int) -> None:
    found, out, err = run(*words)
    assert (found, out) == (code, "")
    assert err
    assert json.loads(run("list", "--all", "-o", "json")[1])["items"] == []
