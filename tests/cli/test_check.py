"""`automata check` on a real repository: what it refuses, by whose rules, and how programs read it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded
from automata.report.markdown import MARKER, MAX_CHARS, markdown
from tests.cli.test_replay import DOUBLED, FLOW, git, recording

Run = Callable[..., tuple[int, str, str]]
CASES = """
flow: orders
cases:
  - name: saves the total
    inputs: {id: o-1}
    mocks:
      - {id: crm, request: {method: GET}, responses: [{json: {total: 5}}]}
      - {id: erp, request: {method: POST, json: {equals: {total: 5}}}, responses: [{json: {}}]}
    expect: {status: SUCCEEDED}
"""
REQUIRED = "checks: {required: [validate, test, replay]}\n"
SAME = FLOW.replace("body.total }}", "body.total * 1 }}")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, "flows/orders.yaml", FLOW)
    write(tmp_path, "tests/orders.test.yaml", CASES)
    for n in range(3):
        write(tmp_path, f"tests/recordings/orders-{n}.json", recording(n))
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOMATA_REPO", "AUTOMATA_BRANCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(place: Path, name: str, text: str) -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_text(text)


def commit(place: Path) -> str:
    git(place, "add", "-A")
    git(place, "commit", "-q", "-m", "a change")
    words = ["git", "rev-parse", "HEAD"]
    return subprocess.run(words, cwd=place, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = guarded(lambda: app(["check", "-j", "1", *words], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def checked(run: Run, *words: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    code, out, _ = run("-f", "json", *words)
    report = json.loads(out)
    return code, report, {one["name"]: one["state"] for one in report["stages"]}


def test_nothing_changed_passes(place: Path, run: Run) -> None:
    code, out, _ = run()
    assert code == 0
    assert "Nothing changed" in out
    assert "no case is touched" in out
    assert out.splitlines()[-1].startswith("Passed: ")


def test_a_change_that_does_the_same_passes_every_stage(place: Path, run: Run) -> None:
    write(place, "flows/orders.yaml", SAME)
    code, report, states = checked(run)
    assert code == 0
    assert set(states.values()) == {"passed"}
    assert (report["version"], report["ok"], report["failed"]) == (1, True, [])


def test_a_change_that_a_case_does_not_allow_is_refused_with_the_reason(place: Path, run: Run) -> None:
    write(place, "flows/orders.yaml", DOUBLED)
    code, out, _ = run()
    assert code == 1
    assert "saves the total  (tests/orders.test.yaml:4)" in out
    assert "No mock fits POST https://erp.example.com/import" in out
    assert "$.total 7 → 14" in out
    assert "Refused by test: " in out
    assert len(out.splitlines()) < 40, "the reason fits a screen"


def write_other_total(place: Path) -> None:
    """A change that its case agrees with, and production's past does not."""
    write(place, "flows/orders.yaml", DOUBLED)
    write(place, "tests/orders.test.yaml", CASES.replace("{total: 5}}}, ", "{total: 10}}}, "))


def test_a_branch_does_not_make_its_own_rules(place: Path, run: Run) -> None:
    write_other_total(place)
    write(place, "automata.yaml", REQUIRED)
    code, report, states = checked(run)
    assert (code, report["required"]) == (0, ["validate", "test"])
    assert (states["test"], states["replay"]) == ("passed", "failed"), "it is told all the same"


def test_a_weaker_policy_is_told_in_every_format(place: Path, run: Run) -> None:
    write(place, "automata.yaml", "checks: {required: [validate], approvals: 0}\nmasking: {fields: []}\n")
    code, out, _ = run("--base", "main", "-f", "github", "-f", "markdown=check.md", "-f", "human=check.txt")
    assert code == 0, "rules are the base's: what a change makes of them is told"
    for text in (out, (place / "check.md").read_text(), (place / "check.txt").read_text()):
        assert "decides about changes no more" in text


def test_what_the_base_requires_decides(place: Path, run: Run) -> None:
    write(place, "automata.yaml", REQUIRED)
    commit(place)
    write_other_total(place)
    (place / "automata.yaml").unlink()
    code, report, _ = checked(run)
    assert (code, report["failed"]) == (1, ["replay"])


def test_what_the_base_requires_now_decides_wherever_the_branch_left_it(place: Path, run: Run) -> None:
    git(place, "checkout", "-q", "-b", "next")
    write_other_total(place)
    head = commit(place)
    git(place, "checkout", "-q", "main")
    write(place, "automata.yaml", REQUIRED)
    commit(place)
    code, report, _ = checked(run, "--base", "main", "--head", head)
    assert (code, report["required"], report["failed"]) == (1, ["validate", "test", "replay"], ["replay"])


