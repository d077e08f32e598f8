"""Where the flows of an environment come from, and one look at it: a mirror, and a commit or a working tree."""

from __future__ import annotations

import re
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

from automata.errors import Missing, Usage
from automata.git.address import parse_address
from automata.git.mirror import Mirror
from automata.git.names import check_branch, check_folder, shown
from automata.git.working import WorkingTree, changes
from automata.project.manifest import environment_branches
from automata.project.tree import Tree
from automata.settings import Settings
from automata.store.embedded_permissions import default_data_dir

MAIN = "main"
_PART = re.compile(r",(?=(?:repo|env|branch|path)=)")
_ENVIRONMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Source:
    """One folder of one repository for one environment.

    `branch` None takes the environment's branch from `automata.yaml`, else main. `working_tree` reads what is on disk
    instead of a commit (development only). `mirrors` is where copies of remote repositories are kept; None is
    a folder of the data directory.
    """

    url: str
    branch: str | None = "main"
    environment: str = "prod"
    path: str = ""
    working_tree: bool = False
    mirrors: Path | None = None

    @property
    def name(self) -> str:
        """The address without credentials: what the database, messages and logs know the source by."""
        return parse_address(self.url).url

    def checked(self) -> Source:
        """The same source with its folder written one way; raises Usage for any part that cannot be."""
        if self.branch is not None:
            check_branch(self.branch)
        if not _ENVIRONMENT.fullmatch(self.environment):
            raise Usage(
                f"{shown(self.environment)} is not the name of an environment.",
                code="environment_name",
                hint="Lower-case letters, digits, '.', '_' and '-', at most 63, such as prod.",
            )
        parse_address(self.url)
        return replace(self, path=check_folder(self.path))

    def open(self) -> Mirror:
        """Its mirror, or the repository itself when that is a folder. Raises Unavailable, Missing."""
        return Mirror.open(self.url, self.mirrors or default_data_dir() / "mirrors")


def source_of(settings: Settings, branch: str | None = None) -> Source:
    """The repository, branch and environment that settings and a flag name. Raises Usage (`no_repository`)."""
    if not settings.repo:
        raise Usage(
            "Which repository? Neither --repo nor AUTOMATA_REPO says so.",
            code="no_repository",
            hint="automata sync --repo . takes the one of this folder; automata init DIR makes a new one.",
        )
    # Only a branch that somebody chose outweighs the one that automata.yaml gives the environment.
    chosen = branch or (settings.branch if settings.branch != Settings().branch else None)
    return Source(
        settings.repo,
        branch=chosen,
        environment=settings.environment,
        path=settings.repo_path,
        mirrors=Path(settings.data_dir).expanduser() / "mirrors" if settings.data_dir else None,
    ).checked()


def sources_of(settings: Settings) -> list[Source]:
    """The sources of a list. Raises Usage for one that cannot be, or is there twice."""
    sources: list[Source] = []
    for text in settings.sources:
        parts = dict(part.partition("=")[::2] for part in _PART.split(text))
        if not parts.get("repo") or parts.keys() - {"repo", "env", "branch", "path"}:
            raise Usage(
                f"{text!r} is no source.",
                code="bad_source",
                hint="repo=https://git.example.com/flows.git,env=prod,branch=main,path=team-a; all but repo may go.",
            )
        named = replace(settings, repo=parts["repo"], repo_path=parts.get("path", ""), branch=Settings().branch)
        named = replace(named, environment=parts.get("env") or settings.environment)
        source = source_of(named, parts.get("branch"))
        if any(
            (other.name, other.path, other.environment) == (source.name, source.path, source.environment)
            for other in sources
        ):
            raise Usage(f"The source {text!r} is there twice.", code="bad_source")
        sources.append(source)
    return sources


def confirm_command(source: Source, branch: str, word: str) -> str:
    """What a person types to let flows go that a guard kept; credentials come from the environment as always."""
    words = ["automata", "sync", "--repo", source.name, "--branch", branch, "--env", source.environment]
    if source.path:
        words += ["--path", source.path]
    return shlex.join([*words, "--confirm-deletes", word])


def look(mirror: Mirror, source: Source, commit: str) -> Tree:
    """The files to read: those of `commit`, or of the working tree. Raises Missing when the folder is not there."""
    if source.working_tree:
        return WorkingTree(mirror, source.path)
    return mirror.tree(commit, source.path)


def head(source: Source) -> str:
    """The commit that the source's branch is at now; fetches. Raises Missing, Unavailable."""
    mirror = source.open()
    mirror.fetch()
    return mirror.resolve(choose_branch(mirror, source))


def choose_branch(mirror: Mirror, source: Source) -> str:
    """The branch to follow: the one asked for, else the environment's in `automata.yaml`, else main.

    `automata.yaml` is that of the default branch.
    """
    if source.branch is not None:
        return source.branch
    default = _default_branch(mirror)
    if default is None:
        return MAIN
    try:
        tree = mirror.tree(mirror.resolve(default), source.path)
    except Missing:
        return MAIN
    return environment_branches(tree).get(source.environment) or MAIN


def _default_branch(mirror: Mirror) -> str | None:
    branches = mirror.branches()
    usual = [name for name in (mirror.head_branch(), MAIN, "master") if name in branches]
    if usual:
        return usual[0]
    return branches[0] if len(branches) == 1 else None


async def watch(source: Source) -> AsyncIterator[set[str]]:
    """Yield the changed paths (from the root of the repository) each time the project's files or branches change."""
    source = source.checked()
    root = WorkingTree(source.open(), source.path).root
    async for batch in changes(root, source.path):
        yield batch
