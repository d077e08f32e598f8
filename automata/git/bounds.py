"""How much of an object of a repository is read. Anybody may push one that takes a kilobyte on the wire and a gigabyte
in memory, so its header is read first."""

from __future__ import annotations

from typing import Any

import pygit2

from automata.errors import Refused

MAX_COMMIT_BYTES = 1024 * 1024
MAX_TREE_BYTES = 4 * 1024 * 1024  # some 100,000 names in one folder


def refuse_large_commit(repository: Any, id: str) -> None:
    """Raise Refused (`too_large`) for a commit that is not read."""
    _refuse_large(repository, id, MAX_COMMIT_BYTES, "A commit")


def refuse_large_tree(repository: Any, id: str) -> None:
    """Raise Refused (`too_large`) for a folder that is not read."""
    _refuse_large(repository, id, MAX_TREE_BYTES, "The list of a folder")


def _refuse_large(repository: Any, id: str, most: int, what: str) -> None:
    size = repository.odb.read_header(pygit2.Oid(hex=id))[1]
    if size > most:
        raise Refused(f"{what} has {size:,} bytes, and at most {most:,} are read.", code="too_large")
