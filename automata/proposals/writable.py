"""Which files a proposal may write over REST or at the console: those that Automata reads, and none that a CI runs.

Whoever may propose flows through a server may not thereby run programs in the CI of the repository: a branch is built
before anybody has looked at it. So this is a list of what may be written, and not of what may not.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from automata.errors import Invalid
from automata.git.names import check_folder, shown
from automata.project.manifest import FILE, Project
from automata.project.source import Source

ENVIRONMENTS, TESTS = "environments", "tests"
DATA = frozenset({".yaml", ".yml", ".json"})
# Bodies of answers. Only in folders of their own: what a CI runs may be text too, as `tests/requirements.txt`.
TEXT = frozenset({".txt", ".xml", ".csv", ".html"})
TEXT_FOLDERS = frozenset({"mocks", "recordings"})
# Data that tools take for theirs wherever it lies; a flow or a case can have another name.
TAKEN = frozenset(
    {
        *("package.json", "package-lock.json", "composer.json", "deno.json", "tsconfig.json", "jsr.json", "turbo.json"),
        *("docker-compose.yaml", "docker-compose.yml", "compose.yaml", "compose.yml", "skaffold.yaml", "skaffold.yml"),
        *("taskfile.yaml", "taskfile.yml", "buildspec.yml", "cloudbuild.yaml", "azure-pipelines.yml", "appveyor.yml"),
        *("bitbucket-pipelines.yml", "codemagic.yaml", "action.yml", "action.yaml", "playbook.yml", "ansible.yml"),
    }
)


def refuse_unwritable(source: Source, project: Project, paths: Iterable[str]) -> None:
    """Raise Invalid (`outside_project`) for a path, from the repository's root, that may not be written or taken away.

    `project` is that of the base: a branch does not say where flows are.
    """
    prefix = f"{source.path}/" if source.path else ""
    for path in paths:
        clean = check_folder(path)
        if not clean.startswith(prefix) or not may_write(project, clean.removeprefix(prefix)):
            raise Invalid(
                f"{shown(path)} is no file that can be changed here: {_listed(project, prefix)} are.",
                code="outside_project",
                hint="Push a branch with git to change another file.",
            )


def may_write(project: Project, path: str) -> bool:
    """Whether `path`, from the project's folder, is a file that Automata reads and that nothing else runs."""
    place = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in place.parts)
    if hidden or place.name.lower() in TAKEN:
        return False
    if path == FILE or (path in _environment_files(project) and place.suffix in DATA):
        return True
    folder = next((folder for folder in (*project.flows, ENVIRONMENTS, TESTS) if _is_below(path, folder)), None)
    if folder is None:
        return False
    told_as_text = folder == TESTS and place.suffix in TEXT and TEXT_FOLDERS & set(place.parts[1:-1])
    return place.suffix in DATA or bool(told_as_text)


def _environment_files(project: Project) -> set[str]:
    return {entry.file for entry in project.environments.values() if entry.file}


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder}/")


def _listed(project: Project, prefix: str) -> str:
    folders = ", ".join(f"{prefix}{folder}/" for folder in dict.fromkeys((*project.flows, ENVIRONMENTS, TESTS)))
    return f"{prefix}{FILE}, and YAML and JSON in {folders}"
