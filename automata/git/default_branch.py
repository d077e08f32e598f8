"""The default branch of a remote: its server tells with every look, and the mirror's own HEAD keeps it.

It does so as Git asks of any HEAD, by the name of a branch of its own: one that a mirror, which only tracks, never has.
A clone that somebody works in has asked once, when it was made, and keeps the answer with the branches of `origin`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pygit2

_HEADS = "refs/heads/"
_ORIGIN = "refs/remotes/origin/"
_UNTOLD = _HEADS + "HEAD"  # which is never counted as a branch


def keep_head(repository: Any, heads: Iterable[Any]) -> None:
    """Let the HEAD of a mirror name what the remote's does, or nothing where the remote does not tell.

    `heads` are those of pygit2's `Remote.list_heads`, which knows them without another question after a fetch.
    """
    target = next((head.symref_target for head in heads if head.name == "HEAD"), None) or ""
    repository.references.create("HEAD", target if target.startswith(_HEADS) else _UNTOLD, force=True)


def origin_branch(repository: Any) -> str | None:
    """The default branch of the remote that a repository was cloned from; None where nothing is known of it."""
    try:
        target = repository.lookup_reference(f"{_ORIGIN}HEAD").raw_target
    except (KeyError, pygit2.GitError):
        return None
    name = target.decode("utf-8", "replace") if isinstance(target, bytes) else ""
    return name.removeprefix(_ORIGIN) or None if name.startswith(_ORIGIN) else None
