"""The files of one commit, read from Git objects: no checkout, no path that a file system could read otherwise.

What is vetted strictly is what Automata reads: `automata.yaml`, the flow folders and the environment files, with every
folder on the way to them. Other paths of the repository are never opened, so they may be whatever they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pygit2
from pygit2.enums import FileMode

from automata.errors import Diagnostic
from automata.git.address import Address
from automata.git.bounds import refuse_large_commit, refuse_large_tree
from automata.git.faults import object_faults
from automata.git.history import Provenance, provenance
from automata.git.names import deceiving, is_git_folder

FLOW_SUFFIXES = (".yaml", ".yml", ".json")
MAX_FLOW_BYTES = 256 * 1024
MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 20_000
MAX_PATH_BYTES = 1024
MAX_NAME_BYTES = 255
MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its path from the root of the repository, its blob (40 hex digits) and its size in bytes."""

    path: str
    blob: str
    size: int


@dataclass(slots=True)
class Listing:
    """The files below one folder in order of path, and what was refused (codes AF310 to AF317)."""

    files: list[Entry] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    seen: int = 0

    def refuse(self, code: str, message: str, path: str) -> None:
        self.diagnostics.append(Diagnostic(code, message, file=printable(path)))

    def flows(self) -> list[Entry]:
        """The files that are flows: `.yaml`, `.yml` or `.json`, and not hidden."""
        return [entry for entry in self.files if is_flow_path(entry.path)]


class CommitTree:
    """Reads below one commit; `commit` is its full SHA, `tree` identifies everything in the project's folder."""

    def __init__(self, repository: Any, address: Address, commit: str, folder: str) -> None:
        self._repository = repository
        self._address = address
        self.commit = commit
        self.folder = folder
        with object_faults(address):
            refuse_large_commit(repository, commit)
            named = repository[pygit2.Oid(hex=commit)]
            if isinstance(named, pygit2.Commit):
                refuse_large_tree(repository, str(named.tree_id))
            self._root = named.peel(pygit2.Tree)
            self.tree = self._tree_id(folder)

    def exists(self, folder: str) -> bool:
        """Whether `folder` is a folder of the commit ('' is the root)."""
        return self._tree_id(folder) is not None

    def folders(self, folder: str = "") -> list[str]:
        """The names of the folders directly in `folder`, for a suggestion."""
        with object_faults(self._address):
            node = self._node(folder)
            names = [_decoded(child) for child in node or () if child.filemode == FileMode.TREE]
        return [name for name in names if name is not None]

    def find(self, path: str) -> tuple[Entry | None, Listing]:
        """One file by its path; None when it is absent or refused (then the listing says why)."""
        listing = Listing()
        parent, _, name = path.rpartition("/")
        with object_faults(self._address):
            node = self._descend(parent, listing)
            entry = self._child(node, name, parent, listing) if node is not None else None
            if entry is not None:
                self._add(listing, entry, path)
        return (listing.files[0] if listing.files else None), listing

    def list(self, folder: str) -> Listing | None:
        """Everything below `folder`; None when there is no such folder."""
        listing = Listing()
        with object_faults(self._address):
            node = self._descend(folder, listing)
            if node is None:
                return listing if listing.diagnostics else None
            self._walk(listing, node, folder, folder.count("/") + 1)
        listing.files.sort(key=lambda entry: entry.path)
        return listing

    def data(self, entry: Entry) -> bytes:
        """The bytes of a file that was listed, and so is no larger than one may be."""
        with object_faults(self._address):
            return bytes(self._repository[pygit2.Oid(hex=entry.blob)].data)

    def provenance(self, blobs: dict[str, str], folders: Sequence[str]) -> dict[str, Provenance]:
        """For each path (with its blob) below `folders`: the commit that last gave it this content."""
        return provenance(self._repository, self._address, self.commit, blobs, folders)

    def blobs(self, folder: str) -> dict[str, str]:
        """Path to blob of everything below `folder`, unvetted; for comparing."""
        listing = self.list(folder)
        return {entry.path: entry.blob for entry in listing.files} if listing else {}

    def _node(self, folder: str) -> Any:
        node = self._root
        for part in folder.split("/") if folder else ():
            refuse_large_tree(self._repository, str(node.id))
            if part not in node or node[part].filemode != FileMode.TREE:
                return None
            node = node[part]
        return node

    def _tree_id(self, folder: str) -> str | None:
        node = self._node(folder)
        return None if node is None else str(node.id)

    def _descend(self, folder: str, listing: Listing) -> Any:
        node, path = self._root, ""
        for part in folder.split("/") if folder else ():
            node = self._child(node, part, path, listing)
            path = joined(path, part)
            if node is None:
                return None
            if node.filemode != FileMode.TREE:
                self._add(listing, node, path)
                listing.files.clear()
                return None
        return node

    def _child(self, node: Any, name: str, folder: str, listing: Listing) -> Any:
        """The child called `name`, refused when a sibling would be the same file on another file system."""
        refuse_large_tree(self._repository, str(node.id))
        names = [text for child in node if (text := _decoded(child)) is not None and folded(text) == folded(name)]
        if len(names) > 1:
            _refuse_collisions(listing, folder, names)
            return None
        return node[name] if name in names else None

    def _walk(self, listing: Listing, node: Any, folder: str, depth: int) -> None:
        refuse_large_tree(self._repository, str(node.id))
        names: list[str] = []
        for child in node:
            listing.seen += 1
            if listing.seen > MAX_FILES:
                if listing.seen == MAX_FILES + 1:
                    listing.refuse("AF316", f"more than {MAX_FILES} files and folders", folder)
                return
            name = _decoded(child)
            if name is None:
                raw = child.raw_name.decode("utf-8", "backslashreplace")
                listing.refuse("AF315", "the name is not UTF-8", joined(folder, raw))
                continue
            names.append(name)
            self._visit(listing, child, joined(folder, name), depth)
        _refuse_collisions(listing, folder, names)

    def _visit(self, listing: Listing, child: Any, path: str, depth: int) -> None:
        if problem := path_problem(path, depth):
            listing.refuse(*problem, path)
        elif child.filemode == FileMode.TREE:
            self._walk(listing, child, path, depth + 1)
        else:
            self._add(listing, child, path)

    def _add(self, listing: Listing, child: Any, path: str) -> None:
        if problem := mode_problem(child.filemode):
            listing.refuse(*problem, path)
        elif child.filemode != FileMode.TREE:
            # The header is read, not the blob: a hostile repository may hold one of many gigabytes.
            _, size = self._repository.odb.read_header(child.id)
            if problem := size_problem(path, size):
                listing.refuse(*problem, path)
            else:
                listing.files.append(Entry(path, str(child.id), size))


