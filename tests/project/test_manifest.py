"""`automata.yaml` and the environments' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from automata.errors import Usage
from automata.git.mirror import Mirror
from automata.project.codes import CODES
from automata.project.manifest import Policy, Project, read_environment, read_project
from automata.project.schemas import ENVIRONMENT_SCHEMA, FILES, PROJECT_SCHEMA, schema_text

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(repo: Any, tmp_path: Path) -> Any:
    def commit(files: dict[str, str], folder: str = "") -> Any:
        sha = repo.commit({"README.md": "x", **files})
        return Mirror.open(str(repo.path), tmp_path).tree(sha, folder)

    return commit


def found(diagnostics: list[Any]) -> list[tuple[str, int, int]]:
    return [(item.code, item.line, item.column) for item in diagnostics]


@pytest.mark.parametrize("text", [None, "", "# nothing\n", "{}", "flows: [flows]"])
def test_what_is_not_said_is_the_default(tree: Any, text: str | None) -> None:
    project, problems = read_project(tree({} if text is None else {"automata.yaml": text}))
    assert problems == []
    assert (project.flows, project.environments, project.policy) == (("flows",), {}, Policy("archive", 5, 20))


def test_the_documented_example_is_read(tree: Any) -> None:
    text = """
flows: [flows, more/flows]
environments: {prod: {branch: main, file: environments/prod.yaml}, dev: {branch: develop}}
sync: {prune: confirm, max_delete: {count: 3, percent: 12.5}}
checks: {required: [validate, test], replay: {last: 20}, approvals: 1}
"""
    project, problems = read_project(tree({"automata.yaml": text}))
    assert problems == []
    assert project.flows == ("flows", "more/flows")
    assert project.environments["prod"].file == "environments/prod.yaml"
    assert (project.environments["dev"].branch, project.environments["dev"].file) == ("develop", None)
    assert project.policy == Policy("confirm", 3, 12.5)
    assert project.checks["approvals"] == 1


def test_who_names_one_limit_means_that_one_only(tree: Any) -> None:
    project, _ = read_project(tree({"automata.yaml": "sync: {max_delete: {count: 2}}"}))
    assert project.policy == Policy("archive", 2, None)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("flow: [x]\n", "AF020", 1, 1),
        ("flows: []\n", "AF026", 1, 8),
        ("flows: flows\n", "AF022", 1, 8),
        ("flows:\n  - ../other\n", "AF302", 2, 5),
        ("flows:\n  - /abs\n", "AF302", 2, 5),
        ("flows: ['.']\n", "AF301", 1, 9),
        ("flows: [a, a/b]\n", "AF301", 1, 12),
        ("flows: [flows, flows]\n", "AF033", 1, 16),
        ("environments: {prod: {branch: 'main~1'}}\n", "AF302", 1, 31),
        ("environments: {prod: {file: ../../etc/passwd}}\n", "AF302", 1, 29),
        ("environments: {PROD: {}}\n", "AF024", 1, 16),
        ("sync: {prune: maybe}\n", "AF023", 1, 15),
        ("sync: {max_delete: {percent: 101}}\n", "AF025", 1, 30),
        ("sync: {max_delete: {count: 1.5}}\n", "AF022", 1, 28),
        ("checks: {required: [guess]}\n", "AF023", 1, 21),
        ("a: 1\na: 2\n", "AF009", 2, 1),
        ("- x\n", "AF022", 1, 1),
        ("flows: [\n", "AF001", 2, 1),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tree: Any, text: str, code: str, line: int, column: int) -> None:
    _, problems = read_project(tree({"automata.yaml": text}))
    assert (code, line, column) in found(problems)
    assert {item.file for item in problems} == {"automata.yaml"}


def test_all_problems_are_reported_not_the_first(tree: Any) -> None:
    _, problems = read_project(tree({"automata.yaml": "flowz: [x]\nsync: {prune: maybe}\nenvironments: 3\n"}))
    assert [code for code, _, _ in found(problems)] == ["AF020", "AF023", "AF022"]
    assert problems[0].suggestion == "did you mean `flows`?"


def test_files_are_named_from_the_root_of_the_repository(tree: Any) -> None:
    project, problems = read_project(tree({"deep/automata.yaml": "flows: 1\n"}, "deep"))
    assert [item.file for item in problems] == ["deep/automata.yaml"]
    assert project == Project()


def test_an_environment_has_variables_of_any_kind_and_names_of_secrets(tree: Any) -> None:
    text = "vars: {url: https://x, retries: 3, on: true, nested: {a: [1, null]}}\nsecrets: [CRM_TOKEN]\n"
    commit = tree({"environments/prod.yaml": text})
    environment, problems = read_environment(commit, Project(), "prod")
    assert problems == []
    assert environment.vars == {"url": "https://x", "retries": 3, "on": True, "nested": {"a": [1, None]}}
    assert environment.secrets == {"CRM_TOKEN"}


def test_an_environment_without_a_file_is_empty(tree: Any) -> None:
    environment, problems = read_environment(tree({}), Project(), "prod")
    assert (environment.vars, environment.secrets, problems) == ({}, None, [])


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("vars: [a]\n", "AF022"),
        ("vars: {a-b: 1}\n", "AF024"),
        ("secrets: {TOKEN: hunter2}\n", "AF022"),
        ("secrets: ['a b']\n", "AF024"),
        ("secrets: [A, A]\n", "AF033"),
        ("other: 1\n", "AF020"),
    ],
)
def test_a_wrong_environment_is_said_with_its_place(tree: Any, text: str, code: str) -> None:
    _, problems = read_environment(tree({"environments/prod.yaml": text}), Project(), "prod")
    assert [item.code for item in problems] == [code]
    assert problems[0].line == 1
    assert "hunter2" not in str(problems[0])


def test_a_file_that_the_project_names_must_exist(tree: Any) -> None:
    commit = tree({"automata.yaml": "environments:\n  prod: {file: env/prod.yaml}\n"})
    _, problems = read_environment(commit, read_project(commit)[0], "prod")
    assert found(problems) == [("AF303", 2, 16)]


def test_an_unknown_environment_names_the_nearest(tree: Any) -> None:
    commit = tree({"automata.yaml": "environments: {prod: {}, dev: {}}\n"})
    with pytest.raises(Usage) as caught:
        read_environment(commit, read_project(commit)[0], "prd")
    assert (caught.value.code, caught.value.hint) == ("environment_unknown", "Did you mean 'prod'?")


@pytest.mark.parametrize("name", FILES)
def test_the_published_schemas_are_those_of_the_code(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == schema_text(FILES[name])
    jsonschema.Draft202012Validator.check_schema(FILES[name])


def test_the_starting_repository_fits_the_schemas() -> None:
    import yaml

    starter = ROOT / "automata" / "project" / "starter_files"
    jsonschema.validate(yaml.safe_load((starter / "automata.yaml").read_text()), PROJECT_SCHEMA)
    for name in ("prod", "dev"):
        jsonschema.validate(yaml.safe_load((starter / f"environments/{name}.yaml").read_text()), ENVIRONMENT_SCHEMA)


def test_every_code_that_these_rooms_use_is_listed() -> None:
    import re

    text = "".join(file.read_text() for room in ("project", "git") for file in (ROOT / "automata" / room).glob("*.py"))
    assert set(re.findall(r'"(AF3\d\d)"', text)) == set(CODES)
    assert json.dumps(CODES).isascii()
