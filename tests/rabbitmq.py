"""A real RabbitMQ for tests: the one of AUTOMATA_TEST_AMQP_URL, else nodes of our own that nothing outlives.

A node has a folder, ports, an Erlang cookie and a port mapper (epmd) of its own, listens on loopback only, and can be
killed and started again on the same data. It runs under a guard, one process group for all of it, that ends the node
and removes its folder when the test session is gone, however that ended. A machine without rabbitmq-server gets it
from its packages where that needs no question (root, apt); elsewhere the tests fail and say what is missing.
"""

from __future__ import annotations

import asyncio
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
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

ROOT = Path(__file__).parents[1]
START_SEC = 90.0  # a cold start takes 4 to 8 s on two cores; busy ones take longer
INSTALL_SEC = 420
# Each worker of pytest-xdist has a virtual host of its own, so that tests side by side do not hear each other.
VHOSTS = 8
USER = "automata"
_MISSING = """RabbitMQ is needed by these tests and none was found.
Set AUTOMATA_TEST_AMQP_URL (amqp://user:password@host:5672/vhost, a vhost that may be emptied), or install the server:
Debian and Ubuntu: apt-get install rabbitmq-server; macOS: brew install rabbitmq.
"""


class NoRabbit(RuntimeError):
    """No server, and none could be had; the text says what to do."""


# -- the programs --------------------------------------------------------------------------------------------------


def find_server() -> Path:
    """The start script; installs it where that is ours to do. Raises NoRabbit."""
    with FileLock(Path(tempfile.gettempdir()) / f"automata-rabbitmq-{os.getuid()}.lock"):
        return _found() or _installed()


