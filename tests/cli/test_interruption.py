"""Ctrl-C or SIGTERM at the worst moment: what was just started is ended by somebody."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from automata.cli.database import database
from automata.cli.demo import child_process
from automata.cli.interruption import held, term_as_interrupt
from automata.settings import Settings
from automata.store import embedded_permissions
from tests.store.conftest import room

__all__ = ["room"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_held_signal_comes_at_the_end_of_the_block(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), term_as_interrupt(), held():  # noqa: PT012 - what comes before the end counts
        os.kill(os.getpid(), number)
        reached = True
    assert reached


def test_handlers_are_those_of_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with term_as_interrupt(), held():
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.fixture
def interrupted_popen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Ctrl-C comes when a process has started and before the caller has it; the list holds that process."""
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(real(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(child_process.subprocess, "Popen", popen)
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_a_child_of_the_demo_that_is_interrupted_in_its_start_is_ended(
    interrupted_popen: list[subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    child = child_process.Child(
        "shop", ["automata.cli.demo.shop", "--end-with-stdin"], tmp_path / "log", dict(os.environ)
    )
    with pytest.raises(KeyboardInterrupt), child:
        raise AssertionError("the block of an interrupted start is not entered")
    # It ends itself when its stdin ends: with 0, or by SIGTERM where that came before it could serve.
    assert [process.returncode in (0, -signal.SIGTERM) for process in interrupted_popen] == [True]


def test_children_that_nobody_left_are_ended_before_their_folder_goes(tmp_path: Path) -> None:
    child = child_process.Child(
        "shop", ["automata.cli.demo.shop", "--end-with-stdin"], tmp_path / "log", dict(os.environ)
    )
    child.__enter__()  # as when an interruption comes between this and the `with` that would leave it
    process = child._process
    assert process is not None
    assert process.poll() is None
    child_process.end_all()
    assert process.returncode is not None


@pytest.mark.parametrize("program", ["initdb", "pg_ctl"])
def test_a_sigterm_while_the_embedded_server_starts_leaves_no_server(
    program: str, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = embedded_permissions.Host.run

    def run(host: embedded_permissions.Host, name: str, arguments: Any, **options: Any) -> None:
        if name == program and "stop" not in arguments:
            os.kill(os.getpid(), signal.SIGTERM)
        real(host, name, arguments, **options)

    monkeypatch.setattr(embedded_permissions.Host, "run", run)
    with pytest.raises(KeyboardInterrupt), database(Settings(data_dir=str(room))):
        raise AssertionError("the block of an interrupted start is not entered")
    assert [p for p in psutil.process_iter(["cmdline"]) if str(room) in " ".join(p.info["cmdline"] or ())] == []