def mode_problem(mode: int) -> tuple[str, str] | None:
    """(code, message) for a link or a submodule; None for files and folders."""
    if mode == FileMode.LINK:
        return "AF310", "a symbolic link is not followed; put the file itself here"
    if mode == FileMode.COMMIT:
        return "AF311", "a submodule is not read; put the files themselves here"
    return None


def path_problem(path: str, depth: int) -> tuple[str, str] | None:
    """Why the last component of `path` (or its length) is refused: (code, message), or None."""
    name = path.rpartition("/")[2]
    if not name or name in (".", "..") or is_git_folder(name) or "\\" in name or "/" in name:
        return "AF314", "the name is not one that every file system can hold"
    if deceiving(name):
        return "AF314", "the name has control or invisible characters"
    if depth > MAX_DEPTH or len(path.encode()) > MAX_PATH_BYTES or len(name.encode()) > MAX_NAME_BYTES:
        return "AF317", f"the path is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_DEPTH} folders"
    return None


def size_problem(path: str, size: int) -> tuple[str, str] | None:
    """(code, message) for a file that is too large; None for others."""
    limit = MAX_FLOW_BYTES if is_flow_path(path) else MAX_FILE_BYTES
    if size > limit:
        return "AF313", f"{size} bytes are more than the limit of {limit >> 10} KiB"
    return None


def is_flow_path(path: str) -> bool:
    """Whether a path is that of a flow file, by its suffix; hidden files are not."""
    name = path.rpartition("/")[2]
    return name.lower().endswith(FLOW_SUFFIXES) and not name.startswith(".")


def folded(name: str) -> str:
    """The key under which file systems that ignore case or normalise Unicode would keep `name`."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def joined(folder: str, name: str) -> str:
    """`name` in `folder`, which is empty for the root."""
    return f"{folder}/{name}" if folder else name


def printable(path: str) -> str:
    """`path` for a person: control and invisible characters escaped."""
    return ascii(path)[1:-1] if deceiving(path) else path


def collisions(names: Iterable[str]) -> list[Sequence[str]]:
    """Groups of names that are one on a file system that ignores case or normalises Unicode."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(folded(name), []).append(name)
    return [sorted(group) for group in groups.values() if len(group) > 1]


def _refuse_collisions(listing: Listing, folder: str, names: Iterable[str]) -> None:
    for group in collisions(names):
        first, second = group[:2]
        message = f"the name differs from {printable(first)!r} only in case or in Unicode form"
        listing.refuse("AF312", message, joined(folder, second))


def _decoded(child: Any) -> str | None:
    try:
        return str(child.raw_name.decode("utf-8"))
    except UnicodeDecodeError:
        return None
