"""The files of a folder as they are on disk, vetted as those of a commit are; Git is not asked for anything."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from automata.errors import Unavailable
from automata.git.history import Provenance
from automata.git.tree import (
    MAX_FILES,
    Entry,
    Listing,
    collisions,
    folded,
    joined,
    path_problem,
    printable,
    size_problem,
)

NO_COMMIT = "working-tree"


class DiskTree:
    """Like `CommitTree`, over a folder that need not be in a repository; paths are from `root`."""

    tree = ""

    def __init__(self, root: Path, folder: str = "") -> None:
        self.root = root
        self.folder = folder

    @property
    def commit(self) -> str:
        """What stands for a commit: nothing here is one."""
        return NO_COMMIT

    def exists(self, folder: str) -> bool:
        """Whether a folder is on disk."""
        return _is_folder(self.root / folder)

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in `folder`, sorted."""
        place = self.root.joinpath(folder)
        return [name for name in _names(place) if _is_folder(place / name)] if _is_folder(place) else []

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
        return (listing.files[0] if listing.files else None), listing

    def list(self, folder: str) -> Listing | None:
        """Everything below `folder`; None when there is no such folder."""
        listing = Listing()
        if not self._descend(folder, listing):
            return listing if listing.diagnostics else None
        self._walk(listing, folder, folder.count("/") + 1)
        listing.files.sort(key=lambda entry: entry.path)
        return listing

    def data(self, entry: Entry) -> bytes:
        """The file's bytes; Unavailable when it changed since it was listed (the next look will be right)."""
        try:
            data = _read(self.root / entry.path)
        except OSError:
            data = b""
        if blob_id(data) != entry.blob:
            raise Unavailable(f"{entry.path} changed while it was read.", code="git_read")
        return data

    def provenance(self, blobs: dict[str, str], folders: Sequence[str]) -> dict[str, Provenance]:
        """What is not committed is credited to nobody, at the file's time."""
        return {path: self._uncommitted(path) for path in blobs}

    def _uncommitted(self, path: str) -> Provenance:
        place = self.root / path
        changed = datetime.fromtimestamp(place.stat().st_mtime if place.exists() else 0, UTC)
        return Provenance(self.commit, "", "not committed", changed)

    def _is_left_out(self, path: str) -> bool:
        """Whether a file or folder is none of the project's."""
        return path.rpartition("/")[2] == ".git"

    def _descend(self, folder: str, listing: Listing) -> bool:
        path = ""
        for part in folder.split("/") if folder else ():
            path = joined(path, part)
            place = self.root / path
            if place.is_symlink():
                listing.refuse("AF310", "a symbolic link is not followed; put the folder itself here", path)
                return False
            if not _is_folder(place) or part not in _names(place.parent):
                return False
        return True

    def _walk(self, listing: Listing, folder: str, depth: int) -> None:
        try:
            names = _names(self.root / folder)
        except OSError as error:
            listing.refuse(*_unreadable(error), folder)
            return
        for name in names:
            listing.seen += 1
            if listing.seen > MAX_FILES:
                if listing.seen == MAX_FILES + 1:
                    listing.refuse("AF316", f"more than {MAX_FILES} files and folders", folder)
                return
            path = joined(folder, name)
            if not _is_text(path) or not self._is_left_out(path):
                self._visit(listing, path, depth)
        _refuse_collisions(listing, folder, names)

    def _visit(self, listing: Listing, path: str, depth: int) -> None:
        if not _is_text(path):
            listing.refuse("AF315", "the name is not UTF-8", path)
        elif problem := path_problem(path, depth):
            listing.refuse(*problem, path)
        elif _is_folder(self.root / path) and not (self.root / path).is_symlink():
            self._walk(listing, path, depth + 1)
        else:
            self._add(listing, path)

    def _add(self, listing: Listing, path: str) -> None:
        try:
            self._add_file(listing, path)
        except FileNotFoundError:
            return  # Gone between the listing and the look: an editor's temporary file.
        except OSError as error:
            listing.refuse(*_unreadable(error), path)

    def _add_file(self, listing: Listing, path: str) -> None:
        """Raises OSError."""
        status = (self.root / path).lstat()
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


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except OSError:  # no right to look
        return False


def _names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def _read(path: Path) -> bytes:
    # Not following: the file may have been swapped for a link since it was looked at.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _unreadable(error: OSError) -> tuple[str, str]:
    return "AF017", f"it cannot be read: {error.strerror}"


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
