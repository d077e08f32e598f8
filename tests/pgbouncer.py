"""A real PgBouncer for tests: between them and the tests' PostgreSQL, on a socket in a folder of its own.

The programs are those of AUTOMATA_TEST_PGBOUNCERS (paths with colons between them), else the one of this machine. A
machine without one gets it from its packages where that needs no question (root, apt), as tests/rabbitmq.py does.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from filelock import FileLock
from psycopg.conninfo import conninfo_to_dict

INSTALL_SEC = 420
START_SEC = 60
PASSWORD = "of-the-pooler"  # where it asks for one
PORT = 6432  # of the socket alone: it is in the name of its file
_MISSING = (
    "PgBouncer is needed by these tests. Install the package pgbouncer, or name programs in AUTOMATA_TEST_PGBOUNCERS."
)
_SYSTEM = ("/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer")


def programs() -> list[str]:
    """What the tests run through, by path; empty where there is none yet."""
    if given := os.environ.get("AUTOMATA_TEST_PGBOUNCERS"):
        return given.split(":")
    found = shutil.which("pgbouncer") or next((path for path in _SYSTEM if Path(path).exists()), None)
    return [found] if found else []


def find_program() -> str:
    """The first of them; installs it where that is ours to do."""
    with FileLock(Path(tempfile.gettempdir()) / f"automata-pgbouncer-{os.getuid()}.lock"):
        return (programs() or _installed())[0]


def _installed() -> list[str]:
    assert os.getuid() == 0, _MISSING
    assert shutil.which("apt-get"), _MISSING
    environment = os.environ | {
        "DEBIAN_FRONTEND": "noninteractive",
        "RUNLEVEL": "1",
    }  # the package's own is not started
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "-y", "--no-install-recommends", "pgbouncer"]
    for command in (install, ["apt-get", "update"], install):  # lists may be missing or old: the first try shows it
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SEC
        )
        if command is install and done.returncode == 0 and (found := programs()):
            return found
    raise AssertionError(f"{_MISSING}\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


class Pooler:
    """A PgBouncer before the server of `server_url`, for any database of it. `settings` are lines of its file."""

    def __init__(self, program: str, place: Path, server_url: str, settings: dict[str, str]) -> None:
        self._program = program
        self._place = place
        self._file = place / "pgbouncer.ini"
        self._owner = _owner(server_url)
        self._process: subprocess.Popen[bytes] | None = None
        place.chmod(0o755)
        if self._owner:
            os.chown(place, self._owner["user"], self._owner["group"])
        users = place / "userlist.txt"  # nobody takes the rights of this folder away, as pytest does with its own
        users.write_text(f'"automata" "{PASSWORD}"\n')
        self._file.write_text(_configuration(place, server_url, {**settings, "auth_file": str(users)}))

    def url(self, database_url: str, password: str = "") -> str:
        """The way to that database through the pooler."""
        name = conninfo_to_dict(database_url)["dbname"]
        user = f"automata:{password}" if password else "automata"
        return f"postgresql://{user}@/{name}?host={quote(str(self._place), safe='')}&port={PORT}"

    def start(self) -> None:
        """Returns when it takes connections."""
        log = (self._place / "log").open("ab")
        self._process = subprocess.Popen([self._program, str(self._file)], stdout=log, stderr=log, **self._owner)
        log.close()
        deadline = time.monotonic() + START_SEC
        while not (self._place / f".s.PGSQL.{PORT}").is_socket():
            assert self._process.poll() is None, (self._place / "log").read_text()
            assert time.monotonic() < deadline, "PgBouncer does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, whatever goes through it."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(START_SEC)
        (self._place / f".s.PGSQL.{PORT}").unlink(missing_ok=True)

    def ask(self, command: str) -> list[dict[str, Any]]:
        """Rows of a command of its console, such as SHOW POOLS."""
        address = f"host={self._place} port={PORT} dbname=pgbouncer user=automata"
        with psycopg.connect(address, autocommit=True, cursor_factory=psycopg.ClientCursor) as conn:
            cursor = conn.execute(command.encode())
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _owner(server_url: str) -> dict[str, Any]:
    """It refuses to run as root: then as whom the server belongs to, who may enter where its socket is."""
    if os.getuid() != 0:
        return {}
    host = str(conninfo_to_dict(server_url).get("host") or "")
    user = pwd.getpwuid(Path(host).stat().st_uid) if host.startswith("/") else pwd.getpwnam("nobody")
    return {"user": user.pw_uid, "group": user.pw_gid}


def recipe() -> dict[str, str]:
    """The settings of docs/operations.md, less those of a network that tests do not have."""
    text = (Path(__file__).parents[1] / "docs" / "operations.md").read_text(encoding="utf-8")
    file = ConfigParser()
    file.read_string(text.split("## PgBouncer")[1].split("```ini")[1].split("```")[0])
    return {name: value for name, value in file["pgbouncer"].items() if not name.startswith("listen_")}


def _configuration(place: Path, server_url: str, settings: dict[str, str]) -> str:
    parts = conninfo_to_dict(server_url)
    server = {name: parts[name] for name in ("host", "port", "user", "password") if parts.get(name)}
    lines = {
        "listen_addr": "",
        "listen_port": str(PORT),
        "unix_socket_dir": str(place),
        "auth_type": "any",
        "admin_users": "automata",
        "pool_mode": "transaction",
        "max_client_conn": "500",
        "default_pool_size": "3",  # fewer than clients: what one leaves in a session meets another at once
        **settings,
    }
    where = " ".join(f"{name}='{value}'" for name, value in server.items())
    return f"[databases]\n* = {where}\n\n[pgbouncer]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())


@contextmanager
def pooler(program: str, server_url: str, **settings: str) -> Iterator[Pooler]:
    """One that runs until the block ends."""
    place = Path(tempfile.mkdtemp(prefix="automata-pgbouncer-", dir="/tmp"))
    made = Pooler(program, place, server_url, settings)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(place, ignore_errors=True)
