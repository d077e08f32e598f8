"""A source's repository: read in place when it is a path, else through a bare mirror that fetches its branches.

A mirror is a cache. One writer at a time (a file lock beside it); a mirror that cannot be opened is made anew; lock
files that a killed fetch left behind are removed by the next holder of the lock, who is the only writer there is.
No credential is ever written into it.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pygit2
from filelock import FileLock, Timeout
from pygit2.enums import FetchPrune, RepositoryOpenFlag

from automata.errors import Missing, Unavailable
from automata.git.address import Address, parse_address
from automata.git.credentials import Callbacks
from automata.git.default_branch import keep_head
from automata.git.faults import object_faults, remote_faults
from automata.git.names import check_branch, check_folder, nearest, shown
from automata.git.tree import CommitTree

CONNECT_MS = 15_000
SERVER_MS = 60_000
LOCK_SECONDS = 600
_HEADS = "refs/heads/"
_TRACKED = "refs/remotes/origin/"
_TRACKED_HEAD = _TRACKED + "HEAD"
_REFSPECS = [f"+{_HEADS}*:{_TRACKED}*"]

# Git checks who owns a repository because it runs programs that the repository's config names. libgit2 runs none, and
# only objects and refs are read here; a repository mounted into a container always belongs to someone else.
pygit2.settings.owner_validation = False
pygit2.settings.server_connect_timeout = CONNECT_MS
pygit2.settings.server_timeout = SERVER_MS


class Mirror:
    """One repository. Not for several threads at once; every method may block on disk, `fetch` on the network."""

    def __init__(self, address: Address, path: Path, repository: Any, prefix: str) -> None:
        self.address = address
        self.path = path
        self._repository = repository
        self._prefix = prefix

    @classmethod
    def open(cls, url: str, mirrors: Path) -> Mirror:
        """Open a path in place, or the mirror of a URL (made when there is none) below `mirrors`.

        Raises Usage for an address that is none, Missing (code `repository_not_found`) for a path without a repository.
        """
        address = parse_address(url)
        if address.local is not None:
            return cls(address, address.local, _open_local(address, address.local), _HEADS)
        path = mirrors / hashlib.sha256(address.url.encode()).hexdigest()[:32]
        mirrors.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(path, address):
            return cls(address, path, _open_mirror(path), _TRACKED)

    @property
    def workdir(self) -> Path | None:
        """The working tree of a local repository; None for a bare one or a mirror."""
        return Path(self._repository.workdir) if self.address.local and self._repository.workdir else None

    @property
    def repository(self) -> Any:
        """The pygit2 repository, for the other modules of this room."""
        return self._repository

    def fetch(self) -> None:
        """Bring the mirror's branches up to date (also rewritten and deleted ones). A local repository has no need."""
        if self.address.local is not None:
            return
        with _locked(self.path, self.address), remote_faults(self.address):
            _drop_stale_locks(self.path)
            remote = self._repository.remotes.create_anonymous(self.address.url)
            callbacks = Callbacks(self.address)
            remote.fetch(_REFSPECS, callbacks=callbacks, prune=FetchPrune.PRUNE, proxy=True)
            keep_head(self._repository, remote.list_heads(connect=False))

    def branches(self) -> list[str]:
        """The names of all branches."""
        with object_faults(self.address):
            names = [name.decode("utf-8", "replace") for name in self._repository.raw_listall_references()]
        return sorted(name[len(self._prefix) :] for name in names if self._is_branch(name))

    def resolve(self, branch: str) -> str:
        """The full SHA of a branch's commit. Raises Usage, Missing (`branch_not_found`, `repository_empty`)."""
        name = self._prefix + check_branch(branch)
        with object_faults(self.address):
            try:
                return str(self._repository.lookup_reference(name).peel(pygit2.Commit).id)
            except (KeyError, pygit2.InvalidSpecError):
                raise self._no_branch(branch) from None

    def head_branch(self) -> str | None:
        """The branch that HEAD names: of a remote its default branch, as the last fetch was told.

        None for a detached HEAD, before the first commit, and where a remote does not say.
        """
        with object_faults(self.address):
            target = self._repository.lookup_reference("HEAD").raw_target
            name = target.decode("utf-8", "replace") if isinstance(target, bytes) else ""
        branch = name.removeprefix(_HEADS) if name.startswith(_HEADS) else ""
        return branch if branch in self.branches() else None

    def tree(self, commit: str, folder: str = "") -> CommitTree:
        """Read the project in `folder` at a full SHA. Raises Missing (`commit_not_found`, `folder_not_found`)."""
        folder = check_folder(folder)
        if commit not in self._repository:
            raise Missing(
                f"There is no commit {shown(commit)} in {self.address.url}.",
                code="commit_not_found",
                hint="A shallow clone lacks older commits: fetch them.",
            )
        tree = CommitTree(self._repository, self.address, commit, folder)
        if not tree.exists(folder):
            raise Missing(
                f"There is no folder {shown(folder)} in {self.address.url} at {commit[:12]}.",
                code="folder_not_found",
                hint=nearest(folder, tree.folders()) or "Check --path.",
            )
        return tree

    def merge_base(self, first: str, other: str) -> str | None:
        """The full SHA of the best common ancestor of two commits; None when they have none. Raises Missing."""
        for commit in (first, other):
            self.tree(commit)
        with object_faults(self.address):
            base = self._repository.merge_base(pygit2.Oid(hex=first), pygit2.Oid(hex=other))
        return str(base) if base else None

    def rewritten(self, before: str, after: str) -> bool:
        """Whether `after` is not a descendant of `before`: somebody rewrote the branch."""
        if before == after:
            return False
        try:
            return not self._repository.descendant_of(after, before)
        except (pygit2.GitError, KeyError, ValueError):
            # The old commit is gone altogether, which only a rewrite does.
            return True

    def _is_branch(self, name: str) -> bool:
        return name.startswith(self._prefix) and name != _TRACKED_HEAD

    def _no_branch(self, branch: str) -> Missing:
        branches = self.branches()
        if not branches:
            return Missing(
                f"The repository {self.address.url} has no commits yet.",
                code="repository_empty",
                hint="Commit a flow to it, or make a repository with `automata init`.",
            )
        listed = ", ".join(map(shown, branches[:10]))
        return Missing(
            f"There is no branch {shown(branch)} in {self.address.url}.",
            code="branch_not_found",
            hint=nearest(branch, branches) or f"Its branches: {listed}.",
            details={"branches": branches[:100]},
        )


