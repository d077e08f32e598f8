"""The tests' own RabbitMQ: nothing of it outlives the session that started it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from automata.cli import rabbitmq_node
from automata.errors import Unavailable
from tests import rabbitmq
from tests.rabbitmq import Node, NoRabbit

SESSION = """
import sys, time
from pathlib import Path
from tests.rabbitmq import Node
node = Node(Path(sys.argv[1]))
node.start(wait=False)
print(node.ports.epmd, flush=True)
time.sleep(60)
"""


def test_a_node_ends_with_its_session_even_when_that_is_killed(tmp_path: Path) -> None:
    home = tmp_path / "node"
    with subprocess.Popen([sys.executable, "-c", SESSION, str(home)], stdout=subprocess.PIPE, text=True) as session:
        assert session.stdout
        port = int(session.stdout.readline())
        _until(lambda: rabbitmq_node.listens(port))
        session.kill()
    _until(lambda: not rabbitmq_node.listens(port) and not home.exists())


def test_a_node_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_node, "find_server", lambda: Path("/bin/false"))
    node = Node(tmp_path / "node")
    (node.home / "out.log").write_text("no Erlang here\n")
    with pytest.raises(Unavailable, match=r"did not start. Its last words:\nno Erlang here"), node:
        pass


def test_a_machine_without_a_server_and_without_root_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq, "installed_server", lambda: None)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    with pytest.raises(NoRabbit, match="apt-get install rabbitmq-server"):
        rabbitmq.find_server()


def test_the_product_says_what_to_install_where_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_node, "installed_server", lambda: None)
    with pytest.raises(Unavailable) as error:
        rabbitmq_node.find_server()
    assert "apt-get install rabbitmq-server" in str(error.value.hint)


def _until(condition: object) -> None:
    deadline = time.monotonic() + 120
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
