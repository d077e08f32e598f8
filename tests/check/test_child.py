"""The process in which a proposal is checked: `python -P -m automata.check`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repositories import GitRepo, flow_text

CHILD = (sys.executable, "-P", "-m", "automata.check")


@pytest.fixture
def flows(tmp_path: Path) -> GitRepo:
    repo = GitRepo(tmp_path / "flows")
    repo.commit({"flows/a.yaml": flow_text("a", 1)})
    return repo


def child(repo: GitRepo, command: str, base: str, head: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [command, "--repo", str(repo.path), "--env", "prod", "--base", base, "--head", head]
    env = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    return subprocess.run([*CHILD, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)


def test_it_writes_the_report_of_a_check_and_ends_by_its_verdict(flows: GitRepo, tmp_path: Path) -> None:
    base, head = flows.git("rev-parse", "HEAD"), flows.commit({"flows/a.yaml": "name: a\nsteps: 1\n"})
    ended = child(flows, "check", base, head, tmp_path)
    report = json.loads(ended.stdout)
    assert (ended.returncode, report["base"], report["head"], report["failed"]) == (
        1,
        base,
        head,
        ["validate", "test"],
    )


def test_it_writes_the_report_of_a_plan(flows: GitRepo, tmp_path: Path) -> None:
    base, head = flows.git("rev-parse", "HEAD"), flows.commit({"flows/a.yaml": flow_text("a", 2)})
    ended = child(flows, "plan", base, head, tmp_path)
    assert (ended.returncode, json.loads(ended.stdout)["summary"]["changed"]) == (0, 1)


def test_an_error_is_named_on_stderr_with_its_code(flows: GitRepo, tmp_path: Path) -> None:
    ended = child(flows, "check", "no-such", flows.git("rev-parse", "HEAD"), tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("error: ")


def test_what_stands_in_the_working_directory_is_not_imported(flows: GitRepo, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the working directory was imported')\n")
    head = flows.git("rev-parse", "HEAD")
    assert child(flows, "check", head, head, tmp_path).returncode == 0
