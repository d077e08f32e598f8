"""A branch moves from the commit that was expected to another one, or not at all: here, and on a remote.

Failure argument. Here the branch moves under the lock file that Git itself takes. Over https and ssh the server
compares: what it said in this very connection must be what was expected, and goes back to it as the old value, which
it checks under its own lock. That a push is no force would not do: a branch that somebody set back meanwhile takes it
too. libgit2's own push to a `file://` remote writes over whatever is there, so it only carries objects to a ref of
their own, and the branch is swapped as here.

A connection may break behind the server's decision and before its answer. Then the remote is asked where the branch
is; when that cannot be told either, the error says so, and whoever looks next sees what became of it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pygit2

from automata.errors import AutomataError, Conflict, Refused, Unavailable
from automata.git.credentials import Callbacks
from automata.git.faults import remote_faults
from automata.git.mirror import Mirror
from automata.git.names import deceiving, shown

HEADS = "refs/heads/"
LOCK_TRIES = 200
MAX_SAID_CHARS = 400
LOCK_PAUSE_SEC = 0.01
_CARRIED = "refs/automata/carried/"
_NOTHING = "0" * 40


def swap(repository: Any, name: str, before: str | None, after: str) -> None:
    """Let the ref `name` be at `after` when it is at `before` (None: when it is not there).

    Raises Conflict (`branch_moved`), Unavailable (`git_write`).
    """
    for _ in range(LOCK_TRIES):
        try:
            _swap_once(repository, name, before, after)
            return
        except (pygit2.GitError, ValueError, OSError) as error:
            # Somebody holds the lock file, has been faster, or the disk does not let us: where the branch is tells.
            reason = error
        if _now(repository, name) != before:
            raise _moved(name)
        time.sleep(LOCK_PAUSE_SEC)
    raise Unavailable(
        f"{_branch(name)} could not be moved: {reason}.", code="git_write", hint="Try again; nothing was changed."
    )


def push(mirror: Mirror, name: str, before: str | None, after: str) -> None:
    """The same on the remote of a mirror. Raises what `swap` does, Refused (`push_refused`, `not_bare`), Usage
    (`git_access`), and Unavailable with the code `push_unknown` when nobody can tell whether the branch moved.
    """
    if mirror.address.scheme == "file":
        _push_file(mirror, name, before, after)
        return
    pushing = _Pushing(mirror, before or _NOTHING)
    try:
        pushing.send(f"{after}:{name}")
    except Unavailable as caught:
        if not pushing.began:
            raise
        error: Refused | Unavailable = _unknown(mirror, name)
        error.__cause__ = caught
    else:
        if not pushing.refused:
            return
        error = _refused(name, pushing.refused, pushing.said)
    now_at = _ask(mirror, name)
    if now_at == after:
        return
    if now_at is None or now_at == (before or ""):
        raise error
    raise _moved(name)


class _Pushing(Callbacks):
    """One push. It ends before anything is sent when the branch is elsewhere; `refused` is what the server says."""

    def __init__(self, mirror: Mirror, expected: str) -> None:
        super().__init__(mirror.address)
        self.mirror = mirror
        self.expected = expected
        self.began = False
        self.refused = ""
        self.said = ""  # what its hooks wrote for people, the end of it

    def sideband_progress(self, string: str) -> None:
        self.said = (self.said + string)[-MAX_SAID_CHARS:]

    def send(self, refspec: str) -> None:
        with remote_faults(self.mirror.address):
            remote = self.mirror.repository.remotes.create_anonymous(self.mirror.address.url)
            try:
                remote.push([refspec], callbacks=self, proxy=True)
            except pygit2.GitError as error:
                if "fastforward" not in str(error).lower().replace("-", "").replace(" ", ""):
                    raise
                raise _moved(refspec.rpartition(":")[2]) from None

    def push_negotiation(self, updates: list[Any]) -> None:
        for update in updates:
            if str(update.src) != self.expected:
                raise _moved(update.dst_refname)
        self.began = True

    def push_update_reference(self, refname: str, message: str | None) -> None:
        self.refused = message or ""


def _ask(mirror: Mirror, name: str) -> str | None:
    """Where a remote's branch is, "" when it is not there; None when the remote does not answer."""
    try:
        with remote_faults(mirror.address):
            remote = mirror.repository.remotes.create_anonymous(mirror.address.url)
            heads = remote.list_heads(callbacks=Callbacks(mirror.address), proxy=True)
    except AutomataError:
        return None
    return next((str(head.oid) for head in heads if head.name == name), "")


def _push_file(mirror: Mirror, name: str, before: str | None, after: str) -> None:
    carried = _CARRIED + after
    with remote_faults(mirror.address):
        remote = pygit2.Repository(str(Path(urlsplit(mirror.address.url).path)))
        if not remote.is_bare:
            raise Refused(
                f"{mirror.address.url} is not a bare repository: moving a branch may leave its files behind.",
                code="not_bare",
                hint="Merge it there with git, or use a bare repository.",
            )
        if _now(remote, name) != before:
            raise _moved(name)
        mirror.repository.remotes.create_anonymous(mirror.address.url).push([f"+{after}:{carried}"])
    try:
        swap(remote, name, before, after)
    finally:
        if carried in remote.references:
            remote.references.delete(carried)


def _swap_once(repository: Any, name: str, before: str | None, after: str) -> None:
    """Raises ValueError when the branch is elsewhere, GitError or OSError when it is moving."""
    if before is None:
        repository.create_reference(name, pygit2.Oid(hex=after), force=False)
        return
    try:
        reference = repository.lookup_reference(name)
    except KeyError:
        raise ValueError("it is gone") from None
    if str(reference.target) != before:
        raise ValueError("it is elsewhere")
    # libgit2 compares with what it read once more, under the lock file of the reference.
    reference.set_target(pygit2.Oid(hex=after))


def _now(repository: Any, name: str) -> str | None:
    try:
        return str(repository.lookup_reference(name).peel(pygit2.Commit).id)
    except KeyError:
        return None


def _unknown(mirror: Mirror, name: str) -> Unavailable:
    return Unavailable(
        f"The connection to {mirror.address.url} broke while {_branch(name)} was pushed: it may still move.",
        code="push_unknown",
        hint="Look at it again when the remote answers; nothing else was changed.",
    )


def _refused(name: str, reason: str, said: str) -> Refused:
    words = " ".join("".join(" " if deceiving(character) else character for character in said).split())
    return Refused(
        f"The remote does not let {_branch(name)} move: {shown(reason[:200])}{f', {words}' if words else ''}.",
        code="push_refused",
        hint="Its hooks and its protection of branches decide over that; nothing was changed.",
    )


def _branch(name: str) -> str:
    return shown(name.removeprefix(HEADS))


def _moved(name: str) -> Conflict:
    return Conflict(
        f"{_branch(name)} has moved meanwhile; nothing was changed.",
        code="branch_moved",
        hint="Check it again, then apply.",
    )
