"""The socket of a process."""

from __future__ import annotations

import socket

import pytest

from automata.errors import Usage
from automata.services.http_server import address, bind


def test_whoever_is_told_the_address_may_connect_before_the_server_runs() -> None:
    with bind("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname(), 2):
        assert address("127.0.0.1", listening).startswith("http://127.0.0.1:")


def test_a_taken_port_is_a_usage_error_that_says_what_to_do() -> None:
    with bind("127.0.0.1", 0) as listening, pytest.raises(Usage) as caught:
        bind("127.0.0.1", listening.getsockname()[1])
    assert caught.value.code == "address_in_use"
    assert "--port" in (caught.value.hint or "")
