"""The files of a working tree as they are on disk, for `automata up --watch`: same vetting, no commit needed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import cached_property
from pathlib import Path

import pygit2
from watchfiles import Change, awatch

from automata.errors import Missing, Usage
from automata.git.disk import NO_COMMIT, DiskTree
from automata.git.faults import object_faults
from automata.git.history import Provenance
from automata.git.mirror import Mirror
from automata.git.names import check_folder, shown
from automata.git.tree import CommitTree, Entry, Listing

DEBOUNCE_MS = 200
_REFS = ("HEAD", "packed-refs", "refs/heads")


class WorkingTree(DiskTree):
    """A folder of a repository's files. `commit` is HEAD's SHA, with `-dirty` once something read differs from it."""

    def __init__(self, mirror: Mirror, folder: str) -> None:
        super().__init__(_root(mirror), check_folder(folder))
        self._mirror = mirror
        self._repository = mirror.repository
        self._head = _head_tree(mirror, self.folder)
        self._dirty = False
        if not self.exists(self.folder):
            raise Missing(
                f"There is no folder {shown(self.folder)} in {self.root}.",
                code="folder_not_found",
                hint="Check --path.",
            )

    @property
    def head(self) -> str | None:
        """The SHA that is checked out; None in a repository without a commit."""
        return self._head.commit if self._head else None

    @property
    def commit(self) -> str:
        """HEAD's SHA, with `-dirty` once something read differs from it."""
        if self._head is None:
            return NO_COMMIT
        return f"{self._head.commit}-dirty" if self._dirty else self._head.commit

    def find(self, path: str) -> tuple[Entry | None, Listing]:
        """One file by its path; None when it is absent or refused (then the listing says why)."""
        entry, listing = super().find(path)
        self._compare({entry_found.path: entry_found.blob for entry_found in listing.files}, self._committed_file(path))
        return entry, listing

    def list(self, folder: str) -> Listing | None:
        """Everything below `folder` but what Git ignores and does not track; None when there is no such folder."""
        listing = super().list(folder)
        if listing is not None and not listing.seen and listing.diagnostics:
            return listing  # the way there is refused
        committed = self._head.blobs(folder) if self._head else {}
        self._compare({entry.path: entry.blob for entry in listing.files} if listing else {}, committed)
        return listing

    def provenance(self, blobs: dict[str, str], folders: Sequence[str]) -> dict[str, Provenance]:
        """Like that of a commit; what is not committed is credited to nobody, at the file's time."""
        committed = {path: blob for path, blob in blobs.items() if self._committed_file(path).get(path) == blob}
        provenances = {path: self._uncommitted(path) for path in blobs.keys() - committed.keys()}
        if self._head and committed:
            provenances |= self._head.provenance(committed, folders)
        return provenances

    def _is_left_out(self, path: str) -> bool:
        # A file that is tracked is part of the commit, and goes live, whatever .gitignore says of its name.
        return super()._is_left_out(path) or (self._repository.path_is_ignored(path) and path not in self._tracked)

    @cached_property
    def _tracked(self) -> frozenset[str]:
        """The paths in the index, and the folders that they are in."""
        with object_faults(self._mirror.address):
            paths = {entry.path for entry in self._repository.index}
        return frozenset(paths.union(*(_parents(path) for path in paths)))

    def _committed_file(self, path: str) -> dict[str, str]:
        entry = self._head.find(path)[0] if self._head else None
        return {path: entry.blob} if entry else {}

    def _compare(self, here: dict[str, str], committed: dict[str, str]) -> None:
        self._dirty = self._dirty or here != committed


async def changes(root: Path, folder: str = "", debounce_ms: int = DEBOUNCE_MS) -> AsyncIterator[set[str]]:
    """Yield the paths that changed below `folder`, gathered; also moves of branches (`.git/HEAD` and heads).

    `root` is a resolved path; what is yielded is relative to it.
    """
    keep = f"{folder}/" if folder else ""

    def is_watched(_: Change, path: str) -> bool:
        return _is_watched(Path(path).relative_to(root).as_posix(), keep)

    async for batch in awatch(root, watch_filter=is_watched, debounce=debounce_ms):
        yield {Path(path).relative_to(root).as_posix() for _, path in batch}


def _is_watched(path: str, keep: str) -> bool:
    if path.startswith(".git/"):
        return path[5:].startswith(_REFS) and not path.endswith(".lock")
    return path.startswith(keep) and "/.git/" not in path


def _parents(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:count]) for count in range(1, len(parts))}


def _root(mirror: Mirror) -> Path:
    if mirror.workdir is None:
        raise Usage(
            f"{mirror.address.url} has no working tree to watch.",
            code="no_working_tree",
            hint="--watch needs a local repository that is not bare.",
        )
    return mirror.workdir.resolve()


def _head_tree(mirror: Mirror, folder: str) -> CommitTree | None:
    try:
        commit = str(mirror.repository.lookup_reference("HEAD").peel(pygit2.Commit).id)
    except (KeyError, pygit2.GitError):
        return None  # No commit yet.
    return CommitTree(mirror.repository, mirror.address, commit, folder)
