"""Two commits put together in memory, within bounds: nothing is read whose size was not looked at first.

libgit2 reads whole files to find renames and to put together what both sides changed. A branch of two megabytes may
hold a file of 400 MB, so all that it would read is known by path and size beforehand. Renames are followed unless that
would mean to read too much; then a file that one side renames and the other changes is a conflict, which is safe. A
large file that both sides changed is a conflict as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import pygit2
from cachetools import LRUCache
from pygit2.enums import MergeFlag

from automata.errors import Refused
from automata.git.changes import ChangedPath, changes, tree_of
from automata.git.faults import object_faults
from automata.git.mirror import Mirror

MAX_MERGED_BYTES = 1024 * 1024  # of one file
MAX_RENAMED_BYTES = 32 * 1024 * 1024  # of all files that may have been renamed
MAX_RENAMED = 400  # files that came, and files that went
MAX_BOTH_CHANGED = 1_000
MAX_BOTH_BYTES = 32 * 1024 * 1024  # of all files that both sides changed
MAX_EDGES = 4_000
REMEMBERED = 2_048


@dataclass(frozen=True, slots=True)
class Merge:
    """What two commits would be together. `tree` is its full id, "" when `conflicts` names files."""

    tree: str
    conflicts: tuple[str, ...] = ()


_known: LRUCache[tuple[str, str, str], Merge] = LRUCache(REMEMBERED)
_lock = Lock()


def merge(mirror: Mirror, base: str, head: str) -> Merge:
    """`head` merged into `base`, in memory and the object store only. Both are full SHAs with a commit in common.

    Raises Refused: `too_large`, `unrelated_history`, and `crossed_history` for two branches that were merged into each
    other so that there is no one commit at which they parted. What two commits make is remembered.
    """
    key = (str(mirror.path), base, head)
    with _lock:
        known = _known.get(key)
    # A mirror that was made anew since has the commits, and not the tree.
    if known is None or (known.tree and pygit2.Oid(hex=known.tree) not in mirror.repository):
        known = _merge(mirror, base, head)
        with _lock:
            _known[key] = known
    return known


def _merge(mirror: Mirror, base: str, head: str) -> Merge:
    repository = mirror.repository
    fork = mirror.merge_base(base, head)
    if fork is None:
        raise Refused("The two have no history in common.", code="unrelated_history")
    _refuse_crossed(mirror, base, head, fork)
    ours, theirs = changes(mirror, fork, base), changes(mirror, fork, head)
    with object_faults(mirror.address):
        both = _changed_by_both(ours, theirs)
        if large := [change.path for change in both if not _fits(repository, [change], MAX_MERGED_BYTES)]:
            return Merge("", tuple(sorted(set(large))))
        if not _fits(repository, both, MAX_BOTH_BYTES):
            raise _too_much(f"files of over {MAX_BOTH_BYTES >> 20} MiB together")
        renames = all(_may_look_for_renames(repository, side) for side in (ours, theirs))
        trees = [repository[pygit2.Oid(hex=tree_of(mirror, commit))] for commit in (fork, base, head)]
        index = repository.merge_trees(*trees, flags=MergeFlag.FIND_RENAMES if renames else MergeFlag(0))
        if index.conflicts is not None:
            return Merge("", _paths(index.conflicts))
        return Merge(str(index.write_tree(repository)))


def _changed_by_both(ours: Iterable[ChangedPath], theirs: Iterable[ChangedPath]) -> list[ChangedPath]:
    """Both sides' changes of the paths that each made something else of."""
    mine = {change.path: change for change in ours}
    both = [(mine[change.path], change) for change in theirs if change.path in mine]
    unlike = [change for pair in both if pair[0].after != pair[1].after for change in pair]
    if len(unlike) > 2 * MAX_BOTH_CHANGED:
        raise _too_much(f"over {MAX_BOTH_CHANGED:,} files")
    return unlike


def _too_much(what: str) -> Refused:
    return Refused(
        f"It and the base both changed {what}.", code="too_large", hint="Merge the base into the branch and push."
    )


def _may_look_for_renames(repository: Any, side: Sequence[ChangedPath]) -> bool:
    """Whether what came and what went is little enough to be compared with each other."""
    moved = [change for change in side if not change.before or not change.after]
    if not any(change.after for change in moved) or not any(change.before for change in moved):
        return True
    if len(moved) > MAX_RENAMED or not all(_fits(repository, [change], MAX_MERGED_BYTES) for change in moved):
        return False
    return _fits(repository, moved, MAX_RENAMED_BYTES)


def _fits(repository: Any, side: Iterable[ChangedPath], most: int) -> bool:
    ids = (id for change in side for id in (change.before, change.after) if id)
    return sum(_size(repository, id) for id in ids) <= most


def _size(repository: Any, id: str) -> int:
    """Bytes of an object by its header; none for a submodule's commit, which is not here."""
    oid = pygit2.Oid(hex=id)
    return int(repository.odb.read_header(oid)[1]) if oid in repository.odb else 0


def _refuse_crossed(mirror: Mirror, base: str, head: str, fork: str) -> None:
    """Where there are several best common ancestors libgit2 merges those first, and theirs, without an end in sight."""
    repository = mirror.repository
    with object_faults(mirror.address):
        walker = repository.walk(pygit2.Oid(hex=head))
        walker.hide(pygit2.Oid(hex=base))
        own: dict[str, list[str]] = {}
        for commit in walker:
            own[str(commit.id)] = [str(parent) for parent in commit.parent_ids]
            if len(own) > MAX_EDGES:
                raise Refused(f"It has over {MAX_EDGES:,} commits.", code="too_many_commits", hint="Squash them.")
        edge = {parent for parents in own.values() for parent in parents} - own.keys() - {fork}
        if all(repository.descendant_of(pygit2.Oid(hex=fork), pygit2.Oid(hex=parent)) for parent in edge):
            return
    raise Refused(
        "It and the base were merged into each other, so there is no one commit at which they parted.",
        code="crossed_history",
        hint="Merge the base into the branch once more and push.",
    )


def _paths(conflicts: Any) -> tuple[str, ...]:
    paths = {entry.path for sides in conflicts for entry in sides if entry is not None}
    return tuple(sorted(paths))
