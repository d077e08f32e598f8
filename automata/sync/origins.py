"""Which commit each new version comes from.

A version is made of its flow's file, and of what the environment's file and `automata.yaml` give it. It is of a commit
only where all of these are committed: what somebody tries out with `--watch` is nobody's commit, however often it is
saved before one is made.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping

from automata.flow.model import FlowContent
from automata.git.history import Provenance
from automata.git.names import is_commit
from automata.git.tree import joined
from automata.project.flows import ProjectFiles
from automata.project.tree import Tree

# What a version has from the environment besides variables; the names to mask in recordings are those of the project.
_OF_ENVIRONMENT = frozenset({"egress", "recording"})
_OF_PROJECT = frozenset({"recording"})


def version_origins(
    tree: Tree,
    files: ProjectFiles,
    contents: Mapping[str, FlowContent],
    in_last_sync: Callable[[str], bool],
) -> dict[str, Provenance]:
    """By path of the flow: the commit of its file, or of what else it is made of when only that moved since.

    `in_last_sync`: whether a commit was part of the last sync.
    """
    folders = [joined(files.folder, folder) for folder in files.project.flows]
    own = tree.provenance({path: files.entries[path].blob for path in contents}, folders)
    if is_commit(tree.commit) and not any(in_last_sync(origin.commit) for origin in own.values()):
        return own
    shared = _shared(tree, files)
    return {
        path: _origin(own[path], _besides(content, files, shared), shared.get(files.project.file), in_last_sync)
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


def _origin(
    own: Provenance,
    besides: Iterable[Provenance],
    project: Provenance | None,
    in_last_sync: Callable[[str], bool],
) -> Provenance:
    """`project`: that of `automata.yaml`, which may also have brought a flow in by naming its folder."""
    uncommitted = [origin for origin in (own, *besides) if not is_commit(origin.commit)]
    if uncommitted:
        return max(uncommitted, key=lambda origin: origin.committed_at)
    if not in_last_sync(own.commit):
        return own
    causes = [origin for origin in (*besides, project) if origin and is_commit(origin.commit)]
    new = [origin for origin in causes if not in_last_sync(origin.commit)]
    return max(new, key=lambda origin: origin.committed_at, default=own)
