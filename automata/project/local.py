"""A project in a repository on this disk: the one that settings name, or the one around the current folder."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from automata.errors import Usage
from automata.git.mirror import Mirror
from automata.git.working import WorkingTree
from automata.project.manifest import FILE
from automata.project.source import Source, source_of
from automata.project.tree import Tree
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
        """`revision` is a branch or a full SHA. Raises Missing."""
        sha = revision if _SHA.fullmatch(revision) else self.mirror.resolve(revision)
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


def _around(settings: Settings) -> Source:
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            project = here
            while project != folder and not (project / FILE).is_file():
                project = project.parent
            path = project.relative_to(folder).as_posix()
            return replace(source_of(replace(settings, repo=str(folder)), None), path="" if path == "." else path)
    raise Usage(
        "This folder is in no Git repository.", code="no_repository", hint="Name one with --repo, or run git init."
    )