def test_recordings_that_the_base_has_now_are_replayed_wherever_the_branch_left_it(place: Path, run: Run) -> None:
    git(place, "rm", "-q", "-r", "tests/recordings")
    commit(place)
    git(place, "checkout", "-q", "-b", "next")
    write_other_total(place)
    head = commit(place)
    git(place, "checkout", "-q", "main")
    write(place, "tests/recordings/orders-0.json", recording(0))
    commit(place)
    _, _, states = checked(run, "--base", "main", "--head", head)
    assert states["replay"] == "failed"


@pytest.mark.parametrize("missing", ["flow", "folder", "other folder"])
def test_a_project_without_a_flow_has_not_passed(place: Path, run: Run, missing: str) -> None:
    git(place, "rm", "-q", "-r", "flows", "tests")
    if missing == "flow":
        write(place, "flows/README.md", "later")
    if missing == "other folder":
        write(place, "flows/orders.yaml", FLOW)
        write(place, "automata.yaml", "flows: [flowz]\n")
    commit(place)
    code, report, states = checked(run)
    assert (code, states["validate"], report["failed"]) == (1, "empty", ["validate"])
    assert "there are no flows in flow" in report["stages"][0]["summary"]
    assert checked(run, "--allow-empty")[0] == 0


def test_a_folder_that_does_not_exist_is_told(place: Path, run: Run) -> None:
    write(place, "automata.yaml", "flows: [flows, more]\n")
    _, report, _ = checked(run)
    assert "AF304" in [item["code"] for item in report["stages"][0]["report"]["diagnostics"]]


