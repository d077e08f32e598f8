"""Which commit each new version comes from.

A version is made of its flow's file, and of what the environment's file and `automata.yaml` give it. It is of a commit
only where all of these are committed: what somebody tries out with `--watch` is nobody's commit, however often it is
saved before one is made.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from automata.flow.model import FlowContent
from automata.git.history import Provenance
from automata.git.names import is_commit, is_uncommitted
from automata.git.tree import joined
from automata.project.flows import ProjectFiles
from automata.project.tree import Tree

# What a version has from the environment besides variables; the names to mask in recordings are those of the project.
_OF_ENVIRONMENT = frozenset({"egress", "recording"})
_OF_PROJECT = frozenset({"recording"})


@dataclass(frozen=True, slots=True)
class LastSync:
    """What the last sync left. `has`: whether a commit was part of it; `is_committed`: it read nothing else."""

    has: Callable[[str], bool]
    is_committed: bool


def version_origins(
    tree: Tree, files: ProjectFiles, contents: Mapping[str, FlowContent], last: LastSync
) -> dict[str, Provenance]:
    """By path of the flow: the commit of its file, or of what else it is made of when only that moved since."""
    folders = [joined(files.folder, folder) for folder in files.project.flows]
    own = tree.provenance({path: files.entries[path].blob for path in contents}, folders)
    if is_commit(tree.commit) and not any(last.has(origin.commit) for origin in own.values()):
        return own
    shared = _shared(tree, files)
    return {
        path: _origin(own[path], _besides(content, files, shared), _around(files, shared), last)
        for path, content in contents.items()
    }


def _shared(tree: Tree, files: ProjectFiles) -> dict[str, Provenance]:
    """The provenance of the environment's file and of `automata.yaml`, by path, where they are there."""
    entries = [tree.find(path)[0] for path in (files.environment.file, files.project.file) if path]
    blobs = {entry.path: entry.blob for entry in entries if entry}
    return tree.provenance(blobs, sorted({posixpath.dirname(path) for path in blobs}))


def _besides(content: FlowContent, files: ProjectFiles, shared: Mapping[str, Provenance]) -> list[Provenance]:
    """Of the shared files, those that a version has something of."""
    of_environment = bool(content.variables) or not _OF_ENVIRONMENT.isdisjoint(content.spec)
    of_project = not _OF_PROJECT.isdisjoint(content.spec)
    paths = ((files.environment.file, of_environment), (files.project.file, of_project))
    return [shared[path] for path, is_read in paths if is_read and path in shared]


def _around(files: ProjectFiles, shared: Mapping[str, Provenance]) -> tuple[Provenance | None, Provenance | None]:
    """The environment's file, which may have given a version something that it has no more, and `automata.yaml`, which
    may have brought a flow in by naming its folder."""
    return shared.get(files.environment.file), shared.get(files.project.file)


def _origin(
    own: Provenance,
    besides: Iterable[Provenance],
    around: tuple[Provenance | None, Provenance | None],
    last: LastSync,
) -> Provenance:
    if uncommitted := _newest(besides, own, where=is_uncommitted):
        return uncommitted
    if not last.has(own.commit):
        return own
    # The file is as it was before the last sync: something else made this version, or a trial of the file was undone.
    environment, project = around
    if uncommitted := _newest((), environment, project, where=is_uncommitted):
        return uncommitted
    causes = (environment, project) if last.is_committed else (project,)
    return _newest(besides, *causes, where=lambda commit: not last.has(commit)) or own


def _newest(origins: Iterable[Provenance], *more: Provenance | None, where: Callable[[str], bool]) -> Provenance | None:
    """The one of the latest time of those whose commit fits."""
    fitting = [origin for origin in (*origins, *more) if origin and where(origin.commit)]
    return max(fitting, key=_when, default=None)


def _when(origin: Provenance) -> datetime:
    return origin.committed_at or datetime.min.replace(tzinfo=UTC)
