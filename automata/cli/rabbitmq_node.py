"""A private RabbitMQ node: folder, ports, Erlang cookie, port mapper (epmd) and password of its own, on loopback only.

It runs under a guard, one process group for all of it. The guard ends the node and removes its folder when the process
that it belongs to (the session) is gone, however that ended; so nothing outlives whoever asked for a node. It can be
killed and started again on the same data meanwhile.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from automata.errors import Unavailable
from automata.interpreter import python_command

START_SEC = 90.0  # a cold start takes 4 to 8 s on two cores; busy ones take longer
GONE_SEC = 10.0
USER = "automata"
MISSING = "Debian and Ubuntu: apt-get install rabbitmq-server; macOS: brew install rabbitmq."


def installed_server() -> Path | None:
    """The start script of a RabbitMQ on this machine."""
    # Debian's command on the PATH changes the user and the environment; the script behind it does not.
    behind = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if behind.exists():
        return behind
    places = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
    on_path = shutil.which("rabbitmq-server", path=places)
    return Path(on_path) if on_path else None


def find_server() -> Path:
    """Raises Unavailable when there is none."""
    if server := installed_server():
        return server
    raise Unavailable("there is no RabbitMQ on this machine", code="no_rabbitmq", hint=MISSING)


@dataclass(frozen=True)
class Ports:
    """Where a node listens: for clients, for other nodes, and its port mapper."""

    amqp: int
    dist: int
    epmd: int


class RabbitNode:
    """`start`, `kill`, `start` again: same address, same data. As a context manager it leaves nothing behind."""

    def __init__(self, home: Path, session: int | None = None, vhosts: int = 1) -> None:
        """`session` is the process with whose end the node ends: this one, unless another is named."""
        self.home = home
        self.vhosts = [f"v{n}" for n in range(vhosts)]
        self.session = session or os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        if (card := home / "node.json").exists():
            known = json.loads(card.read_text())
            self.ports, self.password = Ports(**known["ports"]), known["password"]
        else:
            self.ports, self.password = Ports(*_free_ports(3)), secrets.token_hex(16)
            self._write()

    def url(self, vhost: str = "v0") -> str:
        """The address of a virtual host, with the password."""
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.ports.amqp}/{vhost}"

    def start(self, wait: bool = True) -> None:
        """Raises Unavailable with the end of the log when the node does not come up."""
        server = find_server()
        with (self.home / "out.log").open("ab") as log:
            # -P: beside this file there is a `token.py`, which is not the standard library's.
            self._guard = subprocess.Popen(  # noqa: S603 - this module, no shell
                python_command(__file__, str(server), str(self.home), str(self.session)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        """Return when it answers clients. Raises Unavailable with the end of the log."""
        until = time.monotonic() + START_SEC
        while not speaks_amqp(self.ports.amqp):
            ended = self._guard is not None and self._guard.poll() is not None
            if ended or time.monotonic() > until:
                words = (self.home / "out.log").read_text(encoding="utf-8", errors="replace")[-3000:]
                raise Unavailable(f"RabbitMQ did not start. Its last words:\n{words}", code="no_rabbitmq")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""
        if self._guard is None:
            return
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait(10)
        self._guard = None
        until = time.monotonic() + GONE_SEC
        while listens(self.ports.amqp) or listens(self.ports.epmd):
            if time.monotonic() > until:
                raise Unavailable("the RabbitMQ node was killed and still listens")
            time.sleep(0.02)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)

    def _write(self) -> None:
        self.home.mkdir(mode=0o755, parents=True, exist_ok=True)
        (self.home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.ports.amqp}\n"
            f"load_definitions = {self.home}/definitions.json\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 20MB\n"
            "log.file.level = warning\n"
            "log.console.level = warning\n"
        )
        (self.home / "definitions.json").write_text(json.dumps(_definitions(self.password, self.vhosts)))
        (self.home / "enabled_plugins").write_text("[].")
        for folder in ("data", "log"):
            (self.home / folder).mkdir()
        card = self.home / "node.json.new"
        card.touch(mode=0o600)
        card.write_text(json.dumps({"ports": asdict(self.ports), "password": self.password}))
        card.rename(self.home / "node.json")


def _definitions(password: str, vhosts: Sequence[str]) -> dict[str, object]:
    salt = secrets.token_bytes(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    return {
        "users": [
            {
                "name": USER,
                "password_hash": digest,
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator",
            }
        ],
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "permissions": [{"user": USER, "vhost": vhost, **everything} for vhost in vhosts],
    }


def _free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listening.getsockname()[1] for listening in taken]
    for listening in taken:
        listening.close()
    return ports


def listens(port: int) -> bool:
    """Whether something listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def speaks_amqp(port: int) -> bool:
    """The server answers a client's greeting with the first frame: method, channel 0."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False


# -- the guard: what runs as a process of its own ------------------------------------------------------------------


def _guard(server: Path, home: Path, session: int) -> None:
    ports = Ports(**json.loads((home / "node.json").read_text())["ports"])
    began = _began(session)
    user = server_user()
    if user:
        for path in (home, *home.rglob("*")):
            os.chown(path, user["user"], user["group"])
    environment = environment_of(home, ports)
    epmd = shutil.which("epmd") or "/usr/bin/epmd"
    mapper = subprocess.Popen(  # noqa: S603 - the server's own programs, no shell
        [epmd, "-port", str(ports.epmd)], env=environment, cwd=home, **user
    )
    node = subprocess.Popen([server], env=environment, cwd=home, **user)  # noqa: S603
    while node.poll() is None and mapper.poll() is None and _began(session) == began:
        time.sleep(0.25)
    if _began(session) != began:
        shutil.rmtree(home, ignore_errors=True)
        Path(f"{home}.lock").unlink(missing_ok=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # our own group: the node, its mapper and this


def environment_of(home: Path, ports: Ports) -> dict[str, str]:
    """The environment of a node's processes: its own ports, and files below `home` only."""
    return {
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "ERL_EPMD_PORT": str(ports.epmd),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"automata-{ports.amqp}@localhost",
        "RABBITMQ_NODE_PORT": str(ports.amqp),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(ports.dist),
        "RABBITMQ_MNESIA_BASE": f"{home}/data",
        "RABBITMQ_LOG_BASE": f"{home}/log",
        "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": f"{home}/rabbitmq-env.conf",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/generated",
        "RABBITMQ_PID_FILE": f"{home}/server.pid",
        # One scheduler: a node for one machine has little to do; distribution on loopback only.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    }


def _began(process: int) -> float | None:
    """Tells a process from a later one with its number."""
    try:
        return float(psutil.Process(process).create_time())
    except psutil.NoSuchProcess:
        return None


def server_user() -> dict[str, Any]:
    """As root the node runs as the user that its package made, like in production."""
    if os.getuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("rabbitmq")
    except KeyError:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid}


if __name__ == "__main__":
    _guard(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
