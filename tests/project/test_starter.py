"""The repository that `automata init` makes: it validates, syncs, and its cases name real things."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pygit2
import pytest
import yaml

from automata.errors import Usage
from automata.flow.compile import compile_flow
from automata.flow.load import validate_text
from automata.git.mirror import Mirror
from automata.project.flows import list_files, validate
from automata.project.starter import create_starter


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Whoever runs the tests may have a Git configuration; the repository must not need one.
    levels = (pygit2.enums.ConfigLevel.GLOBAL, pygit2.enums.ConfigLevel.XDG, pygit2.enums.ConfigLevel.SYSTEM)
    before = {level: pygit2.settings.search_path[level] for level in levels}
    for level in levels:
        pygit2.settings.search_path[level] = str(tmp_path / "no-config")
    try:
        create_starter(tmp_path / "new")
    finally:
        for level, path in before.items():
            pygit2.settings.search_path[level] = path
    return tmp_path / "new"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_it_is_one_clean_commit_on_main_by_automata(made: Path) -> None:
    assert git(made, "status", "--porcelain") == ""
    assert git(made, "log", "--all", "--format=%an <%ae>|%s|%D") == (
        "Automata <automata@localhost>|Start with two example flows|HEAD -> main"
    )
    assert git(made, "fsck", "--strict") == ""


def test_it_has_what_a_flows_repository_needs(made: Path) -> None:
    names = set(git(made, "ls-files").splitlines())
    assert {
        "automata.yaml", "README.md", "flows/hello.yaml", "tests/hello.test.yaml", "environments/dev.yaml",
        "environments/prod.yaml", ".github/workflows/flows.yml", ".github/workflows/comment.yml",
    } <= names  # fmt: skip
    assert "automata check --base" in (made / ".github/workflows/flows.yml").read_text(), "validate, plan, test, replay"


@pytest.mark.parametrize("environment", ["prod", "dev"])
def test_it_is_valid_in_every_environment_without_a_warning(made: Path, tmp_path: Path, environment: str) -> None:
    mirror = Mirror.open(str(made), tmp_path / "mirrors")
    tree = mirror.tree(mirror.resolve("main"))
    wanted = validate(tree, list_files(tree, environment))
    assert sorted(flow.name for flow in wanted.flows) == ["hello", "sync-orders"]
    assert wanted.diagnostics == []


def test_hello_needs_no_network(made: Path) -> None:
    loaded = validate_text((made / "flows/hello.yaml").read_bytes(), "flows/hello.yaml")
    assert loaded.flow is not None
    assert {step.kind for step in compile_flow(loaded.flow).steps.values()} == {"instant", "timer"}


def test_the_cases_name_flows_steps_outputs_and_inputs_that_exist(made: Path) -> None:
    for file in sorted((made / "tests").glob("*.test.yaml")):
        suite = yaml.safe_load(file.read_text())
        [source] = [path for path in (made / "flows").rglob("*.yaml") if path.stem == suite["flow"]]
        flow = validate_text(source.read_bytes(), source.name).flow
        assert flow is not None
        steps = {full for full, _ in flow.walk()}
        for case in suite["cases"]:
            assert_fits(case, flow, steps)


def assert_fits(case: dict[str, Any], flow: Any, steps: set[str]) -> None:
    expected = case["expect"]
    assert set(case.get("inputs", {})) <= {given.name for given in flow.inputs}
    assert set(expected.get("outputs", {})) <= set(flow.outputs)
    assert set(expected.get("steps", {})) | set(expected.get("order", [])) <= steps
    assert expected["status"] in ("SUCCEEDED", "FAILED")
    assert set(case) <= {"name", "inputs", "secrets", "mocks", "expect"}


def test_an_existing_empty_folder_is_used_and_a_full_one_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert create_starter(tmp_path / "empty").files
    with pytest.raises(Usage) as caught:
        create_starter(tmp_path / "empty")
    assert (caught.value.code, caught.value.exit_code) == ("not_empty", 3)
    (tmp_path / "file").write_text("")
    with pytest.raises(Usage):
        create_starter(tmp_path / "file")
