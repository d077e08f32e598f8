"""A source's repository: read in place when it is a path, else through a bare mirror that fetches its branches.

A mirror is a cache (mirror_folder.py). No credential is ever written into it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pygit2
from pygit2.enums import ObjectType, RepositoryOpenFlag

from automata.errors import Missing
from automata.git.address import Address, parse_address
from automata.git.faults import object_faults
from automata.git.mirror_folder import HEADS, TRACKED, TRACKED_HEAD, mirror_path, open_folder, update
from automata.git.names import check_branch, check_folder, nearest, shown
from automata.git.tree import CommitTree

CONNECT_MS = 15_000
SERVER_MS = 60_000
_ORIGIN = "origin/"
OPEN_PACKS = 256  # files that libgit2 keeps open in this process, of all repositories together

# Git checks who owns a repository because it runs programs that the repository's config names. libgit2 runs none, and
# only objects and refs are read here; a repository mounted into a container always belongs to someone else.
pygit2.settings.owner_validation = False
pygit2.settings.server_connect_timeout = CONNECT_MS
pygit2.settings.server_timeout = SERVER_MS
pygit2.settings.mwindow_file_limit = OPEN_PACKS


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
            return cls(address, address.local, _open_local(address, address.local), HEADS)
        path = mirror_path(mirrors, address)
        address = replace(address, mirror=path)
        return cls(address, path, open_folder(path, address), TRACKED)

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
        if self.address.local is None:
            update(self._repository, self.path, self.address)

    def branches(self) -> list[str]:
        """The names of all branches."""
        with object_faults(self.address):
            names = [name.decode("utf-8", "replace") for name in self._repository.raw_listall_references()]
        return sorted(name[len(self._prefix) :] for name in names if self._is_branch(name))

    def resolve(self, branch: str, *, tracked: bool = False) -> str:
        """The full SHA of a branch's commit. Raises Usage, Missing (`branch_not_found`, `repository_empty`).

        `tracked`: where a local repository has no such branch, `main` and `origin/main` are that of its `origin`: a
        clone that CI made has a commit checked out and no branch.
        """
        check_branch(branch)
        names = [self._prefix + branch]
        if tracked and self.address.local is not None:
            names += [TRACKED + branch, TRACKED + branch.removeprefix(_ORIGIN)]
        with object_faults(self.address):
            for name in names:
                with suppress(KeyError, pygit2.InvalidSpecError):
                    return self._commit_of(self._repository.lookup_reference(name))
        raise self._no_branch(branch)

    def _commit_of(self, reference: Any) -> str:
        try:
            return str(reference.peel(pygit2.Commit).id)
        except KeyError as error:  # a branch without its commit: the repository is broken, and the branch is there
            raise pygit2.GitError(f"the commit of {reference.name} was not found") from error

    def head_branch(self) -> str | None:
        """The branch that HEAD names: of a remote its default branch, as the last fetch was told.

        None for a detached HEAD, before the first commit, and where a remote does not say.
        """
        with object_faults(self.address):
            target = self._repository.lookup_reference("HEAD").raw_target
            name = target.decode("utf-8", "replace") if isinstance(target, bytes) else ""
        branch = name.removeprefix(HEADS) if name.startswith(HEADS) else ""
        return branch if branch in self.branches() else None

    def tree(self, commit: str, folder: str = "") -> CommitTree:
        """Read the project in `folder` at a full SHA. Raises Missing (`commit_not_found`, `folder_not_found`)."""
        folder = check_folder(folder)
        if not self._is_commit(commit):
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

    def _is_commit(self, sha: str) -> bool:
        with object_faults(self.address):
            try:
                kind = self._repository.odb.read_header(pygit2.Oid(hex=sha))[0]
            except (KeyError, ValueError):
                return False
        return bool(kind == ObjectType.COMMIT)

    def _is_branch(self, name: str) -> bool:
        return name.startswith(self._prefix) and name != TRACKED_HEAD

    def _no_branch(self, branch: str) -> Missing:
        branches = self.branches()
        if not branches and self._repository.head_is_unborn:
            return Missing(
                f"The repository {self.address.url} has no commits yet.",
                code="repository_empty",
                hint="Commit a flow to it, or make a repository with `automata init`.",
            )
        listed = ", ".join(map(shown, branches[:10])) or "there are none, only those that it fetched"
        return Missing(
            f"There is no branch {shown(branch)} in {self.address.url}.",
            code="branch_not_found",
            hint=nearest(branch, branches) or f"Its branches: {listed}.",
            details={"branches": branches[:100]},
        )


def _root_around(path: Path) -> Path | None:
    """The root of the repository that a folder is in."""
    with suppress(pygit2.GitError):
        outer = pygit2.discover_repository(str(path)) if path.is_dir() else None
        root = pygit2.Repository(outer).workdir if outer else None
        return Path(root).resolve() if root else None
    return None


def _open_local(address: Address, path: Path) -> Any:
    try:
        return pygit2.Repository(str(path), RepositoryOpenFlag.NO_SEARCH)
    except pygit2.GitError as error:
        root = _root_around(path)
        if root is not None and root != path:
            hint = (
                f"It is a folder of the repository {root}: use --repo {root} --path {path.relative_to(root).as_posix()}"
            )
        else:
            hint = "Make one with `automata init`, or run `git init` in it." if path.is_dir() else "Check the path."
        unsupported = "not found" not in str(error).lower()
        message = f"There is no Git repository at {path}" + (f": {error}." if unsupported else ".")
        raise Missing(message, code="repository_not_found", hint=hint) from None
