"""The folder of a mirror: a cache, brought up to date with its remote, and made anew when anything in it is wrong.

Failure argument.
- One writer at a time, by a file lock beside the folder. Readers take none.
- Branches that the remote no longer has go before others are updated: `x` and `x/y` cannot both be there.
- What cannot be opened, listed, updated or read is no reason to stop, for nothing in a mirror is needed: it is made
  anew. The remote is blamed only for what happens in an empty folder too.
- A new mirror is fetched into a folder of its own, and takes the place of the old one once it is whole. Whoever dies in
  between leaves the old one, or none, and rubbish that the next writer removes. Objects that somebody wrote in the last
  hour go with it: a merge that is being checked is in no branch.
- A remote that is wrong itself would be fetched whole at every look: what could not be made anew, and what a reader
  found wrong again, is tried once in ten minutes at most.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pygit2
from filelock import FileLock, Timeout
from pygit2.enums import FetchPrune, RepositoryOpenFlag

from automata.errors import Unavailable
from automata.git.address import Address, redact
from automata.git.credentials import Callbacks
from automata.git.default_branch import keep_head
from automata.git.faults import BROKEN, mirror_fault, remade_mark, remote_faults
from automata.git.packs import (
    DELTA_CACHE_BYTES,
    MAX_PACKS,
    SMALL_OBJECT_BYTES,
    YOUNG_SEC,
    is_younger,
    loose_objects,
    packs_of,
    size_of,
    tidy_objects,
)

LOCK_SECONDS = 600
HEADS = "refs/heads/"
TRACKED = "refs/remotes/origin/"
TRACKED_HEAD = TRACKED + "HEAD"
REBUILD_PAUSE_SEC = 600.0
UNUSED_SEC = 30 * 86_400.0
MAX_KEPT_PACKS = 2 * MAX_PACKS  # with those that are too large to be put together
GROWTH_BYTES = 256 * 1024 * 1024  # beside twice what it had when it was made
_MADE = "automata-made"  # holds the bytes that the mirror had when it was made; its time is when that was
_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
_FAULTS = (pygit2.GitError, OSError, ValueError, KeyError)

log = logging.getLogger(__name__)


def mirror_path(mirrors: Path, address: Address) -> Path:
    """Where the mirror of an address is."""
    return mirrors / hashlib.sha256(address.url.encode()).hexdigest()[:32]


def open_folder(path: Path, address: Address) -> Any:
    """The repository in a mirror's folder, an empty one when there is none or none that can be opened.

    Raises Unavailable (`git_mirror`, `git_busy`).
    """
    with suppress(pygit2.GitError):
        return _open(path)
    with _disk_faults(address):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(path, address):
        with suppress(pygit2.GitError):
            return _open(path)
        with _disk_faults(address):
            _remove(path)
            return _make(path)


def update(repository: Any, path: Path, address: Address) -> None:
    """Bring the branches up to those of the remote. Raises Missing, Usage, Unavailable; then the branches stay."""
    with locked(path, address):
        if _is_marked(path):
            _rebuild(path, address, "a reader found it wrong")
            remade_mark(path).touch()
        else:
            _update_or_rebuild(repository, path, address)
        with suppress(OSError):
            os.utime(path)  # it is in use
    # Handles of packs that are gone, or have become another one, would be held for as long as the repository is.
    repository.free()


@contextmanager
def locked(path: Path, address: Address) -> Iterator[None]:
    """Be the only writer of a mirror. Raises Unavailable."""
    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS)
    with _disk_faults(address):
        try:
            lock.acquire()
        except Timeout:
            raise Unavailable(
                f"Another process has been fetching {address.url} for {LOCK_SECONDS} s.",
                code="git_busy",
                hint="Nothing was changed; the next attempt may succeed.",
            ) from None
    try:
        yield
    finally:
        lock.release()


class _Remote:
    """One connection: asked for its branches first, then for what they hold."""

    def __init__(self, repository: Any, address: Address) -> None:
        self.repository = repository
        self.address = address
        self._callbacks = Callbacks(address)
        self._remote = repository.remotes.create_anonymous(address.url)
        self._heads: list[Any] = []

    def heads(self) -> dict[bytes, str]:
        """The commit of each branch, by the name of the branch."""
        with remote_faults(self.address):
            heads = self._remote.list_heads(callbacks=self._callbacks, proxy=True)
        self._heads = heads
        names = {head.name.encode("utf-8", "surrogateescape"): str(head.oid) for head in heads if head.name}
        return {name[len(HEADS) :]: sha for name, sha in names.items() if name.startswith(HEADS.encode())}

    def fetch(self) -> None:
        """All branches. Raises what libgit2 does."""
        refspecs = [f"+{HEADS}*:{TRACKED}*"]
        self._remote.fetch(refspecs, callbacks=self._callbacks, prune=FetchPrune.NO_PRUNE, proxy=True)

    def keep_head(self) -> None:
        """Let the mirror's HEAD name what the remote's did when its branches were asked for."""
        keep_head(self.repository, self._heads)


def _update_or_rebuild(repository: Any, path: Path, address: Address) -> None:
    try:
        remote = _Remote(repository, address)
        fetched = _update(remote, path, remote.heads())
        remote.keep_head()
    except _FAULTS as error:
        if is_younger(_tried(path), REBUILD_PAUSE_SEC):
            with remote_faults(address):
                raise
        _rebuild(path, address, redact(str(error), address))
        return
    if fetched:
        _drop_unused(path)
        if reason := _too_large(path):
            _rebuild(path, address, reason)


def _update(remote: _Remote, path: Path, heads: Mapping[bytes, str]) -> bool:
    """Whether there was something to fetch. Raises what libgit2 and the disk do for a mirror that is wrong."""
    repository = remote.repository
    for left in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
        left.unlink(missing_ok=True)  # of a writer that was killed: we are the only one there is
    here = {reference.raw_name: reference for reference in repository.references.iterator()}
    here.pop(TRACKED_HEAD.encode(), None)
    for name in here.keys() - {TRACKED.encode() + name for name in heads}:
        here.pop(name).delete()
    known = {name[len(TRACKED) :]: str(reference.target) for name, reference in here.items()}
    for sha in known.values():
        repository.odb.read_header(pygit2.Oid(hex=sha))  # raises when a pack is gone or cut
    if known == heads:
        return False
    remote.fetch()
    tidy_objects(repository, path)
    return True


def _rebuild(path: Path, address: Address, reason: str) -> None:
    """Fetch all of it into an empty folder, which then takes the place of the old one."""
    log.warning("the mirror of %s is made anew: %s", address.url, reason)
    fresh, old = (path.with_name(path.name + suffix) for suffix in (".new", ".old"))
    with _disk_faults(address):
        _tried(path).touch()
        _remove(fresh)
        _remove(old)
        repository = _make(fresh)
    remote = _Remote(repository, address)
    remote.heads()
    with remote_faults(address):
        remote.fetch()
    with _disk_faults(address):
        remote.keep_head()
        _carry_over(path, fresh)
        (fresh / _MADE).write_text(str(size_of(fresh)))
        if not _exchange(fresh, path):
            if path.exists():
                path.rename(old)
            fresh.rename(path)
        for left in (fresh, old):
            _remove(left)
        _tried(path).unlink(missing_ok=True)


def _exchange(fresh: Path, path: Path) -> bool:
    """Let two folders change places in one step, so that readers find one at any moment; False where that cannot be."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError):  # not Linux, or an old C library
        return False
    return path.is_dir() and rename(_HERE, os.fsencode(fresh), _HERE, os.fsencode(path), _EXCHANGE) == 0


