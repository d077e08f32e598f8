"""What services say, as whoever starts one or collects its lines sees it: little, in one format, and nothing undone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests import warm
from tests.repositories import GitRepo, flow_text


@pytest.fixture
def repo(tmp_path: Path) -> GitRepo:
    return GitRepo(tmp_path / "repo")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def environment(url: str, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    return {**kept, "AUTOMATA_DATABASE_URL": url, **{f"AUTOMATA_{name}": value for name, value in settings.items()}}


@contextmanager
def running(*words: str, env: dict[str, str], until: str = "ready") -> Iterator[list[str]]:
    """All that a service says on both streams: filled until it says `until`, and once more when it has ended."""
    lines: list[str] = []
    with warm.Process(["automata", *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) and until not in line:
            lines.append(line.rstrip("\n"))
        lines.append(line.rstrip("\n"))
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGTERM)
            lines += process.communicate(timeout=240)[0].splitlines()
    assert process.returncode == 0, lines


def tables(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert row is not None
    return row[0]


# --- the port ------------------------------------------------------------------------------------------------------


def test_up_touches_no_database_when_its_port_is_taken(
    make_empty_database: Callable[[], str], repo: GitRepo, taken: int, tmp_path: Path
) -> None:
    """Else a second one in the wrong folder would deploy that folder's flows before it says that it cannot start."""
    repo.commit({"flows/a.yaml": flow_text("a")})
    url = make_empty_database()
    words = ["up", "--repo", str(repo.path), "--port", str(taken)]
    done = warm.run(["automata", *words], env=environment(url))
    assert (done.returncode, done.stdout) == (3, "")
    assert f"cannot listen on 127.0.0.1:{taken}" in done.stderr
    assert tables(url) == 0
    # The embedded database is not even made.
    embedded = environment(url, DATA_DIR=str(tmp_path / "data"))
    del embedded["AUTOMATA_DATABASE_URL"]
    assert warm.run(["automata", *words], env=embedded).returncode == 3
    assert not (tmp_path / "data").exists()


# --- how much ------------------------------------------------------------------------------------------------------


def test_a_first_start_says_five_lines(make_empty_database: Callable[[], str], repo: GitRepo) -> None:
    repo.commit({"flows/a.yaml": flow_text("a")})
    env = environment(make_empty_database())
    with running("up", "--repo", str(repo.path), "--watch", "--port", "0", env=env, until="watching") as lines:
        assert [line.split()[0] for line in lines] == ["database", "migrations", "sync", "ready", "watching"], lines
    assert [line.split()[0] for line in lines[5:]] == ["stopped"], lines


# --- one format ----------------------------------------------------------------------------------------------------


def entries(lines: list[str]) -> list[dict[str, Any]]:
    """The lines as what a collector of JSON makes of them; each has the keys of a line of a log."""
    read = [json.loads(line) for line in lines]
    assert all(entry.keys() >= {"time", "level", "logger", "message"} for entry in read), read
    assert not any("color_message" in entry for entry in read), read
    return read


@pytest.mark.parametrize("level", ["info", "debug"])
def test_all_that_a_service_says_is_json_from_its_first_line(
    make_empty_database: Callable[[], str], repo: GitRepo, level: str
) -> None:
    repo.commit({"flows/a.yaml": flow_text("a")})
    env = environment(make_empty_database(), LOG_FORMAT="json", AUTH="on", LOG_LEVEL=level, HOEM="x")
    with running("up", "--repo", str(repo.path), "--port", "0", env=env) as lines:
        pass
    read = entries(lines)
    events = [entry["event"] for entry in read if "event" in entry]
    assert events == ["database", "migrations", "sync", "ready", "admin token", "stopped"]
    assert any("AUTOMATA_HOEM" in entry["message"] for entry in read)


@pytest.mark.parametrize("words", [["up"], ["api"], ["worker"], ["scheduler"]])
def test_an_error_of_a_start_is_json_as_well(database_url: str, taken: int, words: list[str]) -> None:
    done = warm.run(["automata", *words, "--port", str(taken)], env=environment(database_url, LOG_FORMAT="json"))
    (entry,) = entries([*done.stdout.splitlines(), *done.stderr.splitlines()])
    assert (done.returncode, entry["level"], entry["code"]) == (3, "error", "address_in_use")


def test_a_migration_beside_services_is_json_too(make_empty_database: Callable[[], str]) -> None:
    env = environment(make_empty_database(), LOG_FORMAT="json")
    for words, applied in (([], True), ([], False), (["--dry-run"], False)):
        done = warm.run(["automata", "migrate", *words], env=env)
        (entry,) = entries([*done.stdout.splitlines(), *done.stderr.splitlines()])
        assert (done.returncode, entry["event"], bool(entry["applied"])) == (0, "migrations", applied)
    lost = warm.run(["automata", "migrate"], env=env | {"AUTOMATA_DATABASE_URL": "postgresql://127.0.0.1:1/x"})
    (entry,) = entries([*lost.stdout.splitlines(), *lost.stderr.splitlines()])
    assert (lost.returncode, entry["level"]) == (4, "error")


@pytest.mark.parametrize("words", [["up"], ["api"], ["migrate"]])
def test_a_setting_that_is_wrong_is_told_as_json(database_url: str, words: list[str]) -> None:
    env = environment(database_url, LOG_FORMAT="json", PORT="many")
    done = warm.run(["automata", *words], env=env)
    (entry,) = entries([*done.stdout.splitlines(), *done.stderr.splitlines()])
    assert done.returncode == 3
    assert "AUTOMATA_PORT" in entry["message"] + str(entry.get("diagnostics", ""))


@pytest.mark.parametrize(
    "words", [["up", "--nonsense"], ["worker", "--port", "many"], ["migrate", "-o", "yaml"], ["up", "--watch"]]
)
def test_a_wrong_flag_of_a_service_is_told_as_json(database_url: str, words: list[str]) -> None:
    done = warm.run(["automata", *words], env=environment(database_url, LOG_FORMAT="json"))
    (entry,) = entries([*done.stdout.splitlines(), *done.stderr.splitlines()])
    assert (done.returncode, entry["level"]) == (3, "error")


def test_a_command_for_people_speaks_to_them_wherever_it_is_called(database_url: str) -> None:
    done = warm.run(["automata", "run", "list", "--nonsense"], env=environment(database_url, LOG_FORMAT="json"))
    assert done.stderr.startswith("error: ")


# --- the first token -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["up"], ["api"]])
def test_the_first_token_is_on_stderr_below_its_label(make_empty_database: Callable[[], str], words: list[str]) -> None:
    url = make_empty_database()
    assert warm.run(["automata", "migrate"], env=environment(url)).returncode == 0
    with warm.Process(
        ["automata", *words, "--port", "0"],
        env=environment(url, AUTH="on"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        label, token = process.stderr.readline().rstrip("\n"), process.stderr.readline().rstrip("\n")
        process.send_signal(signal.SIGTERM)
        told, logged = process.communicate(timeout=240)
    assert label == "Admin token, shown only once (`automata token rotate admin` makes another):"
    assert token.startswith("atm_")
    assert " " not in token
    assert token not in told + logged
