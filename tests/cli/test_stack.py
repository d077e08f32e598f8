"""`make up`, `nodes`, `down`: all for real; a container engine only as a script that notes how it was called."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from automata.cli.rabbitmq_node import speaks_amqp
from automata.project.starter import create_starter
from tests import warm
from tests.rabbitmq import find_server

ROOT = Path(__file__).parents[2]
Stack = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that PostgreSQL's user can reach when we are root."""
    with tempfile.TemporaryDirectory(prefix="stack-test-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def stack(place: Path) -> Iterator[Stack]:
    """Call it with the words of the command; what it left running is stopped."""
    find_server()
    tools = place / "tools"
    tools.mkdir()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    env = plain | {"PYTHONPATH": str(ROOT), "PATH": f"{tools}:{_without_docker()}"}

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return warm.run(["automata.cli.stack", *words], cwd=place, env=env | more, stdin=subprocess.DEVNULL)

    yield run
    run("down")


def _without_docker() -> str:
    return os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "docker").exists())


def state_of(place: Path) -> dict[str, str]:
    file = place / "build" / "stack" / "env"
    assert file.stat().st_mode & 0o077 == 0, "it holds passwords"
    return dict(shlex.split(line)[0].split("=", 1) for line in file.read_text().splitlines())


def port_of(url: str) -> int:
    return int(url.split("127.0.0.1:")[1].split("/")[0])


def test_private_nodes_come_up_answer_and_go(place: Path, stack: Stack) -> None:
    up = stack("nodes")
    assert up.returncode == 0, up.stderr
    state = state_of(place)
    assert f"export AUTOMATA_AMQP_URL={state['AUTOMATA_AMQP_URL']}" in up.stdout
    with psycopg.connect(state["AUTOMATA_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (n int)")
    amqp = port_of(state["AUTOMATA_AMQP_URL"])
    assert speaks_amqp(amqp)

    again = stack("nodes")
    assert (again.returncode, state_of(place)) == (0, state), "they run already"
    down = stack("down")
    assert (down.returncode, down.stdout) == (0, "All is stopped.\n")
    assert not (place / "build" / "stack" / "env").exists()
    assert not speaks_amqp(amqp)
    assert stack("down").stdout == "Nothing runs.\n"

    assert stack("nodes").returncode == 0
    with psycopg.connect(state_of(place)["AUTOMATA_DATABASE_URL"]) as conn:
        conn.execute("SELECT n FROM kept")
    refused = stack("up")
    assert (refused.returncode, "make down first" in refused.stderr) == (3, True), "only the nodes run"
    keeper = int(state_of(place)["STACK"])
    os.kill(keeper, signal.SIGKILL)
    assert stack("down").stdout == "Nothing runs.\n", "a file that a killed keeper left is no stack"
    assert stack("nodes").returncode == 0, "and its PostgreSQL is found again"


def test_everything_comes_up_on_private_nodes_and_serves_the_flows(place: Path, stack: Stack) -> None:
    create_starter(place / "flows")
    up = stack("up", AUTOMATA_PORT="0", AUTOMATA_REPO=str(place / "flows"))
    assert up.returncode == 0, up.stderr
    url = state_of(place)["AUTOMATA_API_URL"]
    assert f"Automata runs on them: {url}" in up.stdout
    until = time.monotonic() + 120
    while not (flows := httpx.get(f"{url}/api/v1/flows", trust_env=False).json()["items"]):
        assert time.monotonic() < until, "the controller synced nothing"
        time.sleep(0.1)
    assert "hello" in {flow["name"] for flow in flows}
    assert stack("down").stdout == "All is stopped.\n"
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.parametrize("words", [(), ("sideways",), ("up", "down"), ("keep",), ("keep", "down")])
def test_another_word_is_refused(stack: Stack, words: tuple[str, ...]) -> None:
    done = stack(*words)
    assert done.returncode == 3
    assert "up, nodes or down" in done.stderr


def test_with_an_engine_compose_does_it(place: Path, stack: Stack) -> None:
    engine = place / "tools" / "docker"
    engine.write_text(f'#!/bin/sh\necho "$@" >> {place}/calls\n')
    engine.chmod(0o755)
    assert stack("nodes").returncode == 0
    assert state_of(place)["AUTOMATA_DATABASE_URL"] == "postgresql://automata:automata@127.0.0.1:5432/automata"
    assert stack("down").returncode == 0
    assert stack("up").returncode == 0
    assert state_of(place)["AUTOMATA_API_URL"] == "http://127.0.0.1:8080"
    assert (place / "calls").read_text().splitlines() == [
        "info",
        "compose version",
        "compose --file deploy/docker-compose.yml up --detach --wait",
        "compose --file deploy/docker-compose.yml --profile all down",
        "info",
        "compose version",
        "compose --file deploy/docker-compose.yml --profile all up --detach --wait --build",
    ]


def test_an_engine_that_fails_leaves_nothing_said_to_run(place: Path, stack: Stack) -> None:
    engine = place / "tools" / "docker"
    engine.write_text('#!/bin/sh\ncase "$*" in *up*) echo "no space left" >&2; exit 1;; esac\n')
    engine.chmod(0o755)
    done = stack("up")
    assert done.returncode == 4
    assert "no space left" in done.stderr
    assert stack("down").stdout == "Nothing runs.\n"