def _found() -> Path | None:
    # Debian's command on the PATH changes the user and the environment; the script behind it does not.
    behind = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if behind.exists():
        return behind
    on_path = shutil.which("rabbitmq-server", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return Path(on_path) if on_path else None


def _installed() -> Path:
    if os.getuid() != 0 or not shutil.which("apt-get"):
        raise NoRabbit(_MISSING)
    install = [
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=120",
        "install",
        "-y",
        "--no-install-recommends",
        "rabbitmq-server",
    ]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):  # lists may be missing or old: the first try shows it
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_SEC
        )
        if command is install and done.returncode == 0 and (server := _found()):
            return server
    raise NoRabbit(f"{_MISSING}apt-get could not install it:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


# -- a node --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ports:
    amqp: int
    dist: int
    epmd: int


class Node:
    """`start`, `kill -9`, `start` again: same address, same data. Use it as a context manager."""

    def __init__(self, home: Path, session: int | None = None) -> None:
        """`session` is the process with whose end the node ends: this one, unless another is named."""
        self.home = home
        self.session = session or os.getpid()
        self._guard: subprocess.Popen[bytes] | None = None
        if (card := home / "node.json").exists():
            known = json.loads(card.read_text())
            self.ports, self.password = Ports(**known["ports"]), known["password"]
        else:
            self.ports, self.password = Ports(*_free_ports(3)), secrets.token_hex(16)
            self._write()

    def url(self, vhost: str = "v0") -> str:
        return f"amqp://{USER}:{self.password}@127.0.0.1:{self.ports.amqp}/{vhost}"

    def start(self, wait: bool = True) -> None:
        """Raises AssertionError with the end of the log when the node does not come up."""
        server = find_server()
        with (self.home / "out.log").open("ab") as log:
            self._guard = subprocess.Popen(
                [sys.executable, __file__, str(server), str(self.home), str(self.session)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        until = time.monotonic() + START_SEC
        while not _speaks_amqp(self.ports.amqp):
            ended = self._guard is not None and self._guard.poll() is not None
            if ended or time.monotonic() > until:
                raise AssertionError(f"RabbitMQ did not start:\n{(self.home / 'out.log').read_text()[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """SIGKILL to all of it; returns when it is gone."""
        assert self._guard
        os.killpg(self._guard.pid, signal.SIGKILL)
        self._guard.wait(10)
        self._guard = None
        until = time.monotonic() + 10
        while _listens(self.ports.amqp) or _listens(self.ports.epmd):
            assert time.monotonic() < until, "the node still listens"
            time.sleep(0.02)

    def control(self, *arguments: str) -> str:
        """rabbitmqctl on this node; takes a second or two."""
        command = [str(find_server().with_name("rabbitmqctl")), *arguments]
        environment = _environment(self.home, self.ports)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False, **_server_user()
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self._guard:
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
        (self.home / "definitions.json").write_text(json.dumps(_definitions(self.password)))
        (self.home / "enabled_plugins").write_text("[].")
        for folder in ("data", "log"):
            (self.home / folder).mkdir()
        card = self.home / "node.json.new"
        card.write_text(json.dumps({"ports": asdict(self.ports), "password": self.password}))
        card.rename(self.home / "node.json")


def _definitions(password: str) -> dict[str, object]:
    salt = secrets.token_bytes(4)
    digest = base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
    vhosts = [f"v{n}" for n in range(VHOSTS)]
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


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _speaks_amqp(port: int) -> bool:
    """The server answers a client's greeting with the first frame: method, channel 0."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as probe:
            probe.sendall(b"AMQP\x00\x00\x09\x01")
            return probe.recv(3) == b"\x01\x00\x00"
    except OSError:
        return False


# -- the guard: what runs as a process of its own --------------------------------------------------------------------


def _guard(server: Path, home: Path, session: int) -> None:
    ports = Ports(**json.loads((home / "node.json").read_text())["ports"])
    began = _began(session)
    user = _server_user()
    if user:
        for path in (home, *home.rglob("*")):
            os.chown(path, user["user"], user["group"])
    environment = _environment(home, ports)
    epmd = shutil.which("epmd") or "/usr/bin/epmd"
    mapper = subprocess.Popen([epmd, "-port", str(ports.epmd)], env=environment, cwd=home, **user)
    node = subprocess.Popen([server], env=environment, cwd=home, **user)
    while node.poll() is None and mapper.poll() is None and _began(session) == began:
        time.sleep(0.25)
    if _began(session) != began:
        shutil.rmtree(home, ignore_errors=True)
        Path(f"{home}.lock").unlink(missing_ok=True)
    os.killpg(os.getpgrp(), signal.SIGKILL)  # our own group: the node, its mapper and this


def _environment(home: Path, ports: Ports) -> dict[str, str]:
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
        # One scheduler, for tests share two cores; distribution on loopback only.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
    }


def _began(process: int) -> float | None:
    """Tells a process from a later one with its number."""
    try:
        return psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return None


def _server_user() -> dict[str, int]:
    """As root the node runs as the user that its package made, like in production."""
    if os.getuid() != 0:
        return {}
    try:
        user = pwd.getpwnam("rabbitmq")
    except KeyError:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid}


# -- for fixtures ----------------------------------------------------------------------------------------------------


def shared_node(wait: bool = True) -> Node:
    """The node of this test session, shared by its workers; the first who asks starts it."""
    workers_session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    session = os.getppid() if workers_session else os.getpid()
    home = Path(tempfile.gettempdir()) / f"automata-rabbitmq-{workers_session or session}"
    with FileLock(f"{home}.lock"):
        known = (home / "node.json").exists()
        node = Node(home, session)
        if not known:
            node.start(wait=False)
            _started.append(node)
    if wait:
        node.wait_ready()
    return node


_started: list[Node] = []  # their guards outlive this module's names on purpose


def worker_url() -> str:
    """The address that is this worker's alone."""
    if given := os.environ.get("AUTOMATA_TEST_AMQP_URL"):
        return given
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return shared_node().url(f"v{int(worker) % VHOSTS}")


@contextmanager
def own_node() -> Iterator[Node]:
    """A node for one test to kill; it is running."""
    with Node(Path(tempfile.mkdtemp(prefix="automata-rabbitmq-"))) as node:
        yield node


@contextmanager
def emptied(url: str) -> Iterator[str]:
    """The address with nothing of ours on it; alone on it until the block ends."""
    place = hashlib.sha256(url.encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"automata-amqp-{place}.lock"):
        asyncio.run(_empty(url))
        yield url


async def _empty(url: str) -> None:
    import aio_pika

    from automata.broker import topology

    lanes = [f"{topology.TASKS_READY}.{lane}" for lane in TEST_LANES]
    connection = await aio_pika.connect(url, timeout=10)
    async with connection, connection.channel() as channel:
        for queue in (*topology.STANDING, *lanes, topology.DEAD_LETTERS):
            await channel.queue_delete(queue)
        for exchange in (topology.RUNS, topology.TASKS, topology.DLQ):
            await channel.exchange_delete(exchange)


TEST_LANES = ("gpu", "gpu.v2")  # lanes leave queues behind; these are removed between tests

if __name__ == "__main__":
    _guard(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
