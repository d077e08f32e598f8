"""What is read of a repository: the files of one commit, or those on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from automata.git.history import Provenance
from automata.git.tree import Entry, Listing


class Tree(Protocol):
    """What a commit and a working tree have in common; paths are from the root of the repository."""

    @property
    def commit(self) -> str:
        """The full SHA, `SHA-dirty` or `working-tree`."""
        ...

    @property
    def folder(self) -> str:
        """The project's folder; empty for the root of the repository."""
        ...

    @property
    def tree(self) -> str | None:
        """The SHA of the folder's tree: alike for alike files. None on disk."""
        ...

    def exists(self, folder: str) -> bool:
        """Whether there is such a folder."""
        ...

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders in a folder."""
        ...

    def find(self, path: str) -> tuple[Entry | None, Listing]:
        """The file at `path`, and what is wrong with the way there."""
        ...

    def list(self, folder: str) -> Listing | None:
        """All files below a folder; None when there is no such folder."""
        ...

    def data(self, entry: Entry) -> bytes:
        """The bytes of a file."""
        ...

    def provenance(self, blobs: dict[str, str], folders: Sequence[str]) -> dict[str, Provenance]:
        """The commit that each of `blobs` (path to blob) comes from, looked for below `folders`."""
        ...
