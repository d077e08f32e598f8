"""Makes a repository with its first commit, and one that others push to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pygit2

from automata.errors import Unavailable

FALLBACK_AUTHOR = ("Automata", "automata@localhost")


def create_repository(path: Path, message: str, branch: str = "main") -> str:
    """Make `path` a repository and commit everything in it that Git does not ignore; returns the full SHA.

    The author is who Git's configuration names, else `Automata <automata@localhost>`. Raises Unavailable.
    """
    try:
        repository = pygit2.init_repository(str(path), initial_head=branch)
        index = repository.index
        index.add_all()
        index.write()
        author = _author(repository)
        return str(repository.create_commit("HEAD", author, author, message, index.write_tree(), []))
    except (pygit2.GitError, OSError) as error:
        raise Unavailable(f"The repository {path} could not be made: {error}.", code="git_write") from error


def clone_bare(path: Path, target: Path) -> None:
    """A bare repository with the branch that `path` is on. Raises Unavailable."""
    try:
        pygit2.clone_repository(str(path), str(target), bare=True)
    except (pygit2.GitError, OSError) as error:
        raise Unavailable(f"The repository {target} could not be made: {error}.", code="git_write") from error


def _author(repository: Any) -> Any:
    try:
        return repository.default_signature
    except (KeyError, ValueError, pygit2.GitError):
        return pygit2.Signature(*FALLBACK_AUTHOR)
