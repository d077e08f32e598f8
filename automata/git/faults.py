"""What libgit2 says, turned into the tree of errors: who can help, and without a credential in the text."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pygit2

from automata.errors import AutomataError, Missing, Refused, Unavailable, Usage
from automata.git.address import Address, redact

# libgit2 has one error class for nearly everything, so its words are all there is to tell them apart by.
_ABSENT = ("could not find repository", "failed to resolve path", "status code: 404", "repository not found",
           "does not appear to be a git repository", "unsupported url")  # fmt: skip
_DENIED = ("authentication", "status code: 401", "status code: 403", "credential", "permission denied",
           "callback returned", "too many redirects", "username does not match")  # fmt: skip
_UNTRUSTED = ("certificate", "host key", "hostkey", "known_hosts", "ssl error")
_DISK = ("no space left", "disk quota", "read-only file system")
REMADE_SEC = 3_600.0  # a mirror that is wrong so soon after it was made anew is like its remote
_RIGHTS = ("permission denied", "operation not permitted", "read-only file system")
_NO_FOLDER = ("not a directory", "file exists", "is a directory")
# What libgit2 says of objects, references and files that are there and wrong, or not there: no time mends these.
_WRONG = ("not found", "corrupt", "invalid", "mismatch", "truncated", "inflate", "parse", "checksum", "bad ", "zlib",
          "cannot retrieve")  # fmt: skip
BROKEN = "automata-broken"  # the file that says of a mirror that a reader found it wrong


@contextmanager
def remote_faults(address: Address) -> Iterator[None]:
    """Map what a fetch raises: Missing (no such repository), Usage (credentials, trust), Unavailable (the rest)."""
    try:
        yield
    except AutomataError:
        raise
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise _remote_error(address, redact(str(error), address)) from None


@contextmanager
def object_faults(address: Address) -> Iterator[None]:
    """Map a failed read of objects: Unavailable (`git_read`) for what may pass, Refused for what will not.

    A mirror is marked: the next fetch makes it anew. Another repository that lacks an object, or has a wrong one, is
    `git_broken`; where rights are missing it is `git_rights`.
    """
    try:
        yield
    except AutomataError:
        raise
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise _object_error(address, error, redact(str(error), address)) from error


def _object_error(address: Address, error: Exception, text: str) -> AutomataError:
    low = text.lower()
    if any(word in low for word in _RIGHTS):
        return Refused(
            f"The repository {address.url} does not let Automata do that: {text}.",
            code="git_rights",
            hint=f"Give the account that Automata runs as the rights to it, here {address.local or address.mirror}.",
        )
    if address.mirror is not None and not _is_young(remade_mark(address.mirror)):
        with suppress(OSError):
            (address.mirror / BROKEN).touch()
    elif address.mirror or isinstance(error, KeyError) or any(word in low for word in _WRONG):
        return Refused(
            f"The repository {address.url} is broken: {text}.",
            code="git_broken",
            hint="git fsck says what is missing: fetch it from another clone. Nothing was changed.",
        )
    return Unavailable(
        f"The repository {address.url} could not be read: {text}.",
        code="git_read",
        hint="Nothing was changed; the next attempt may succeed"
        + (": its copy here is made anew." if address.mirror else "."),
    )


def remade_mark(mirror: Path) -> Path:
    """The file that says when a mirror was last made anew because a reader found it wrong."""
    return mirror.with_name(f"{mirror.name}.remade")


def _is_young(place: Path) -> bool:
    try:
        return time.time() - place.stat().st_mtime < REMADE_SEC
    except OSError:
        return False


def mirror_fault(address: Address, text: str) -> AutomataError:
    """The error for a copy on this disk that cannot be made or written: Refused for a place where it never can be."""
    message = f"The copy of {address.url} in {address.mirror} could not be written: {text}."
    if any(word in text.lower() for word in (*_RIGHTS, *_NO_FOLDER)):
        hint = "Let the account that Automata runs as write there, or choose another place by AUTOMATA_DATA_DIR."
        return Refused(message, code="git_mirror", hint=hint)
    return Unavailable(message, code="git_mirror", hint="Is the disk full? AUTOMATA_DATA_DIR chooses another place.")


def _remote_error(address: Address, text: str) -> AutomataError:
    low = text.lower()
    if (address.mirror and str(address.mirror) in text) or any(word in low for word in _DISK):
        return mirror_fault(address, text)
    if any(word in low for word in _ABSENT):
        return Missing(
            f"There is no Git repository at {address.url}.",
            code="repository_not_found",
            hint="Check the address; a private repository also looks absent without credentials.",
        )
    if any(word in low for word in _UNTRUSTED):
        return Usage(
            f"The server of {address.url} could not be trusted: {text}.",
            code="git_trust",
            hint="Add its certificate authority (SSL_CERT_FILE) or its key (~/.ssh/known_hosts).",
        )
    if any(word in low for word in _DENIED):
        return denied(address, text)
    return Unavailable(
        f"The repository {address.url} could not be reached: {text}.",
        code="git_unreachable",
        hint="Nothing was changed; the next attempt may succeed.",
    )


def denied(address: Address, reason: str) -> Usage:
    """The error for a remote that refuses the credentials."""
    return Usage(
        f"{address.url} refused access: {reason}.",
        code="git_access",
        hint="Set AUTOMATA_GIT_TOKEN (and AUTOMATA_GIT_USERNAME) for https, AUTOMATA_GIT_SSH_KEY or an agent for ssh.",
    )
