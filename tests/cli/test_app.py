"""How the program starts and how it ends: quickly, and with an exit code that means something."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from automata import __version__, build
from automata.cli.app import app
from automata.cli.exits import guarded
from automata.errors import Conflict, Invalid, Missing, Refused, Unavailable, Usage
from tests import warm

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "automata"]
HEAVY = (
    "rich",
    "httpx",
    "pydantic_settings",
    "jsonschema",
    "jinja2",
    "pygit2",
    "psycopg",
    "sqlalchemy",
    "fastapi",
    "aiohttp",
    "uvicorn",
)


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if children := getattr(command, "commands", None):
        if getattr(command, "invoke_without_command", False) and path:
            yield " ".join(path), command
        for name, child in children.items():
            yield from leaves(child, (*path, name))
    else:
        yield " ".join(path), command


COMMANDS = dict(leaves(get_command(app)))


def automata(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return warm.run(["automata", *words], **options)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_every_promised_command_is_there() -> None:
    promised = {
        *("up", "demo", "init", "validate", "schema", "sync", "migrate", "version"),
        *("flow list", "flow show", "flow versions", "schedule list", "schedule show"),
        *("run start", "run list", "run show", "run watch", "run tasks", "run cancel"),
    }
    assert promised <= COMMANDS.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_gives_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert re.match(rf"Example: automata {name}( |$)", command.epilog or "")


@pytest.mark.parametrize("words", [["--help"], ["version"], ["run", "start", "--help"]])
def test_nothing_heavy_is_imported_before_it_is_needed(words: list[str]) -> None:
    heavy = [name for name in HEAVY if name != "rich" or words == ["version"]]
    script = (
        "import sys, contextlib, io\n"
        "from automata.cli.app import app\n"
        f"with contextlib.redirect_stdout(io.StringIO()): app({words!r}, standalone_mode=False)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_that_of_the_package() -> None:
    assert subprocess.check_output([*PROGRAM, "version"], text=True) == f"automata {build()}\n"
    assert json.loads(automata("version", "-o", "json").stdout) == {"version": __version__, "build": build()}
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["run", "start"], "'flow'"),
        (["run", "list", "--limit", "0"], "--limit"),
        (["run", "list", "-o", "yaml"], "'--output' / '-o': 'yaml' is not"),
        (["up", "--watch"], "--repo"),
        (["run", "list", "--api-url", "ftp://x"], "ftp://x"),
    ],
)
def test_a_misuse_exits_3_and_names_what_is_wrong(words: list[str], says: str) -> None:
    done = automata(*words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert says in done.stderr


def test_without_a_command_the_help_is_shown() -> None:
    done = automata("run")
    assert done.returncode == 3
    assert "automata run" in done.stdout
    assert done.stderr == ""


def test_an_api_that_is_not_there_exits_4_and_says_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    done = automata("run", "list", "--api-url", url)
    assert done.returncode == 4
    assert url in done.stderr
    assert "[api_unreachable]" in done.stderr
    assert "automata up" in done.stderr


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine() -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    proxy = {"http_proxy": "http://proxy.invalid:3128", "PATH": "/usr/bin:/bin"}
    done = automata("run", "list", "--api-url", url, env=proxy, cwd=ROOT)
    assert "refused" in done.stderr.lower()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid("x"), 1),
        (Usage("x"), 3),
        (Missing("x"), 3),
        (Unavailable("x"), 4),
        (Refused("x"), 5),
        (Conflict("x"), 6),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise error

    assert guarded(fail) == code
    assert capsys.readouterr().err.startswith("error: x [")


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupted_command_exits_130_without_a_word(
    ending: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ending

    assert guarded(fail) == 130
    assert capsys.readouterr().err == ""


def test_an_exit_code_of_a_command_is_kept() -> None:
    assert guarded(lambda: 7) == 7
    assert guarded(lambda: None) == 0


CRASHES = [
    (ValueError("s3cret"), "internal", "ValueError"),
    (KeyError("s3cret"), "internal", "KeyError"),
    (RecursionError("s3cret"), "internal", "RecursionError"),
    (OSError(28, "No space left on device", "/data/x"), "system", "/data/x: No space left on device"),
    (PermissionError(13, "Permission denied", "/data/y"), "system", "/data/y: Permission denied"),
    (UnicodeDecodeError("utf-8", b"s3cret", 0, 1, "x"), "internal", "UnicodeDecodeError"),
]


@pytest.mark.parametrize(("error", "code", "words"), CRASHES, ids=lambda value: type(value).__name__)
def test_no_traceback_reaches_a_user(
    error: Exception, code: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def fail() -> int:
        raise error

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert guarded(fail) == 4
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err, "s3cret" in err) == ("", False, False)
    assert f"[{code}]" in err
    assert words in " ".join(err.split())
    (written,) = tmp_path.iterdir()
    assert written.read_text().startswith("Traceback")


def test_ctrl_c_ends_a_command_with_130() -> None:
    # Nobody ever answers there, so the command waits until it is interrupted.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen([*PROGRAM, "run", "list", "--api-url", url], stderr=subprocess.PIPE, text=True)
        with silent.accept()[0] as connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 130


@pytest.mark.parametrize("words", [["schema"], ["version"], ["version", "-o", "json"]])
def test_a_reader_that_leaves_early_is_no_error(words: list[str]) -> None:
    with subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141
