"""How what a branch changed came into another one without the branch itself: by a squash, a rebase, or by hand.

Git keeps no trace of that, so contents tell: the first commit that has all that the branch made of its files, or that
a merge of the branch would leave as it is. A branch by which the base would still be changed has not come, whatever
stood there once. What was found out of two commits never changes, and is remembered.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from threading import Lock
from typing import Any

import pygit2
from cachetools import LRUCache
from pygit2.enums import SortMode

from automata.errors import AutomataError
from automata.git.changes import changed_paths, changes, tree_of
from automata.git.faults import object_faults
from automata.git.merges import merge
from automata.git.mirror import Mirror

MAX_LOOKED_AT = 500  # commits of the base since the branch left it, the newest
MAX_MERGED = 10  # of those, where the files are not the branch's: those that change most of what the branch changed
REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class Landing:
    """`commit` has all that the branch changed; `before` is what the other branch was at before that came."""

    commit: str
    before: str


_known: LRUCache[tuple[str, str, str], Landing | None] = LRUCache(REMEMBERED)
_paths: LRUCache[str, frozenset[str]] = LRUCache(REMEMBERED)
_lock = Lock()


def find_landing(mirror: Mirror, base: str, head: str) -> Landing | None:
    """Where the history of `base` has all that `head` changed, though not `head`; None when it has not.

    Both are full SHAs. What cannot be read or compared has not landed.
    """
    key = (str(mirror.path), base, head)
    with _lock:
        if key in _known:
            return _known[key]
    landing = None
    with suppress(AutomataError):
        landing = _find(mirror, base, head)
    with _lock:
        _known[key] = landing
    return landing


def _find(mirror: Mirror, base: str, head: str) -> Landing | None:
    fork = mirror.merge_base(base, head)
    if fork is None or fork in (base, head):
        return None
    would_be = merge(mirror, base, head)
    if would_be.tree not in ("", tree_of(mirror, base)):
        return None  # a merge would change something: it has not come, or was taken back
    wanted = {change.path: change.after for change in changes(mirror, fork, head)}
    touched = {sha: len(_paths_of(mirror, sha) & wanted.keys()) for sha in _first_parents(mirror, base, fork)}
    since = [sha for sha, paths in reversed(touched.items()) if paths]  # the oldest first
    if wanted and (landing := next((sha for sha in since if _has_files(mirror, sha, wanted)), None)):
        return Landing(landing, _before(mirror, landing, base, head))
    likely = sorted(since, key=lambda sha: -touched[sha])[:MAX_MERGED]
    landing = next((sha for sha in since if sha in likely and _has_changes(mirror, sha, head)), None)
    return Landing(landing, _before(mirror, landing, base, head)) if wanted and landing else None


def _first_parents(mirror: Mirror, base: str, fork: str) -> list[str]:
    """The commits of the base itself since the branch left it, the newest first."""
    with object_faults(mirror.address):
        walker = mirror.repository.walk(pygit2.Oid(hex=base), SortMode.TOPOLOGICAL)
        walker.simplify_first_parent()
        walker.hide(pygit2.Oid(hex=fork))
        return [str(commit.id) for commit in islice(walker, MAX_LOOKED_AT)]


def _paths_of(mirror: Mirror, sha: str) -> frozenset[str]:
    """The paths that a commit changed; all branches are compared with the same commits of the base."""
    with _lock:
        known = _paths.get(sha)
    if known is None:
        parent = _parent(mirror, sha)
        known = changed_paths(mirror, parent, sha) if parent else frozenset()
        with _lock:
            _paths[sha] = known
    return known


def _has_files(mirror: Mirror, sha: str, wanted: dict[str, str]) -> bool:
    """Whether every file that the branch changed is there as the branch has it."""
    with object_faults(mirror.address):
        tree = mirror.repository[pygit2.Oid(hex=sha)].tree
        return all(_blob_at(tree, path) == blob for path, blob in wanted.items())


def _blob_at(tree: Any, path: str) -> str:
    try:
        return str(tree[path].id)
    except (KeyError, UnicodeEncodeError):  # not there, or a name that is no text
        return ""


def _has_changes(mirror: Mirror, sha: str, head: str) -> bool:
    """Whether a merge of the branch would change nothing: others may have changed the same files elsewhere."""
    with suppress(AutomataError):
        return merge(mirror, sha, head).tree == tree_of(mirror, sha)
    return False


def _before(mirror: Mirror, sha: str, base: str, head: str) -> str:
    """What the base was at before it came: below as many commits as are those of the branch again, and one at least."""
    with object_faults(mirror.address):
        walker = mirror.repository.walk(pygit2.Oid(hex=head), SortMode.TOPOLOGICAL)
        walker.hide(pygit2.Oid(hex=base))
        own = [_said(commit) for commit in islice(walker, MAX_LOOKED_AT)]
    before = _parent(mirror, sha) or sha
    if own and _said(mirror.repository[pygit2.Oid(hex=sha)]) == own[0]:
        for said in own[1:]:
            if _said(mirror.repository[pygit2.Oid(hex=before)]) != said:
                break
            before = _parent(mirror, before) or before
    return before


def _said(commit: Any) -> tuple[bytes, bytes, int, bytes]:
    """What a rebase keeps of a commit."""
    author = commit.author
    return author.raw_name, author.raw_email, author.time, commit.raw_message.strip()


def _parent(mirror: Mirror, sha: str) -> str | None:
    parents = mirror.repository[pygit2.Oid(hex=sha)].parent_ids
    return str(parents[0]) if parents else None
