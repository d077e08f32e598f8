"""A project in a repository on this disk: the one that settings name, or the one around the current folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from automata.errors import AutomataError, Diagnostic, Usage
from automata.flow.findings import Findings
from automata.flow.load import ParsedFlow
from automata.git.disk import DiskTree
from automata.git.mirror import Mirror
from automata.git.names import check_folder
from automata.git.tree import joined
from automata.git.working import WorkingTree
from automata.project.manifest import FILE, read_environment, read_project
from automata.project.source import Source, source_of
from automata.project.tree import Tree
from automata.project.variables import resolve, uses
from automata.settings import Settings

_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class LocalProject:
    """A project in a repository on this disk."""

    mirror: Mirror
    source: Source

    @property
    def folder(self) -> str:
        """The project's folder inside the repository; empty for its root."""
        return self.source.path

    @property
    def environment(self) -> str:
        """The environment whose variables apply."""
        return self.source.environment

    def now(self) -> Tree:
        """The files on disk, committed or not."""
        return WorkingTree(self.mirror, self.folder)

    def at(self, revision: str) -> Tree:
        """`revision` is a branch or a full SHA; a branch may be one of `origin` alone, as in a clone that CI made.

        Raises Missing.
        """
        sha = revision if _SHA.fullmatch(revision) else self.mirror.resolve(revision, tracked=True)
        return self.mirror.tree(sha, self.folder)


def find_local_project(settings: Settings) -> LocalProject:
    """The project that settings name, else the one around this folder. Raises Usage."""
    source = source_of(settings, None) if settings.repo else _around(settings)
    if not Path(source.url).expanduser().is_dir():
        raise Usage(
            f"{source.name} is not a folder on this machine.",
            code="not_local",
            hint="Cases are run on files: clone the repository first.",
        )
    return LocalProject(source.open(), source)


def find_flow_files(place: Path, folder: str = "") -> tuple[list[Path], list[Diagnostic]]:
    """The files in `folder` below `place` that a sync would take for flows, and what it would refuse on the way.

    They are read from the disk: inside a repository without those that Git ignores and does not track, elsewhere all.
    None when there is no such folder. Every name begins with `place`.
    """
    tree, inside = _tree_at(place)
    listing = tree.list(joined(inside, check_folder(folder)) if folder else inside)
    if listing is None:
        return [], []
    files = [_named(place, inside, entry.path) for entry in listing.flows()]
    return files, [replace(item, file=_named(place, inside, item.file).as_posix()) for item in listing.diagnostics]


def find_project_problems(place: Path, flows: Iterable[ParsedFlow]) -> list[Diagnostic]:
    """What a sync would find in a project on this disk beside its `flows`, which were read from it.

    In `automata.yaml`, in the files of the environments that it names, and between those and what the flows read.
    """
    tree, inside = _tree_at(place)
    tree.folder = inside
    project, problems = read_project(tree)
    reads = [(flow, uses(flow.spec)) for flow in flows if flow.spec is not None]
    of_flows: list[Diagnostic] = []
    for name in project.environments:
        environment, more = read_environment(tree, project, name)
        problems += more
        for flow, read in reads:
            findings = Findings(flow.file, flow.positions)
            resolve(read, environment, findings)
            of_flows += findings.done()
    named = [replace(item, file=_named(place, inside, item.file).as_posix()) for item in problems]
    return list(dict.fromkeys([*named, *of_flows]))


def _named(place: Path, inside: str, path: str) -> Path:
    """A path from the root of the files around `place`, as one that begins with `place`."""
    return place / path.removeprefix(f"{inside}/" if inside else "")


def _tree_at(place: Path) -> tuple[DiskTree, str]:
    """The files around a folder, and the folder in them."""
    here = place.resolve()
    root = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    if root is not None:
        with suppress(AutomataError):  # a repository that cannot be read: its files can
            tree = WorkingTree(Mirror.open(str(root), root), "")
            return tree, "" if here == root else here.relative_to(root).as_posix()
    return DiskTree(here), ""


def _around(settings: Settings) -> Source:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            path = settings.repo_path or _project_around(here, folder)
            return source_of(replace(settings, repo=str(folder), repo_path=path))
    raise Usage(
        "This folder is in no Git repository.", code="no_repository", hint="Name one with --repo, or run git init."
    )


def _project_around(here: Path, root: Path) -> str:
    """The nearest folder with a project file from `here` upwards; the root when there is none."""
    project = here
    while project != root and not (project / FILE).is_file():
        project = project.parent
    return project.relative_to(root).as_posix()
