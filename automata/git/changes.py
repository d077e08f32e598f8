"""What differs between two commits, told by their trees alone and within bounds.

Nothing is read of somebody's branch before its header said how large it is (bounds.py). Contents are left to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pygit2

from automata.errors import Refused
from automata.git.bounds import refuse_large_commit, refuse_large_tree
from automata.git.faults import object_faults
from automata.git.mirror import Mirror

MAX_CHANGED = 20_000  # paths, and as many folders
_TREE_MODE = b"40000"
_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """A path, from the root, with the blob that it was and the one that it is (40 hex digits; "" for none)."""

    path: str
    before: str
    after: str


def changed_paths(mirror: Mirror, before: str, after: str) -> frozenset[str]:
    """Paths that differ between two commits, from the root of the repository. Raises Refused (`too_large`)."""
    return frozenset(change.path for change in changes(mirror, before, after))


def changes(mirror: Mirror, before: str, after: str) -> tuple[ChangedPath, ...]:
    """The same, with what each was and is. `before` and `after` are full SHAs. Raises Refused (`too_large`)."""
    with object_faults(mirror.address):
        trees = (tree_of(mirror, commit) for commit in (before, after))
        return tuple(_walk(mirror.repository, *trees))


def tree_of(mirror: Mirror, commit: str) -> str:
    """The SHA of a commit's tree. Raises Refused (`too_large`)."""
    repository = mirror.repository
    with object_faults(mirror.address):
        refuse_large_commit(repository, commit)
        return str(repository[pygit2.Oid(hex=commit)].peel(pygit2.Commit).tree_id)


def _walk(repository: Any, before: str, after: str) -> Iterator[ChangedPath]:
    """Raises Refused, and what libgit2 does."""
    left = [(b"", before, after)]
    paths = folders = 0
    while left:
        folder, before, after = left.pop()
        folders += 1
        for name, old, new in _differing(_entries(repository, before), _entries(repository, after)):
            path = folder + name
            old_tree, new_tree = (side[1] if side and side[0] == _TREE_MODE else "" for side in (old, new))
            if old_tree or new_tree:
                left.append((path + b"/", old_tree, new_tree))
            old_blob, new_blob = (side[1] if side and side[0] != _TREE_MODE else "" for side in (old, new))
            if old_blob or new_blob:
                paths += 1
                yield ChangedPath(path.decode("utf-8", "surrogateescape"), old_blob, new_blob)
        if max(paths, folders) > MAX_CHANGED:
            raise Refused(f"It changes more than {MAX_CHANGED:,} files.", code="too_large", hint="Split it.")


_Entry = tuple[bytes, str]  # mode, id


def _differing(
    before: dict[bytes, _Entry], after: dict[bytes, _Entry]
) -> Iterator[tuple[bytes, _Entry | None, _Entry | None]]:
    for name in sorted({name for name, _ in before.items() ^ after.items()}):
        yield name, before.get(name), after.get(name)


def _entries(repository: Any, tree: str) -> dict[bytes, _Entry]:
    """What a tree holds, by name."""
    if not tree:
        return {}
    refuse_large_tree(repository, tree)
    data = repository.odb.read(pygit2.Oid(hex=tree))[1]
    return {name: (mode, id.hex()) for mode, name, id in _ENTRY.findall(data)}