def _carry_over(path: Path, fresh: Path) -> None:
    """The objects that were written in the last hour, if they are what their names say."""
    for place in loose_objects(path) if path.is_dir() else ():
        with suppress(OSError, zlib.error):
            target = fresh / place.relative_to(path)
            if is_younger(place, YOUNG_SEC) and not target.exists() and _is_whole(place):
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(place, target)


def _is_whole(place: Path) -> bool:
    inflater = zlib.decompressobj()
    data = inflater.decompress(place.read_bytes(), SMALL_OBJECT_BYTES)
    return inflater.eof and hashlib.sha1(data, usedforsecurity=False).hexdigest() == place.parent.name + place.name


def _is_marked(path: Path) -> bool:
    """Whether a reader found it wrong, and it was not made anew for that already."""
    return (path / BROKEN).exists() and not is_younger(remade_mark(path), REBUILD_PAUSE_SEC)


def _too_large(path: Path) -> str:
    """Why it has grown too far; "" when it has not."""
    if (packs := len(packs_of(path))) > MAX_KEPT_PACKS:
        return f"it has {packs} packs"
    size, size_when_made = size_of(path), _size_when_made(path)
    if size_when_made is None:
        with suppress(OSError):
            (path / _MADE).write_text(str(size))
        return ""
    return f"it has {size >> 20:,} MiB" if size > 2 * size_when_made + GROWTH_BYTES else ""


def _size_when_made(path: Path) -> int | None:
    try:
        return int((path / _MADE).read_text())
    except (OSError, ValueError):
        return None


def _tried(path: Path) -> Path:
    """The file that says when making it anew was last begun, and did not end well."""
    return path.with_name(f"{path.name}.tried")


def _drop_unused(path: Path) -> None:
    """Mirrors beside this one that nobody brought up to date for a month: they are of repositories of another time."""
    for other in path.parent.iterdir():
        with suppress(OSError, Timeout):
            if other != path and len(other.name) == len(path.name) and _is_unused(other):
                with FileLock(f"{other}.lock", timeout=0):
                    if _is_unused(other):
                        _remove(other)


def _is_unused(path: Path) -> bool:
    return path.is_dir() and not is_younger(path, UNUSED_SEC)


def _open(path: Path) -> Any:
    return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)


def _make(path: Path) -> Any:
    repository = pygit2.init_repository(str(path), bare=True)
    repository.config["pack.deltaCacheSize"] = DELTA_CACHE_BYTES
    return repository


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _disk_faults(address: Address) -> Iterator[None]:
    try:
        yield
    except (pygit2.GitError, OSError) as error:
        raise mirror_fault(address, redact(str(error), address)) from error
