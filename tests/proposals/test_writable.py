"""What may be written over REST: what Automata reads, and nothing that a CI runs."""

from __future__ import annotations

from typing import Any

import pytest

from automata.errors import AutomataError
from automata.project.manifest import EnvironmentEntry, Project
from automata.project.source import Source
from automata.proposals.writable import refuse_unwritable

PROJECT = Project(
    flows=("flows", "more/flows"),
    environments={
        "prod": EnvironmentEntry("prod", "main", "config/prod.yaml"),
        "odd": EnvironmentEntry("odd", file="Makefile"),
    },
)
MAY = [
    "automata.yaml",
    "flows/a.yaml",
    "flows/deep/down/a.yml",
    "flows/a.json",
    "more/flows/a.yaml",
    "environments/dev.yaml",
    "config/prod.yaml",
    "tests/orders.test.yaml",
    "tests/mocks/orders.json",
    "tests/mocks/page.html",
    "tests/sync/mocks/feed.xml",
    "tests/recordings/run.json",
    "tests/openapi/erp.yaml",
]
MAY_NOT = [
    "Jenkinsfile",
    "Makefile",
    "README.md",
    "package.json",
    "setup.py",
    "requirements.txt",
    ".github/workflows/x.yml",
    ".gitlab-ci.yml",
    "azure-pipelines.yml",
    "flows/Makefile",
    "flows/.gitlab-ci.yml",
    "flows/.hidden/a.yaml",
    "flows/run.py",
    "flows/a.yaml.sh",
    "flows/docker-compose.yml",
    "flows/action.yml",
    "FLOWS/a.yaml",
    "flowsx/a.yaml",
    "more/a.yaml",
    "tests/conftest.py",
    "tests/run.sh",
    "tests/requirements.txt",
    "tests/package.json",
    "tests/Package.JSON",
    "tests/mocks/run.sh",
    "mocks/a.txt",
    "environments/Jenkinsfile",
    "automata.yaml/x",
    "config/other.yaml",
    "schemas/a.json",
]


@pytest.mark.parametrize("folder", ["", "team/flows"])
@pytest.mark.parametrize("path", MAY)
def test_what_automata_reads_may_be_written(path: str, folder: str) -> None:
    refuse_unwritable(Source("/r", path=folder), PROJECT, [f"{folder}/{path}" if folder else path])


@pytest.mark.parametrize("folder", ["", "team/flows"])
@pytest.mark.parametrize("path", MAY_NOT)
def test_what_others_run_may_not(path: str, folder: str) -> None:
    with pytest.raises(AutomataError) as raised:
        refuse_unwritable(Source("/r", path=folder), PROJECT, ["flows/a.yaml", f"{folder}/{path}" if folder else path])
    assert raised.value.code == "outside_project"


@pytest.mark.parametrize("path", ["flows/../Makefile", "/flows/a.yaml", "flows/a.yaml/..", "", "flows/"])
def test_a_path_that_is_none_is_refused_too(path: Any) -> None:
    with pytest.raises(AutomataError):
        refuse_unwritable(Source("/r"), PROJECT, [path])


def test_what_belongs_to_another_folder_of_the_repository_may_not() -> None:
    with pytest.raises(AutomataError, match=r"team/flows/automata\.yaml"):
        refuse_unwritable(Source("/r", path="team/flows"), PROJECT, ["flows/a.yaml"])
