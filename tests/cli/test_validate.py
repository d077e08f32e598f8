"""`automata validate` looks at what a sync would deploy: the same files, vetted in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded
from automata.git.mirror import Mirror
from automata.project.flows import list_files
from tests.repositories import GitRepo, flow_text, make_repo, repo

__all__ = ["make_repo", "repo"]  # fixtures

Validate = Callable[..., tuple[int, dict[str, Any]]]
BAD = "name: bad\nsteps: 1\n"


@pytest.fixture
def validate(capsys: pytest.CaptureFixture[str]) -> Validate:
    def call(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = guarded(lambda: app(["validate", "-f", "json", *words], standalone_mode=False))
        out = capsys.readouterr().out
        return code, json.loads(out) if out else {}

    return call


def told(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["file"], item["code"]) for item in report["diagnostics"]}


@pytest.mark.parametrize(
    "path", ["flows/.drafts/bad.yaml", "flows/a/.b/c/bad.json", "flows/BAD.YML", "flows/ignored/bad.yaml"]
)
@pytest.mark.parametrize("project", [True, False], ids=["project", "plain"])
def test_what_goes_live_is_validated(
    repo: GitRepo, validate: Validate, monkeypatch: pytest.MonkeyPatch, path: str, project: bool
) -> None:
    files: dict[str, str | bytes] = {"flows/good.yaml": flow_text("good"), path: BAD}
    repo.commit(files | ({"automata.yaml": "flows: [flows]\n"} if project else {}))
    head = repo.commit({".gitignore": "ignored/\n"})
    monkeypatch.chdir(repo.path)
    deployed = list_files(Mirror.open(str(repo.path), repo.path).tree(head), "prod").entries
    code, report = validate()
    assert (code, report["summary"]["files"]) == (1, len(deployed))
    assert {file for file, _ in told(report)} == {path} <= deployed.keys()


def test_what_never_goes_live_is_not_validated(
    repo: GitRepo, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"flows/good.yaml": flow_text("good"), "flows/.bad.yaml": BAD, "flows/bad.txt": BAD})
    repo.write({".gitignore": "scratch/\n", "flows/scratch/bad.yaml": BAD})
    monkeypatch.chdir(repo.path)
    assert validate()[0] == 0


def test_what_a_sync_refuses_on_the_way_is_refused(repo: GitRepo, validate: Validate) -> None:
    repo.write({"p/automata.yaml": "", "p/flows/a.yaml": flow_text("a"), "p/flows/A.yaml": flow_text("b")})
    (repo.path / "p/flows/link.yaml").symlink_to("a.yaml")
    code, report = validate(str(repo.path / "p"))
    flows = (repo.path / "p/flows").as_posix()
    assert code == 1
    assert told(report) == {(f"{flows}/link.yaml", "AF310"), (f"{flows}/a.yaml", "AF312")}


def test_outside_of_a_repository_files_are_found_all_the_same(
    tmp_path: Path, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flows/.hidden").mkdir(parents=True)
    (tmp_path / "flows/.hidden/bad.yaml").write_text(BAD)
    (tmp_path / "flows/good.yaml").write_text(flow_text("good"))
    monkeypatch.chdir(tmp_path)
    code, report = validate()
    assert (code, {file for file, _ in told(report)}) == (1, {"flows/.hidden/bad.yaml"})
    code, report = validate("flows/good.yaml")
    assert (code, report["summary"]["files"]) == (0, 1)


PROJECT = "environments: {prod: {file: environments/prod.yaml}, dev: {file: environments/dev.yaml}}\n"
READS = """name: reads
steps:
  - id: a
    type: http
    config: {url: "https://{{ vars.shop }}/x", headers: {x-key: "{{ secrets.KEY }}"}}
"""


@pytest.mark.parametrize("folder", ["", "team"])
def test_a_project_is_validated_as_a_whole(
    repo: GitRepo, validate: Validate, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    root = repo.path / folder
    files = {
        "automata.yaml": PROJECT,
        "flows/reads.yaml": READS,
        "environments/prod.yaml": "vars: {shop: x}\nsecrets: [KEY]\n",
        "environments/dev.yaml": "vars: {shop: x}\n",
    }
    for name, text in files.items():
        repo.write({f"{folder}/{name}".lstrip("/"): text})
    monkeypatch.chdir(root)
    assert validate() == (0, validate()[1])
    (root / "environments/dev.yaml").write_text("vars: {ship: x}\nsecrets: []\n")
    code, report = validate()
    assert code == 1
    assert told(report) == {("flows/reads.yaml", "AF320"), ("flows/reads.yaml", "AF321")}
    (root / "environments/dev.yaml").write_text("vars: 7\n")
    assert ("environments/dev.yaml", "AF022") in told(validate()[1])
    (root / "environments/dev.yaml").unlink()
    code, report = validate()
    assert (code, ("automata.yaml", "AF303") in told(report)) == (1, True)


def test_no_file_is_no_success(tmp_path: Path, validate: Validate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows").mkdir()
    assert validate()[0] == 1
    assert validate("--allow-empty")[0] == 0
