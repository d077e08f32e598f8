"""Commits and merges on branches, without a working tree; a branch moves by compare-and-swap, and never by force.

Failure argument. Objects are written first, and nothing looks at them until a branch does: a process that dies before
the branch moved leaves garbage, one that dies behind it has done all. A local branch moves under the lock file that
Git itself takes, and only from the commit that was expected: of two that merge into one branch the second is told so.
On a remote see `push`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pygit2

from automata.errors import AutomataError, Invalid, Refused
from automata.git.bounds import refuse_large_commit
from automata.git.changes import changes
from automata.git.faults import object_faults
from automata.git.mirror import Mirror
from automata.git.names import check_branch, check_folder, deceiving, shown
from automata.git.swap import HEADS, push, swap

MAX_FILE_BYTES = 1024 * 1024
MAX_MESSAGE_CHARS = 10_000
MAX_COMMITS = 2_000
MAX_PATCH_BYTES = 4 * 1024 * 1024
_BLOBS = (pygit2.enums.FileMode.BLOB, pygit2.enums.FileMode.BLOB_EXECUTABLE, pygit2.enums.FileMode.LINK)
_CO_AUTHOR = re.compile(r"^[ \t]*co-authored-by[ \t]*:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Person:
    """Who a commit is by. Raises Invalid for what Git cannot write down."""

    name: str
    mail: str

    def __post_init__(self) -> None:
        for text in (self.name, self.mail):
            if not text.strip() or len(text) > 200 or deceiving(text) or "<" in text or ">" in text:
                raise Invalid(f"{shown(text)} cannot be part of who a commit is by.", code="bad_person")

    @property
    def key(self) -> str:
        """Under this a person is one, however the name and the case of the mail are written."""
        return unicodedata.normalize("NFKC", self.mail).casefold().strip()

    @classmethod
    def read(cls, text: str) -> Person:
        """From `Name <mail>`; a name alone has the mail NAME@localhost."""
        name, open_, rest = text.strip().partition("<")
        name = name.strip()
        mail = rest.rstrip(">").strip() if open_ else f"{'-'.join(name.lower().split()) or 'nobody'}@localhost"
        return cls(name or mail, mail)

    def __str__(self) -> str:
        return f"{self.name} <{self.mail}>"


def commit_merge(mirror: Mirror, base: str, head: str, tree: str, by: Person, message: str) -> str:
    """The full SHA of a merge commit that no branch knows yet."""
    return _commit(mirror, tree, by, by, message, [base, head])


def commit_squash(mirror: Mirror, base: str, tree: str, author: Person, by: Person, message: str) -> str:
    """The full SHA of a commit with the tree of a merge and `base` as its one parent; no branch knows it yet."""
    return _commit(mirror, tree, author, by, message, [base])


def commit_files(mirror: Mirror, parent: str, files: Mapping[str, bytes | None], author: Person, message: str) -> str:
    """The full SHA of a commit on `parent` that no branch knows yet; None as content takes a file away.

    Raises Invalid for a path or a size that no repository takes, or when nothing differs.
    """
    repository = mirror.repository
    with object_faults(mirror.address):
        before = repository[pygit2.Oid(hex=parent)].peel(pygit2.Tree)
        index = pygit2.Index()
        index.read_tree(before)
        for path, content in files.items():
            _put(repository, index, path, content)
        tree = str(index.write_tree(repository))
    if tree == str(before.id):
        raise Invalid("Nothing differs from what is there already.", code="no_change")
    return _commit(mirror, tree, author, author, message, [parent])


def move(mirror: Mirror, branch: str, before: str | None, after: str) -> None:
    """Let `branch` be at `after` when it is at `before` (None: when it is not there), else raise Conflict.

    Raises Refused (`checked_out`) for a branch that somebody's working tree stands on, Unavailable when the remote or
    the disk does not do it.
    """
    name = HEADS + check_branch(branch)
    if mirror.address.local is None:
        push(mirror, name, before, after)
        return
    refuse_checked_out(mirror, branch)
    swap(mirror.repository, name, before, after)


def refuse_checked_out(mirror: Mirror, branch: str) -> None:
    """Raise Refused for a branch that the repository's own working tree stands on."""
    if mirror.workdir and mirror.head_branch() == branch:
        raise Refused(
            f"{shown(branch)} is checked out in {mirror.workdir}: moving it would leave those files behind.",
            code="checked_out",
            hint="Merge it there with git, check out another branch, or use a bare repository.",
        )


def patch(mirror: Mirror, before: str, after: str, most: int = MAX_PATCH_BYTES) -> str:
    """The difference as Git writes it, at most `most` bytes; a last line says how many files are left out.

    Raises Refused (`too_large`).
    """
    repository = mirror.repository
    changes(mirror, before, after)  # refuses what would take too much to be compared
    parts: list[str] = []
    with object_faults(mirror.address):
        old_tree, new_tree = (repository[pygit2.Oid(hex=sha)].peel(pygit2.Tree) for sha in (before, after))
        difference = old_tree.diff_to_tree(new_tree)
        for index, delta in enumerate(difference.deltas):
            text = _patch_of(repository, difference, index, delta)
            most -= len(text.encode(errors="replace"))
            if most < 0:
                parts.append(f"# {len(difference) - index:,} more files differ: git diff {before} {after}\n")
                break
            parts.append(text)
    return "".join(parts)


