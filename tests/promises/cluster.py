"""Several nodes of what Automata stands on, on loopback: three of RabbitMQ, and PostgreSQL with a standby.

All of it belongs to the process that makes it, which ends it; nothing here is the product's.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from automata.cli.rabbitmq_node import Ports, RabbitNode, environment_of, server_user, speaks_amqp
from automata.store import migrate
from automata.store.embedded_permissions import find_host
from tests.promises.processes import until
from tests.rabbitmq import find_server

START_SEC = 120.0


def free_ports(number: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listening.getsockname()[1] for listening in taken]
    for listening in taken:
        listening.close()
    return ports


class RabbitCluster:
    """Nodes that found each other through one port mapper and one cookie; `url` names all of them."""

    def __init__(self, home: Path, size: int = 3) -> None:
        self.password = secrets.token_hex(16)
        self._epmd: subprocess.Popen[bytes] | None = None
        self._nodes: list[subprocess.Popen[bytes] | None] = [None] * size
        (epmd,) = free_ports(1)
        self.homes = [home / str(n) for n in range(size)]
        self.ports: list[Ports] = []
        for place in self.homes:
            single = RabbitNode(place)  # its files; we start it ourselves, since a node alone has a mapper of its own
            self.ports.append(Ports(single.ports.amqp, single.ports.dist, epmd))
            self.password = single.password
        self._join()

    @property
    def url(self) -> str:
        return ",".join(f"amqp://automata:{self.password}@127.0.0.1:{one.amqp}/v0" for one in self.ports)

    def _join(self) -> None:
        user = server_user()
        definitions = (self.homes[-1] / "definitions.json").read_text()
        names = [f"automata-{one.amqp}@localhost" for one in self.ports]
        peers = "".join(f"cluster_formation.classic_config.nodes.{n} = {name}\n" for n, name in enumerate(names, 1))
        cookie = secrets.token_hex(20)
        for place in self.homes:
            (place / "definitions.json").write_text(definitions)
            with (place / "rabbitmq.conf").open("a") as settings:
                settings.write(f"cluster_formation.peer_discovery_backend = classic_config\n{peers}")
                settings.write("cluster_partition_handling = pause_minority\n")
            (place / ".erlang.cookie").write_text(cookie)
            (place / ".erlang.cookie").chmod(0o400)
            for path in (place, *place.rglob("*")) if user else ():
                os.chown(path, user["user"], user["group"])

    def start(self, number: int) -> None:
        self._nodes[number] = self._run([str(find_server())], number)

    def _run(self, command: list[str], number: int) -> subprocess.Popen[bytes]:
        home = self.homes[number]
        with (home / "out.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment_of(home, self.ports[number]),
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **server_user(),
            )

    def kill(self, number: int) -> None:
        node, self._nodes[number] = self._nodes[number], None
        assert node is not None
        os.killpg(node.pid, signal.SIGKILL)
        node.wait(10)

    def leader_of(self, queue: str) -> int:
        """The number of the node that leads a queue, asked of a node that lives."""
        asked = next(number for number, node in enumerate(self._nodes) if node)
        done = subprocess.run(
            [str(find_server().with_name("rabbitmqctl")), "-q", "list_queues", "-p", "v0", "name", "leader"],
            env=environment_of(self.homes[asked], self.ports[asked]),
            cwd=self.homes[asked],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            **server_user(),
        )
        leaders = dict(line.split("\t")[:2] for line in done.stdout.splitlines() if "\t" in line)
        return [f"automata-{one.amqp}@localhost" for one in self.ports].index(leaders[queue])

    def __enter__(self) -> Self:
        epmd = shutil.which("epmd") or "/usr/bin/epmd"
        self._epmd = self._run([epmd, "-port", str(self.ports[0].epmd)], 0)
        for number in range(len(self.homes)):
            self.start(number)
        until(lambda: all(speaks_amqp(one.amqp) for one in self.ports), "the cluster speaks AMQP", START_SEC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self._nodes, self._epmd):
            if process and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)


class PostgresPair:
    """A primary whose COMMIT waits for a standby, and the standby; `url` names both and takes whichever writes.

    After `fail_over` the standby is the primary, and the dead one comes back as a standby of it.
    """

    def __init__(self, home: Path) -> None:
        self.host = find_host()
        self.folders = [home / "a", home / "b"]
        self.ports = free_ports(2)
        self.primary = 0
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o755)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"postgresql://automata@{hosts}/automata?target_session_attrs=read-write"

    def _direct(self, number: int, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            f"postgresql://automata@127.0.0.1:{self.ports[number]}/{database}", autocommit=True, connect_timeout=5
        )

    def _start(self, number: int) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.ports[number]),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "jit": "off",
            "hot_standby": "on",
            "wal_keep_size": "512MB",
            "cluster_name": f"node{number}",
        }
        words = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in settings.items())
        log = str(self.folders[number] / "start.log")
        arguments = [
            "start",
            "-D",
            str(self.folders[number]),
            "-w",
            "-s",
            "-t",
            str(int(START_SEC)),
            "-l",
            log,
            "-o",
            words,
        ]
        self.host.run("pg_ctl", arguments, wait_sec=START_SEC + 5)

    def _make_standby(self, number: int) -> None:
        """A fresh copy of the primary, which from then on confirms nothing that this one has not on its disk."""
        folder = self.folders[number]
        shutil.rmtree(folder, ignore_errors=True)
        source = f"host=127.0.0.1 port={self.ports[self.primary]} user=automata application_name=node{number}"
        arguments = ["-D", str(folder), "-d", source, "-R", "-X", "stream", "-c", "fast"]
        self.host.run("pg_basebackup", arguments, wait_sec=START_SEC)
        self._start(number)
        self._wait_for(number)

    def _wait_for(self, number: int) -> None:
        with self._direct(self.primary) as conn:
            conn.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'node{number}'")
            conn.execute("SELECT pg_reload_conf()")
            query = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            until(lambda: conn.execute(query).fetchone() == (1,), "the standby is synchronous", START_SEC)

    def __enter__(self) -> Self:
        first = self.folders[0]
        first.mkdir(mode=0o700)
        self.host.own(first.parent)
        self.host.own(first)
        arguments = ["-D", str(first), "-U", "automata", "--auth=trust", "--no-instructions", "--encoding=UTF8"]
        self.host.run("initdb", [*arguments, "--locale=C", "--data-checksums"], wait_sec=START_SEC)
        with (first / "pg_hba.conf").open("a") as access:
            access.write("host replication automata 127.0.0.1/32 trust\n")
        self._start(0)
        with self._direct(0) as conn:
            conn.execute("CREATE DATABASE automata")
        migrate.upgrade(self.url)
        self._make_standby(1)
        return self

    def kill_primary(self) -> None:
        pid = int((self.folders[self.primary] / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)

    def promote(self) -> None:
        """The standby takes over, and answers alone until it has one of its own."""
        self.primary = 1 - self.primary
        folder = self.folders[self.primary]
        # Written by the other one into what we copied from it, or here: nobody is there to wait for.
        (folder / "postgresql.auto.conf").write_text("")
        self.host.own(folder / "postgresql.auto.conf")
        self.host.run("pg_ctl", ["promote", "-D", str(folder), "-w", "-t", str(int(START_SEC))], wait_sec=START_SEC + 5)

    def fail_over(self) -> float:
        """Seconds from the kill to the first session that may write."""
        began = time.monotonic()
        self.kill_primary()
        self.promote()
        with psycopg.connect(self.url, connect_timeout=5) as conn:
            conn.execute("SELECT pg_current_xact_id()")
        return time.monotonic() - began

    def rebuild(self) -> None:
        """Whoever was killed comes back as the standby."""
        self._make_standby(1 - self.primary)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for folder in self.folders:
            pid = folder / "postmaster.pid"
            if pid.exists():
                self.host.run("pg_ctl", ["stop", "-D", str(folder), "-m", "immediate", "-w", "-s"], wait_sec=START_SEC)
