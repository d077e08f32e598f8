"""A real RabbitMQ for tests: the one of AUTOMATA_TEST_AMQP_URL, else nodes of our own that nothing outlives.

Nodes are those of automata/cli/rabbitmq_node.py; their session is the test session. A machine without rabbitmq-server
gets it from its packages where that needs no question (root, apt); elsewhere the tests fail and say what is missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from automata.cli.rabbitmq_node import MISSING, RabbitNode, environment_of, installed_server, server_user

ROOT = Path(__file__).parents[1]
INSTALL_SEC = 420
# Each worker of pytest-xdist has a virtual host of its own, so that tests side by side do not hear each other.
VHOSTS = 8
_MISSING = f"""RabbitMQ is needed by these tests and none was found.
Set AUTOMATA_TEST_AMQP_URL (amqp://user:password@host:5672/vhost, a vhost that may be emptied), or install the server:
{MISSING}
"""


class NoRabbit(RuntimeError):
    """No server, and none could be had; the text says what to do."""


# -- the programs --------------------------------------------------------------------------------------------------


def find_server() -> Path:
    """The start script; installs it where that is ours to do. Raises NoRabbit."""
    with FileLock(Path(tempfile.gettempdir()) / f"automata-rabbitmq-{os.getuid()}.lock"):
        return installed_server() or _installed()


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
        if command is install and done.returncode == 0 and (server := installed_server()):
            return server
    raise NoRabbit(f"{_MISSING}apt-get could not install it:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


# -- a node --------------------------------------------------------------------------------------------------------


class Node(RabbitNode):
    """The product's node with a virtual host for each worker, on a server that is installed when it is missing."""

    def __init__(self, home: Path, session: int | None = None) -> None:
        super().__init__(home, session, VHOSTS)

    def start(self, wait: bool = True) -> None:
        find_server()
        super().start(wait)

    def control(self, *arguments: str) -> str:
        """rabbitmqctl on this node; takes a second or two."""
        command = [str(find_server().with_name("rabbitmqctl")), *arguments]
        environment = environment_of(self.home, self.ports)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False, **server_user()
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


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