def _patch_of(repository: Any, difference: Any, index: int, delta: Any) -> str:
    sides = [file for file in (delta.old_file, delta.new_file) if file.mode in _BLOBS]
    # Only the headers are read first: comparing what a hostile branch holds may take all the memory there is.
    if any(repository.odb.read_header(file.id)[1] > MAX_FILE_BYTES for file in sides):
        names = f"a/{delta.old_file.path} b/{delta.new_file.path}"
        return f"diff --git {names}\n# more than {MAX_FILE_BYTES:,} bytes: not shown\n"
    return str(difference[index].text or "")


def newest_branches(mirror: Mirror) -> list[tuple[str, str]]:
    """(name, full SHA) of each branch, that with the newest commit first; not those that cannot be read."""
    heads = []
    for branch in mirror.branches():
        with suppress(AutomataError):  # deleted meanwhile, a name that we do not take, or an object that is broken
            head = mirror.resolve(branch)
            refuse_large_commit(mirror.repository, head)
            heads.append((-mirror.repository[pygit2.Oid(hex=head)].commit_time, branch, head))
    return [(branch, head) for _, branch, head in sorted(heads)]


def contains(mirror: Mirror, commit: str, other: str) -> bool:
    """Whether `other` is `commit` or one of its ancestors; a commit that is gone is not."""
    try:
        return commit == other or bool(mirror.repository.descendant_of(pygit2.Oid(hex=commit), pygit2.Oid(hex=other)))
    except (pygit2.GitError, KeyError, ValueError):
        return False


def brought(mirror: Mirror, base: str, head: str) -> list[str]:
    """The commits that `head` has and `base` has not, the newest first, at most 2,000; the merge itself is one."""
    with object_faults(mirror.address):
        walker = mirror.repository.walk(pygit2.Oid(hex=head))
        walker.hide(pygit2.Oid(hex=base))
        return [str(commit.id) for commit in islice(walker, MAX_COMMITS)]


def merge_of(mirror: Mirror, branch_head: str, head: str) -> tuple[str, str] | None:
    """(merge, what the branch was at before): the commit that brought `head`; None when the branch does not hold it."""
    if not contains(mirror, branch_head, head):
        return None
    with object_faults(mirror.address):
        commit = mirror.repository[pygit2.Oid(hex=branch_head)]
        for _ in range(MAX_COMMITS):
            first = commit.parents[0] if commit.parents else None
            if first is None or not contains(mirror, str(first.id), head):
                return str(commit.id), str(first.id) if first is not None else str(commit.id)
            commit = first
    return None


def author_of(mirror: Mirror, commit: str) -> Person:
    """Who wrote a commit; what Git holds of it, however odd, with a placeholder for nothing.

    Raises Refused (`too_large`).
    """
    with object_faults(mirror.address):
        refuse_large_commit(mirror.repository, commit)
        return _clean(mirror.repository[pygit2.Oid(hex=commit)].author)


def _clean(who: Any) -> Person:
    texts = (raw.decode("utf-8", "replace") for raw in (who.raw_name, who.raw_email))
    name, mail = ("".join(char for char in text if char.isprintable() and char not in "<>")[:200] for text in texts)
    return Person(name.strip() or "nobody", mail.strip() or "nobody@localhost")


def writers(mirror: Mirror, commits: Iterable[str]) -> frozenset[str]:
    """The keys of all who had a hand in `commits`: authors, committers, and who is named as a co-author."""
    keys: set[str] = set()
    with object_faults(mirror.address):
        for sha in commits:
            refuse_large_commit(mirror.repository, sha)
            commit = mirror.repository[pygit2.Oid(hex=sha)]
            keys |= {_clean(who).key for who in (commit.author, commit.committer)}
            message = commit.raw_message.decode("utf-8", "replace")
            keys |= {key_of(text) for text in _CO_AUTHOR.findall(message)}
    return frozenset(keys)


def signers(mirror: Mirror, commits: Iterable[str]) -> dict[tuple[str, str], str]:
    """The keys of who wrote and who committed each, by (SHA, `author` or `committer`)."""
    keys: dict[tuple[str, str], str] = {}
    with object_faults(mirror.address):
        for sha in commits:
            commit = mirror.repository[pygit2.Oid(hex=sha)]
            keys |= {(sha, "author"): _clean(commit.author).key, (sha, "committer"): _clean(commit.committer).key}
    return keys


def key_of(text: str) -> str:
    """The key of somebody who is written as `Name <mail>`, however oddly."""
    try:
        return Person.read(text).key
    except Invalid:
        return text.strip().casefold()


def _commit(mirror: Mirror, tree: str, author: Person, by: Person, message: str, parents: list[str]) -> str:
    if not message.strip() or len(message) > MAX_MESSAGE_CHARS or "\0" in message:
        raise Invalid(f"A message has 1 to {MAX_MESSAGE_CHARS:,} characters.", code="bad_message")
    signatures = [pygit2.Signature(person.name, person.mail) for person in (author, by)]
    with object_faults(mirror.address):
        ids = [pygit2.Oid(hex=parent) for parent in parents]
        return str(mirror.repository.create_commit(None, *signatures, message, pygit2.Oid(hex=tree), ids))


def _put(repository: Any, index: Any, path: str, content: bytes | None) -> None:
    if not path or path.endswith("/") or check_folder(path) != path:
        raise Invalid(f"{shown(path)} is not the path of a file.", code="bad_path")
    if content is None:
        if path in index:
            index.remove(path)
        return
    if len(content) > MAX_FILE_BYTES:
        raise Invalid(f"{shown(path)} has more than {MAX_FILE_BYTES:,} bytes.", code="too_large")
    index.add(pygit2.IndexEntry(path, repository.create_blob(content), pygit2.enums.FileMode.BLOB))
