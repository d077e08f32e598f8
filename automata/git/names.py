"""Which texts may be a branch name or a folder: decided here once, before Git sees anything that a user typed."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from automata.errors import Usage

MAX_BRANCH_BYTES = 200
MAX_FOLDER_BYTES = 1024

# What git check-ref-format forbids anywhere; `~^:` and `@{` are also how revision syntax starts.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
DIRTY = "-dirty"  # after the SHA of the last commit, for a working tree of which something read differs from it
EARLIER = "-or-earlier"  # after the SHA of a commit that has something, where the one that made it is not known
# Invisible, direction-changing and unpaired code points: legal in Git, but they make one name look like another.
_DECEIVING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def check_branch(name: str) -> str:
    """Return `name` when Git could have a branch of that name; raise Usage (code `branch_name`) otherwise."""
    if problem := _branch_problem(name):
        raise Usage(
            f"{shown(name)} is not a branch name: {problem}.",
            code="branch_name",
            hint="Name a branch, such as main; commits, tags and revision syntax are not taken.",
        )
    return name


def check_folder(text: str) -> str:
    """Return a folder inside a repository as `a/b` ('' is the root); raise Usage (code `folder`) if it is none."""
    parts = [part for part in text.replace("\\", "/").split("/") if part not in ("", ".")]
    problem = ""
    if text.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", text):
        problem = "it must be relative to the root of the repository"
    elif ".." in parts:
        problem = "it must not leave the repository with `..`"
    elif any(is_git_folder(part) for part in parts):
        problem = "Git's own folder holds no flows"
    elif deceiving(text) or len(text.encode(errors="replace")) > MAX_FOLDER_BYTES:
        problem = "it has invisible characters or is too long"
    if problem:
        raise Usage(f"{shown(text)} is not a folder of a repository: {problem}.", code="folder")
    return "/".join(parts)


def is_git_folder(name: str) -> bool:
    """Whether a file system could take `name` for `.git` (case, trailing dots and blanks, the 8.3 short name)."""
    return name.casefold().rstrip(". ") in (".git", "git~1")


def deceiving(text: str) -> bool:
    """Whether `text` has characters that make one name look like another."""
    return any(unicodedata.category(character) in _DECEIVING for character in text)


def shown(text: str) -> str:
    """`text` quoted for a message: no control characters, at most 80 characters."""
    short = text if len(text) <= 80 else text[:77] + "..."
    return ascii(short) if deceiving(short) else repr(short)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """`Did you mean 'main'?` for the closest of `known`, or None."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"Did you mean {shown(close[0])}?" if close else None


def _branch_problem(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name.encode(errors="replace")) > MAX_BRANCH_BYTES:
        return f"it is longer than {MAX_BRANCH_BYTES} bytes"
    if forbidden := _FORBIDDEN.search(name):
        return f"it contains {shown(forbidden.group())}"
    if deceiving(name):
        return "it has invisible characters"
    if name.startswith("-"):
        return "it starts with '-'"
    if name in ("@", "HEAD"):
        return "that name is Git's own"
    if name.startswith("/") or name.endswith(("/", ".")):
        return "it starts with '/' or ends with '/' or '.'"
    if any(part.startswith(".") or part.endswith(".lock") for part in name.split("/")):
        return "a part of it starts with '.' or ends with '.lock'"
    return ""


def is_commit(text: str) -> bool:
    """Whether it is the full SHA of a commit, and no working tree's name."""
    return _SHA.fullmatch(text) is not None


def is_uncommitted(text: str) -> bool:
    """Whether it is the name of a working tree with something in it that no commit has."""
    return not is_commit(text.removesuffix(EARLIER))


def short_sha(sha: str) -> str:
    """Twelve digits of a commit, with its `-dirty` if it has one; `working-tree` stays as it is."""
    commit, dash, rest = sha.partition("-")
    return commit[:12] + dash + rest
