"""The files of a working tree as they are on disk, for `automata up --watch`: same vetting, no commit needed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pygit2
from watchfiles import Change, awatch

from automata.errors import Missing, Unavailable, Usage
from automata.git.history import Provenance
from automata.git.mirror import Mirror
from automata.git.names import check_folder, shown
from automata.git.tree import (
    MAX_FILES,
    CommitTree,
    Entry,
    Listing,
    collisions,
    folded,
    joined,
    path_problem,
    printable,
    size_problem,
)

DEBOUNCE_MS = 200
NO_COMMIT = "working-tree"
_REFS = ("HEAD", "packed-refs", "refs/heads")


class WorkingTree:
    """Like `CommitTree`, over the disk. `commit` is HEAD's SHA, with `-dirty` once something read differs from it."""

    def __init__(self, mirror: Mirror, folder: str) -> None:
        self.folder = check_folder(folder)
        self.root = _root(mirror)
        self.tree = ""
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
        if self._head is None:
            return NO_COMMIT
        return f"{self._head.commit}-dirty" if self._dirty else self._head.commit

    def exists(self, folder: str) -> bool:
        """Whether a folder is on disk."""
        return self.root.joinpath(folder).is_dir()

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in `folder`, sorted."""
        place = self.root.joinpath(folder)
        return sorted(item.name for item in place.iterdir() if item.is_dir()) if place.is_dir() else []

    def find(self, path: str) -> tuple[Entry | None, Listing]:
        """One file by its path; None when it is absent or refused (then the listing says why)."""
        listing = Listing()
        parent, _, name = path.rpartition("/")
        if self._descend(parent, listing):
            siblings = [item for item in _names(self.root / parent) if folded(item) == folded(name)]
            if len(siblings) > 1:
                _refuse_collisions(listing, parent, siblings)
            elif name in siblings:
                self._add(listing, path)
        self._compare({entry.path: entry.blob for entry in listing.files}, self._committed_file(path))
        return (listing.files[0] if listing.files else None), listing

    def list(self, folder: str) -> Listing | None:
        """Everything below `folder` that Git does not ignore; None when there is no such folder."""
        listing = Listing()
        if not self._descend(folder, listing):
            return listing if listing.diagnostics else None
        self._walk(listing, folder, folder.count("/") + 1)
        listing.files.sort(key=lambda entry: entry.path)
        committed = self._head.blobs(folder) if self._head else {}
        self._compare({entry.path: entry.blob for entry in listing.files}, committed)
        return listing

    def data(self, entry: Entry) -> bytes:
        """The file's bytes; Unavailable when it changed since it was listed (the next look will be right)."""
        data = _read(self.root / entry.path)
        if blob_id(data) != entry.blob:
            raise Unavailable(f"{entry.path} changed while it was read.", code="git_read")
        return data

    def provenance(self, blobs: dict[str, str], folders: Sequence[str]) -> dict[str, Provenance]:
        """Like that of a commit; what is not committed is credited to nobody, at the file's time."""
        committed = {path: blob for path, blob in blobs.items() if self._committed_file(path).get(path) == blob}
        provenances = {path: self._uncommitted(path) for path in blobs.keys() - committed.keys()}
        if self._head and committed:
            provenances |= self._head.provenance(committed, folders)
        return provenances

    def _uncommitted(self, path: str) -> Provenance:
        place = self.root / path
        changed = datetime.fromtimestamp(place.stat().st_mtime if place.exists() else 0, UTC)
        return Provenance(self.commit, "", "not committed", changed)

    def _committed_file(self, path: str) -> dict[str, str]:
        entry = self._head.find(path)[0] if self._head else None
        return {path: entry.blob} if entry else {}

    def _compare(self, here: dict[str, str], committed: dict[str, str]) -> None:
        self._dirty = self._dirty or here != committed

    def _descend(self, folder: str, listing: Listing) -> bool:
        path = ""
        for part in folder.split("/") if folder else ():
            path = joined(path, part)
            place = self.root / path
            if place.is_symlink():
                listing.refuse("AF310", "a symbolic link is not followed; put the folder itself here", path)
                return False
            if not place.is_dir() or part not in _names(place.parent):
                return False
        return True

    def _walk(self, listing: Listing, folder: str, depth: int) -> None:
        names = _names(self.root / folder)
        for name in names:
            listing.seen += 1
            if listing.seen > MAX_FILES:
                if listing.seen == MAX_FILES + 1:
                    listing.refuse("AF316", f"more than {MAX_FILES} files and folders", folder)
                return
            path = joined(folder, name)
            if not _is_text(path) or not self._repository.path_is_ignored(path):
                self._visit(listing, path, depth)
        _refuse_collisions(listing, folder, names)

    def _visit(self, listing: Listing, path: str, depth: int) -> None:
        if not _is_text(path):
            listing.refuse("AF315", "the name is not UTF-8", path)
        elif problem := path_problem(path, depth):
            listing.refuse(*problem, path)
        elif (self.root / path).is_dir() and not (self.root / path).is_symlink():
            self._walk(listing, path, depth + 1)
        else:
            self._add(listing, path)

    def _add(self, listing: Listing, path: str) -> None:
        try:
            status = (self.root / path).lstat()
        except FileNotFoundError:
            return  # Gone between the listing and the look: an editor's temporary file.
        if stat.S_ISLNK(status.st_mode):
            listing.refuse("AF310", "a symbolic link is not followed; put the file itself here", path)
        elif not stat.S_ISREG(status.st_mode):
            listing.refuse("AF314", "only plain files are read", path)
        elif problem := size_problem(path, status.st_size):
            listing.refuse(*problem, path)
        else:
            data = _read(self.root / path)
            listing.files.append(Entry(path, blob_id(data), len(data)))


def blob_id(data: bytes) -> str:
    """The id Git gives this content, so that what was read from a commit need not be parsed again from the disk."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


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


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def _read(path: Path) -> bytes:
    try:
        # Not following: the file may have been swapped for a link since it was looked at.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        raise Unavailable(f"{path} could not be read: {error.strerror}.", code="git_read") from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_collisions(listing: Listing, folder: str, names: list[str]) -> None:
    for group in collisions(names):
        message = f"the name differs from {printable(group[0])!r} only in case or in Unicode form"
        listing.refuse("AF312", message, joined(folder, group[1]))
