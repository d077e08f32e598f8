"""`automata plan` on a real repository: what it says, to whom, and how it ends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded

Run = Callable[..., tuple[int, str, str]]

FLOW = """
name: orders
inputs: {id: {}, n: {}}
steps:
  - {id: get, type: http, config: {url: "https://crm.example.com/orders"}}
schedules: [{name: daily, cron: "0 7 * * *", inputs: {n: "1"}}]
"""
CALLER = 'name: caller\nsteps: [{id: call, type: flow, config: {flow: orders, inputs: {id: "1"}}}]\n'
OUTER = "name: outer\nsteps: [{id: call, type: flow, config: {flow: caller}}]\n"


def git(place: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    return subprocess.run(
        ["git", *identity, *words], cwd=place, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in (("orders", FLOW), ("caller", CALLER), ("outer", OUTER)):
        (tmp_path / "flows").mkdir(exist_ok=True)
        (tmp_path / "flows" / f"{name}.yaml").write_text(text)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "flows")
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: app(["plan", *words], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_nothing_changed_is_said_and_exits_0(place: Path, run: Run) -> None:
    code, out, _ = run("--base", "main", "--detailed-exitcode")
    assert (code, out.startswith("Nothing changed")) == (0, True)
    (place / "flows" / "orders.yaml").rename(place / "flows" / "moved.yaml")
    assert run("--base", "main")[1].startswith("Nothing changed"), "a file that moved is the same flow"


def test_a_change_on_disk_is_classed_with_its_callers_and_fire_times(place: Path, run: Run) -> None:
    text = FLOW.replace("crm.example.com", "evil.example.net").replace("0 7", "30 8")
    text = text.replace("n: {}}", "n: {required: true}}")
    (place / "flows" / "orders.yaml").write_text(text)
    code, out, err = run("--base", "main", "--detailed-exitcode", "--out", "plan.json")
    assert code == 2, err
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "orders"
    assert lines[1].startswith("breaking")
    assert "called by caller, outer" in lines
    report = json.loads((place / "plan.json").read_text())
    (flow,) = report["flows"]
    assert (flow["class"], flow["callers"]) == ("breaking", ["caller", "outer"])
    (schedule,) = flow["schedules"]
    assert [len(schedule[when]) for when in ("before", "after")] == [5, 5]
    assert all("T08:30:00Z" in moment for moment in schedule["after"])
    assert run("--base", "main")[0] == 0


def test_two_commits_are_compared_by_branch_or_sha(place: Path, run: Run) -> None:
    first = git(place, "rev-parse", "HEAD")
    git(place, "checkout", "-q", "-b", "change")
    (place / "flows" / "outer.yaml").unlink()
    git(place, "commit", "-qam", "drop")
    for base, head in (("main", "change"), (first, "change"), ("main", git(place, "rev-parse", "HEAD"))):
        code, out, _ = run("--base", base, "--head", head, "-f", "json")
        report = json.loads(out)
        assert (code, report["base"], report["summary"]["breaking"]) == (0, first, 1)
        assert [one["flow"] for one in report["flows"]] == ["outer"]


@pytest.mark.parametrize(
    "words", [(), ("--base", "nowhere"), ("--base", "main", "--head", "HEAD~1"), ("--base", "0" * 40)]
)
def test_a_revision_that_is_not_there_exits_3(place: Path, run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)
    assert (code, out) == (3, ""), err


def test_flows_that_are_not_valid_are_not_compared(place: Path, run: Run) -> None:
    (place / "flows" / "orders.yaml").write_text("name: orders\n")
    code, _, err = run("--base", "main")
    assert code == 1
    assert "AF021" in err


def test_recording_is_part_of_a_version_and_masking_less_is_a_matter_of_security(place: Path, run: Run) -> None:
    (place / "environments").mkdir()
    (place / "environments/prod.yaml").write_text("recording: on\n")
    (place / "automata.yaml").write_text("masking: {fields: [iban, pin]}\n")
    (place / "flows/outer.yaml").write_text(OUTER + "recording: off\n")
    _, out, _ = run("--base", "main", "-f", "json")
    assert {one["flow"]: one["class"] for one in json.loads(out)["flows"]} == {"caller": "neutral", "orders": "neutral"}
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "record")
    (place / "automata.yaml").write_text("masking: {fields: [iban]}\n")
    _, out, _ = run("--base", "main")
    assert "recordings mask `pin` no more" in out


def test_a_change_of_the_policy_alone_is_a_change(place: Path, run: Run) -> None:
    (place / "automata.yaml").write_text("checks: {required: [validate, test], approvals: 2}\n")
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "policy")
    (place / "automata.yaml").write_text("checks: {required: [], approvals: 0}\n")
    code, out, _ = run("--base", "main", "--detailed-exitcode")
    assert code == 2
    lines = [line.strip() for line in out.splitlines()]
    assert lines[0] == "automata.yaml"
    assert "security  people other than the author who must approve: 2 → 0" in lines
    assert "automata.yaml changed: 3 security" in out
    assert "flows of" not in out
    report = json.loads(run("--base", "main", "-f", "json")[1])
    assert report["flows"] == []
    assert {item["file"] for item in report["policy"]} == {"automata.yaml"}
