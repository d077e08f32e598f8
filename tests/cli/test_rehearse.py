"""`automata test` as people and CI servers meet it: a real repository, exit codes, formats, what a change touches."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

import psutil
import pytest

from automata.cli.app import app
from automata.cli.exits import guarded

Run = Callable[..., tuple[int, str, str]]

FLOW = """
name: orders
steps:
  - {id: get, type: http, config: {url: "{{ vars.crm }}/orders"}, outputs: {n: "{{ response.body.n }}"}}
outputs: {n: "{{ steps.get.outputs.n }}"}
"""
OTHER = """
name: other
steps: [{id: t, type: transform, config: {mappings: {n: 1}}}]
outputs: {n: "{{ steps.t.outputs.n }}"}
"""
CASES = """
flow: orders
cases:
  - name: counts
    mocks: [{id: crm, request: {url: {host: crm.example.com}}, responses: [{json_file: mocks/n.json}]}]
    expect: {outputs: {n: 2}}
"""
OTHERS = "flow: other\ncases: [{name: one, expect: {outputs: {n: 1}}}]\n"


def git(place: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    return subprocess.run(["git", *identity, *words], cwd=place, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "automata.yaml": "environments: {prod: {branch: main, file: environments/prod.yaml}}\n",
        "environments/prod.yaml": "vars: {crm: https://crm.example.com}\n",
        "flows/orders.yaml": FLOW,
        "flows/other.yaml": OTHER,
        "tests/orders.test.yaml": CASES,
        "tests/other.test.yaml": OTHERS,
        "tests/mocks/n.json": '{"n": 2}',
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
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
        code = guarded(lambda: app(["test", *words], standalone_mode=False))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def names(out: str) -> list[str]:
    return sorted(one["case"] for one in json.loads(out)["cases"])


def test_all_cases_run_and_are_listed(place: Path, run: Run) -> None:
    code, out, _ = run()
    assert code == 0, out
    assert "  ok    counts" in out
    assert "2 passed in 2 files" in out


def test_a_case_that_fails_exits_1_and_says_why_and_where(place: Path, run: Run) -> None:
    (place / "tests/mocks/n.json").write_text('{"n": 3}')
    code, out, _ = run()
    assert code == 1
    assert "FAIL  counts  (tests/orders.test.yaml:4)" in out
    assert "outputs.n must be `2`" in out
    assert "1 passed, 1 failed" in out


def test_every_format_tells_the_same(place: Path, run: Run, tmp_path: Path) -> None:
    (place / "tests/mocks/n.json").write_text('{"n": 3}')
    code, out, _ = run("--format", "junit=j.xml", "--format", "github=g.txt", "--format", "json")
    assert code == 1
    report = json.loads(out)
    assert (report["version"], report["ok"], report["summary"]["failed"]) == (1, False, 1)
    suites = ElementTree.parse(place / "j.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suites.iter("testcase") if case.find("failure") is not None] == ["counts"]
    assert (place / "g.txt").read_text().startswith("::error file=tests/orders.test.yaml,line=4,title=counts::")


@pytest.mark.parametrize(
    "word", ["orders", "tests/orders.test.yaml", "orders.test.yaml", "counts", "tests/orders.test.yaml::counts", "ord*"]
)
def test_cases_are_selected_by_flow_file_or_name(place: Path, run: Run, word: str) -> None:
    code, out, _ = run(word, "-f", "json")
    assert (code, names(out)) == (0, ["tests/orders.test.yaml::counts"])


def test_what_selects_nothing_exits_3(place: Path, run: Run) -> None:
    code, _, err = run("nothing")
    assert (code, "no_such_case" in err) == (3, True)


@pytest.mark.parametrize(
    ("file", "text", "touched"),
    [
        ("flows/orders.yaml", FLOW.replace("name: orders", "name: orders\ndescription: new"), ["orders"]),
        ("tests/other.test.yaml", OTHERS + "# more\n", ["other"]),
        ("tests/mocks/n.json", '{"n": 2, "m": 1}', ["orders"]),
        ("environments/prod.yaml", "vars: {crm: https://crm.example.com/v2}\n", ["orders"]),
        ("README.md", "words", []),
    ],
)
def test_a_change_touches_its_own_cases_and_no_others(
    place: Path, run: Run, file: str, text: str, touched: list[str]
) -> None:
    (place / file).write_text(text)
    code, out, err = run("--changed", "--base", "main", "--allow-empty", "-f", "json")
    assert code in (0, 1), err
    assert sorted(one["flow"] for one in json.loads(out)["cases"]) == touched


def test_no_cases_are_a_failure_unless_they_are_allowed(place: Path, run: Run) -> None:
    for file in (place / "tests").glob("*.test.yaml"):
        file.unlink()
    assert run()[0] == 1
    assert run("--allow-empty")[0] == 0


def test_a_test_file_that_is_wrong_fails_with_its_place(place: Path, run: Run) -> None:
    (place / "tests/orders.test.yaml").write_text(CASES.replace("flow: orders", "flow: ordres"))
    code, out, _ = run()
    assert code == 1
    assert "AF407" in out
    assert "orders" in out
    (place / "tests/orders.test.yaml").write_text("flow: orders\ncases: 7\n")
    code, out, _ = run("other")
    assert code == 1
    assert "tests/orders.test.yaml:2" in out


def test_flows_that_are_not_valid_are_not_run(place: Path, run: Run) -> None:
    (place / "flows/orders.yaml").write_text(FLOW.replace("get.outputs", "gte.outputs"))
    code, _, err = run()
    assert code == 1
    assert "AF104" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--changed",),
        ("--base", "main"),
        ("--base", "nowhere", "--changed"),
        ("--env", "nowhere"),
        ("--repo", "nowhere"),
        ("-j", "0"),
        ("--format", "sarif"),
    ],
)
def test_a_command_that_makes_no_sense_exits_3(place: Path, run: Run, words: tuple[str, ...]) -> None:
    code, out, _ = run(*words)
    assert (code, out) == (3, "")


def test_outside_of_a_repository_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.chdir("/")
    code, _, err = run()
    assert (code, "no_repository" in err) == (3, True)


def test_mocks_are_written_for_requests_that_none_answered(place: Path, run: Run) -> None:
    (place / "tests/orders.test.yaml").write_text("flow: orders\ncases: [{name: bare, expect: {status: SUCCEEDED}}]\n")
    code, _, err = run("orders", "--record-mocks", "tests/mocks/new.yaml")
    assert (code, "Wrote 1 mocks" in err) == (1, True)
    mocks = "mocks_from: [mocks/new.yaml]\n"
    (place / "tests/orders.test.yaml").write_text(f"flow: orders\n{mocks}cases: [{{name: bare}}]\n")
    code, out, _ = run("orders", "-f", "json")
    (case,) = json.loads(out)["cases"]
    assert [one["mock"] for one in case["requests"]] == ["get-crm-orders"], "what was written answers now"
    assert run("orders", "--record-mocks", "tests/mocks/new.yaml")[0] == 3, "nothing is written over"


def test_watch_runs_again_when_a_file_changes(place: Path) -> None:
    command = [sys.executable, "-m", "automata", "test", "--watch", "orders"]
    env = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        try:
            assert _read_until(process.stdout, "Waiting for a change") == ["1 passed"]
            (place / "tests/mocks/n.json").write_text('{"n": 3}')
            assert _read_until(process.stdout, "Waiting for a change") == ["0 passed, 1 failed"]
            (place / "flows/orders.yaml").write_text("name: orders\n")
            assert _read_until(process.stdout, "Waiting for a change") == [], (
                "a flow that is wrong is told and waited for"
            )
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 130
        finally:
            process.kill()


def test_a_command_that_is_killed_leaves_no_process_behind(place: Path) -> None:
    mappings = {"n": "{{ range(3000) | map('string') | join | length }}"}
    spin = {"id": "t", "type": "transform", "foreach": "{{ range(2000) | list }}", "config": {"mappings": mappings}}
    (place / "flows/other.yaml").write_text(json.dumps({"name": "other", "steps": [spin]}))
    process = psutil.Popen([sys.executable, "-m", "automata", "test", "-j", "2"], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(children := process.children(recursive=True)) < 3:  # two that rehearse, one that Python adds
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait(120)
    _, alive = psutil.wait_procs(children, timeout=120)
    assert alive == []


def _read_until(stream: IO[str], end: str) -> list[str]:
    """The summaries up to a line."""
    found = []
    for line in stream:
        if " passed" in line:
            found.append(line.partition(" in ")[0].strip())
        if end in line:
            return found
    raise AssertionError(f"{end} was never said")