def test_a_path_without_a_repository_is_one_in_the_repository_around(
    place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(place, "team/flows/orders.yaml", "name: orders\nsteps: 1\n")
    commit(place)
    assert checked(run, "--path", "team")[2]["validate"] == "failed"
    monkeypatch.chdir(place / "team")
    assert checked(run)[2]["validate"] == "passed", "no project file here: the nearest one is that of the root"
    assert checked(run, "--path", "team")[2]["validate"] == "failed"
    code, _, err = run("--path", "nowhere")
    assert (code, "folder_not_found" in err) == (3, True)
    monkeypatch.setenv("AUTOMATA_REPO_PATH", "team")
    assert checked(run)[2]["validate"] == "failed"


@pytest.mark.parametrize("kind", ["unrelated", "shallow"])
def test_without_a_commit_in_common_nothing_is_compared(
    place: Path, run: Run, kind: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "unrelated":
        git(place, "checkout", "-q", "--orphan", "next")
        commit_empty(place, "no parent")
        base = "main"
    else:
        git(place, "checkout", "-q", "-b", "next")
        commit_empty(place, "one side")
        git(place, "checkout", "-q", "main")
        commit_empty(place, "the other")
        clone = tmp_path_factory.mktemp("clone") / "work"
        git(place, "clone", "-q", "--depth", "1", "--no-single-branch", "-b", "next", f"file://{place}", str(clone))
        monkeypatch.chdir(clone)
        base = "origin/main"
    code, out, err = run("--base", base)
    assert (code, out) == (3, "")
    assert "no_merge_base" in err
    assert "fetch-depth: 0" in err


def commit_empty(place: Path, message: str) -> None:
    git(place, "commit", "-q", "--allow-empty", "-m", message)


@pytest.mark.parametrize("base", ["main", "origin/main"])
def test_a_clone_that_ci_made_knows_the_base_by_its_origin_alone(
    place: Path, run: Run, base: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(place, "checkout", "-q", "-b", "next")
    write(place, "flows/orders.yaml", SAME)
    head = commit(place)
    clone = tmp_path_factory.mktemp("clone") / "work"
    git(place, "clone", "-q", f"file://{place}", str(clone))
    git(clone, "checkout", "-q", "--detach", head)
    git(clone, "branch", "-q", "-D", "next")
    monkeypatch.chdir(clone)
    code, report, _ = checked(run, "--base", base, "--head", head)
    assert (code, report["head"]) == (0, head)


def test_a_flow_that_is_not_valid_stops_the_rest(place: Path, run: Run) -> None:
    write(place, "flows/orders.yaml", FLOW.replace("steps.get", "steps.gte"))
    code, _, states = checked(run)
    assert code == 1
    assert states == {"validate": "failed", "plan": "skipped", "test": "skipped", "replay": "skipped"}
    _, out, _ = run()
    assert "flows/orders.yaml:9: AF104" in out


def test_a_base_that_is_not_valid_can_be_mended(place: Path, run: Run) -> None:
    write(place, "flows/orders.yaml", "name: orders\nsteps: 1\n")
    commit(place)
    write(place, "flows/orders.yaml", FLOW)
    code, report, _ = checked(run)
    assert (code, report["stages"][1]["report"]["summary"]["changed"]) == (0, 1)


def test_a_change_without_a_case_is_no_evidence_where_cases_are_required(place: Path, run: Run) -> None:
    write(place, "flows/bare.yaml", FLOW.replace("name: orders", "name: bare"))
    code, report, states = checked(run)
    assert (code, states["test"], report["failed"]) == (1, "empty", ["test"])
    assert "no case for bare" in report["stages"][2]["summary"]
    assert checked(run, "--allow-empty")[0] == 0


def test_a_flow_that_goes_while_others_call_it_is_breaking(place: Path, run: Run) -> None:
    call = "name: caller\nsteps: [{id: c, type: flow, config: {flow: orders, inputs: {id: a}}}]\n"
    write(place, "flows/caller.yaml", call)
    commit(place)
    (place / "flows/orders.yaml").unlink()
    (place / "tests/orders.test.yaml").unlink()
    code, out, _ = run("--allow-empty")
    assert code == 0, "the plan decides where the project requires it"
    assert "breaking  it is still called, by caller" in out
    assert "FAIL  plan" in out


def test_what_others_merged_since_is_not_this_changes_doing(place: Path, run: Run) -> None:
    git(place, "checkout", "-q", "-b", "next")
    write(place, "flows/orders.yaml", SAME)
    head = commit(place)
    git(place, "checkout", "-q", "main")
    write(place, "flows/other.yaml", FLOW.replace("name: orders", "name: other"))
    commit(place)
    _, report, _ = checked(run, "--base", "main", "--head", head)
    assert [one["flow"] for one in report["stages"][1]["report"]["flows"]] == ["orders"]
    assert report["head"] == head


@pytest.mark.parametrize("name", ["no-such", "--upload-pack=x", "main~1", "a" * 40, "../x", "x\u202ey"])
def test_what_is_no_commit_is_a_usage_error(place: Path, run: Run, name: str) -> None:
    code, out, err = run(f"--base={name}")
    assert (code, out) == (3, "")
    assert err


def test_programs_get_every_format_from_one_run(place: Path, run: Run, tmp_path: Path) -> None:
    write(place, "flows/orders.yaml", DOUBLED)
    files = {form: tmp_path / f"out.{form}" for form in ("json", "junit", "sarif", "github", "markdown")}
    code, out, _ = run(*(word for form, file in files.items() for word in ("-f", f"{form}={file}")))
    assert code == 1
    assert "Refused by test" in out
    junit = ElementTree.fromstring(files["junit"].read_text())
    assert (junit.get("tests"), junit.get("failures")) == ("5", "2"), "four stages and a case; one stage, the case"
    sarif = json.loads(files["sarif"].read_text())
    told = {one["ruleId"]: one for one in sarif["runs"][0]["results"]}
    assert told["test"]["level"] == "error"
    assert told["replay"]["level"] == "warning"
    place_of = told["replay"]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert place_of == "flows/orders.yaml"
    assert "::error file=tests/orders.test.yaml,line=4,title=test::" in files["github"].read_text()
    text = files["markdown"].read_text()
    assert text.startswith(MARKER)
    assert "```mermaid" in text
    assert 'n1["save<br/>http"]:::changed' in text


def test_a_comment_quotes_what_a_stranger_wrote(place: Path, run: Run) -> None:
    evil = 'description: "@everyone [x](javascript:alert(1)) <img src=x> ``` `"\n'
    write(place, "flows/orders.yaml", FLOW + evil)
    write(place, "tests/orders.test.yaml", CASES.replace("saves the total", "'```\\n<script>@team'"))
    _, out, _ = run("-f", "markdown")
    outside = "".join(out.split("```")[::2])
    assert "<img" not in outside.replace("\\<img", "")
    assert "@everyone" not in outside.replace("\\@everyone", "")


def test_a_comment_fits_the_forge_and_says_what_it_left_out() -> None:
    change = {"kind": "behaviour", "message": "x" * 500}
    flow = {"class": "behaviour", "changes": [change] * 20, "schedules": [], "callers": []}
    flows = [{"flow": f"f{n}", **flow} for n in range(100)]
    stages = [
        {"name": "plan", "state": "passed", "required": False, "summary": "", "took_sec": 0, "report": {"flows": flows}}
    ]
    text = markdown({"ok": True, "base": "a" * 40, "head": "b" * 40, "environment": "prod", "stages": stages})
    assert len(text) <= MAX_CHARS
    assert "did not fit" in text
    assert "#### f0" in text