def _open_local(address: Address, path: Path) -> Any:
    try:
        return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        outer = pygit2.discover_repository(str(path)) if path.is_dir() else None
        if outer and (root := pygit2.Repository(outer).workdir):
            inside = path.relative_to(Path(root).resolve()).as_posix()
            hint = f"It is a folder of the repository {Path(root)}: use --repo {Path(root)} --path {inside}"
        else:
            hint = "Make one with `automata init`, or run `git init` in it." if path.is_dir() else "Check the path."
        unsupported = "not found" not in str(error).lower()
        message = f"There is no Git repository at {path}" + (f": {error}." if unsupported else ".")
        raise Missing(message, code="repository_not_found", hint=hint) from None


def _open_mirror(path: Path) -> Any:
    if path.exists():
        with suppress(pygit2.GitError):
            return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH | RepositoryOpenFlag.BARE)
        shutil.rmtree(path)
    return pygit2.init_repository(str(path), bare=True)


def _locked(path: Path, address: Address) -> FileLock:
    lock = FileLock(f"{path}.lock", timeout=LOCK_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise Unavailable(f"Another process has been fetching {address.url} for {LOCK_SECONDS} s.") from None
    return lock


def _drop_stale_locks(path: Path) -> None:
    for left in (*path.glob("*.lock"), *(path / "refs").rglob("*.lock")):
        left.unlink(missing_ok=True)
