"""The demo as it would be in production: RabbitMQ, a database, and each service in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from automata.cli.demo.child_process import Child
from automata.cli.interruption import held
from automata.errors import Unavailable
from automata.interpreter import python_command

# Two of what works, one of what leads or answers: enough to see that it is a fleet.
PARTS = ("api", "orchestrator", "scheduler", "worker", "worker")
READY_SEC = 60.0
SYNC_SEC = 60.0
Tell = Callable[[str, str], None]


@contextmanager
def fleet(
    place: Path, repository: Path, env: Mapping[str, str], amqp_url: str | None, tell: Tell
) -> Iterator[list[str]]:
    """Where each of PARTS is, once all are ready. Raises Unavailable."""
    from automata.cli.rabbitmq_node import RabbitNode
    from automata.store.embedded import start_embedded
    from automata.store.migrate import upgrade

    with ExitStack() as running:
        if not amqp_url:
            node = running.enter_context(RabbitNode(place / "rabbitmq"))
            amqp_url = node.url()
            tell("rabbitmq", f"a node of its own on port {node.ports.amqp}")
        else:
            tell("rabbitmq", "yours")
        # Each child holds the database as well, so that the last who leaves stops it, even when we are killed.
        data = place / "data"
        with held():
            url = running.enter_context(start_embedded(data)).url
        tell("database", "embedded PostgreSQL")
        tell("migrations", f"{len(upgrade(url))} applied")
        settings = {"AUTOMATA_DATA_DIR": str(data), "AUTOMATA_AMQP_URL": amqp_url, "AUTOMATA_ALLOW_LOOPBACK": "true"}
        wired = {**env, **settings}
        tell("sync", _synced(repository, wired))
        children = [running.enter_context(_child(part, n, place, wired)) for n, part in enumerate(PARTS)]
        addresses = [str(child.event(READY_SEC)["url"]) for child in children]
        for part, address in zip(PARTS, addresses, strict=True):
            wait_ready(part, address)
            tell(part, address)
        yield addresses


def _child(part: str, number: int, place: Path, env: Mapping[str, str]) -> Child:
    arguments = ["automata.cli.demo.server", part, "--port", "0", "-o", "json"]
    return Child(part, arguments, place / f"{part}-{number}.log", env)


def _synced(repository: Path, env: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - this program, no shell
        python_command("-m", "automata", "sync", "--repo", str(repository), "-o", "json"),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SYNC_SEC,
        check=False,
    )
    if done.returncode:
        raise Unavailable(f"the flows could not be synced:\n{done.stderr}", code="demo_failed")
    outcome = json.loads(done.stdout)
    return f"{outcome['status']}, {sum(outcome['counts'].values())} flows of commit {outcome['sha'][:12]}"


def wait_ready(part: str, address: str) -> None:
    """Return when the process at `address` is ready. Raises Unavailable."""
    until = time.monotonic() + READY_SEC
    while (answer := httpx.get(f"{address}/readyz", trust_env=False)).status_code != 200:
        if time.monotonic() > until:
            raise Unavailable(f"the {part} is not ready: {answer.text}", code="demo_failed")
        time.sleep(0.05)


def messages(addresses: list[str]) -> str:
    """What went through RabbitMQ, by the services' own counters. Raises Unavailable when nothing did."""
    sent = heard = 0
    for address in addresses:
        metrics = httpx.get(f"{address}/metrics", trust_env=False).text
        sent += _sum(metrics, r'automata_broker_rings_total{[^}]*result="sent"[^}]*}')
        heard += _sum(metrics, r"automata_broker_heard_total{[^}]*}")
    if not sent or not heard:
        raise Unavailable("nothing went through RabbitMQ; the polls did the work", code="demo_failed")
    return f"{sent} wake-ups were sent over RabbitMQ, {heard} heard"


def _sum(metrics: str, series: str) -> int:
    return int(sum(float(value) for value in re.findall(rf"^{series} (\S+)$", metrics, re.MULTILINE)))
