"""The workflows that users copy: their commands exist, strangers' code sees no secret, only the comment may write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from click import Context

from automata.cli.app import app
from automata.report.markdown import MARKER

ROOT = Path(__file__).parents[2]
STARTER = ROOT / "automata/project/starter_files/dot-github/workflows"
EXAMPLE = ROOT / "flows-example/.github/workflows"
ACTION = ROOT / ".github/actions/check/action.yml"
GITLAB = ROOT / "deploy/ci/gitlab.yml"
CHECKS = [STARTER / "flows.yml", ACTION, GITLAB]


def read(path: Path) -> dict[str, Any]:
    value = yaml.safe_load(path.read_text())
    assert isinstance(value, dict)
    return value


def commands(value: Any) -> Iterator[str]:
    """Every shell text below a `run` or a `script`."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "run":
                yield item
            elif name == "script" and isinstance(item, list):
                yield from item
            else:
                yield from commands(item)
    elif isinstance(value, list):
        for item in value:
            yield from commands(item)


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_every_command_of_a_template_is_one(path: Path) -> None:
    found = [line for text in commands(read(path)) for line in text.splitlines() if line.startswith("automata ")]
    assert found
    program = typer.main.get_command(app)
    for line in found:
        words = shlex.split(line)[1:]
        command = program.get_command(Context(program), words[0])
        assert command is not None, line
        command.make_context(words[0], words[1:])


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_what_is_checked_is_the_commit_by_the_rules_of_the_branch_that_it_is_for(path: Path) -> None:
    (check,) = (
        line for text in commands(read(path)) for line in text.splitlines() if line.startswith("automata check")
    )
    assert {"--base", "--head"} <= set(shlex.split(check))
    text = path.read_text()
    assert "origin/" in text
    for chosen_by_the_author in ("pull_request.base.sha", "DIFF_BASE_SHA"):
        assert chosen_by_the_author not in text


@pytest.mark.parametrize("path", [STARTER / "flows.yml", ACTION], ids=lambda path: path.name)
def test_what_a_stranger_wrote_is_never_part_of_a_command_and_sees_no_secret(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    for command in commands(read(path)):
        assert "${{" not in command, "an expression inside a command is how a branch's name becomes a program"


@pytest.mark.parametrize("path", CHECKS, ids=lambda path: path.name)
def test_python_is_not_started_on_what_a_stranger_wrote(path: Path) -> None:
    """`python -m pip` takes a `pip.py` of the folder first, which is the branch of whoever proposes it."""
    words = [shlex.split(line) for text in commands(read(path)) for line in text.splitlines() if "python" in line]
    assert [line[1:4] for line in words if line[0] == "python"] == [["-I", "-m", "pip"]]


def test_the_check_may_only_read_and_the_comment_runs_nothing_of_the_proposal() -> None:
    flows, comment = read(STARTER / "flows.yml"), read(STARTER / "comment.yml")
    assert flows["permissions"] == {"contents": "read"}
    assert comment["permissions"] == {"actions": "read", "pull-requests": "write"}
    used = [step.get("uses", "") for job in comment["jobs"].values() for step in job["steps"]]
    assert not any(one.startswith("actions/checkout") for one in used)
    assert list(commands(comment)) == []
    assert comment[True]["workflow_run"]["workflows"] == [flows["name"]]


def test_the_guide_shows_the_check_that_the_template_runs() -> None:
    (check,) = (line for line in commands(read(GITLAB)) if line.startswith("automata "))
    assert check in (ROOT / "docs/gitlab.md").read_text().splitlines()


def test_the_comment_is_found_by_the_marker_that_the_check_writes() -> None:
    assert f"const marker = '{MARKER}';" in (STARTER / "comment.yml").read_text()


def test_the_example_has_the_workflows_of_a_new_repository() -> None:
    for path in STARTER.iterdir():
        assert (EXAMPLE / path.name).read_text() == path.read_text()


WORKFLOWS = [*CHECKS, *EXAMPLE.iterdir(), STARTER / "comment.yml", *(ROOT / ".github/workflows").iterdir()]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_to_a_commit_whose_version_stands_beside_it(path: Path) -> None:
    """Whoever owns an action may move its tag to another program."""
    for line in re.findall(r"uses: (.+)", path.read_text()):
        assert re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_one_action_is_the_same_commit_everywhere() -> None:
    used = {line for path in WORKFLOWS for line in re.findall(r"uses: (.+)", path.read_text())}
    assert len(used) == len({line.partition("@")[0] for line in used}), used
