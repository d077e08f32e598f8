"""Who last changed a file: one bounded walk over the history for all the files that a sync changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import DiffOption, SortMode

from automata.git.address import Address
from automata.git.faults import object_faults
from automata.git.names import EARLIER, deceiving

MAX_COMMITS = 20_000  # about a second
_TEXT = 200
_UNTOLD = "changed before the history that was read"


@dataclass(frozen=True, slots=True)
class Provenance:
    """The commit a file comes from; `author` is `Name <mail>`, `message` its first line, `committed_at` is UTC.

    Where nobody can say: `commit` ends in `-or-earlier`, and the author and the time are not known.
    """

    commit: str
    author: str
    message: str
    committed_at: datetime | None


def describe(repository: Any, commit: str) -> Provenance:
    """The provenance that a commit itself is."""
    return _provenance(repository[pygit2.Oid(hex=commit)])


def first_commit(mirror: Any, head: str) -> str:
    """The oldest commit of a history, by which a repository is known wherever it is; in a shallow clone its edge."""
    with object_faults(mirror.address):
        walker = mirror.repository.walk(pygit2.Oid(hex=head), SortMode.TOPOLOGICAL | SortMode.REVERSE)
        return str(next(iter(walker)).id)


def provenance(
    repository: Any, address: Address, head: str, blobs: Mapping[str, str], folders: Iterable[str]
) -> dict[str, Provenance]:
    """For each path (with its blob at `head`) below `folders`, the last commit that gave it that content.

    Looks at no more than 20,000 commits. Of what was changed further back, or beyond a shallow clone's edge, it is only
    said that it was at `head` or earlier: no commit that is there made it, so nobody who wrote one is named.
    """
    provenances = dict.fromkeys(blobs, Provenance(head + EARLIER, "", _UNTOLD, None))
    with object_faults(address):
        try:
            for path, origin in _walk(repository, head, dict(blobs), tuple(folders)):
                provenances[path] = origin
        except (pygit2.GitError, KeyError):  # a clone may lack any object beyond its edge
            if address.mirror and not repository.is_shallow:
                raise  # what a mirror lacks is fetched again, and not guessed
    return provenances


def _walk(
    repository: Any, head: str, blobs_left: dict[str, str], folders: tuple[str, ...]
) -> Iterator[tuple[str, Provenance]]:
    edge = _edge(repository)
    walker = repository.walk(pygit2.Oid(hex=head), SortMode.TOPOLOGICAL | SortMode.TIME)
    for commit in islice(walker, MAX_COMMITS):
        if not blobs_left:
            break
        if str(commit.id) in edge:  # what it changed cannot be seen: to Git it has made all that is in it
            continue
        touched = _touched(commit, folders)
        # A merge may have dropped what one side wrote: only the commit that wrote today's blob counts.
        for path in [path for path, blob in touched.items() if blobs_left.get(path) == blob]:
            yield path, _provenance(commit)
            del blobs_left[path]


def _edge(repository: Any) -> frozenset[str]:
    """The commits whose parents a shallow clone left out."""
    if not repository.is_shallow:
        return frozenset()
    folder = Path(repository.path)
    common = folder / "commondir"  # of a linked working tree
    if common.is_file():
        folder /= common.read_text(encoding="utf-8").strip()
    return frozenset((folder / "shallow").read_text(encoding="ascii").split())


def _touched(commit: Any, folders: tuple[str, ...]) -> dict[str, str]:
    """Path to new blob of what `commit` changed against every one of its parents."""
    touched: dict[str, str] = {}
    for folder in folders:
        own = _subtree(commit, folder)
        if own is None:
            continue
        before = [_subtree(parent, folder) for parent in commit.parents]
        if any(parent is not None and parent.id == own.id for parent in before):
            continue
        changes = [_changes(own, parent, folder) for parent in before] or [_changes(own, None, folder)]
        common = set(changes[0]).intersection(*changes[1:])
        touched |= {path: changes[0][path] for path in common}
    return touched


def _changes(own: Any, parent: Any, folder: str) -> dict[str, str]:
    prefix = f"{folder}/" if folder else ""
    flags = DiffOption.SKIP_BINARY_CHECK
    # `swap` makes `own` the new side in both forms.
    diff = own.diff_to_tree(flags=flags, swap=True) if parent is None else parent.diff_to_tree(own, flags=flags)
    return {prefix + delta.new_file.path: str(delta.new_file.id) for delta in diff.deltas}


def _subtree(commit: Any, folder: str) -> Any:
    node = commit.tree
    for part in folder.split("/") if folder else ():
        if part not in node:
            return None
        node = node[part]
        if not isinstance(node, pygit2.Tree):
            return None
    return node


def _provenance(commit: Any) -> Provenance:
    author = commit.author
    name, mail = _clean(author.raw_name), _clean(author.raw_email)
    subject = _clean(commit.raw_message.lstrip().split(b"\n", 1)[0])
    return Provenance(str(commit.id), f"{name} <{mail}>", subject, datetime.fromtimestamp(commit.commit_time, UTC))


def _clean(raw: bytes) -> str:
    """Text that anyone may have written, fit for a table: one line, no control characters, at most 200 characters."""
    text = raw.decode("utf-8", "replace").strip()
    return "".join("\ufffd" if deceiving(character) else character for character in text)[:_TEXT]
