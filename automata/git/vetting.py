"""The commits of somebody's branch, looked at by their headers before anything walks over them.

Every walk over a history reads its commits whole, and the message of one may have 400 MB that took a kilobyte on the
way. A commit that was looked at once is good for ever, so the history of a base is gone through once in a process.
"""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Any

import pygit2
from cachetools import LRUCache

from automata.errors import Refused
from automata.git.bounds import refuse_large_commit
from automata.git.faults import object_faults
from automata.git.mirror import Mirror

MAX_BASE_COMMITS = 20_000  # of the base, that a branch may have left it behind
MAX_OWN_COMMITS = 4_000
REMEMBERED = 200_000

_good: LRUCache[str, None] = LRUCache(REMEMBERED)
_lock = Lock()


def vet_history(mirror: Mirror, base: str, head: str) -> None:
    """Raise Refused for a branch whose history is not to be walked over.

    `too_large`: a commit has more than 1 MiB. `too_many_commits`: 4,000 are looked at, and the base was not reached.
    Both are full SHAs; what the base has counts as good, the newest 20,000 commits of it.
    """
    with object_faults(mirror.address):
        if not _is_good(base):
            _remember(_look_at(mirror.repository, base, MAX_BASE_COMMITS))  # as far back as that, older ones are not
        own = _look_at(mirror.repository, head, MAX_OWN_COMMITS)
        if len(own) <= MAX_OWN_COMMITS:
            _remember(own)
            return
    raise Refused(
        f"It has over {MAX_OWN_COMMITS:,} commits that the base has not.",
        code="too_many_commits",
        hint="Merge the base into the branch, or make a new branch off the base, and push.",
    )


def _look_at(repository: Any, head: str, most: int) -> set[str]:
    """Look at a commit and its ancestors, as far as they are not known as good; at one more than `most` of them."""
    left, met, seen = deque([head]), {head}, set[str]()
    while left and len(seen) <= most:
        sha = left.popleft()
        if _is_good(sha):
            continue
        refuse_large_commit(repository, sha)
        seen.add(sha)
        for parent in repository[pygit2.Oid(hex=sha)].parent_ids:
            if (text := str(parent)) not in met and parent in repository:  # a shallow clone ends somewhere
                met.add(text)
                left.append(text)
    return seen


def _remember(commits: set[str]) -> None:
    with _lock:
        _good.update(dict.fromkeys(commits))


def _is_good(sha: str) -> bool:
    with _lock:
        return sha in _good
