"""No command runs what lies in the folder where it was started, and nothing that it starts does."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from automata.cli.demo.child_process import Child
from automata.interpreter import SAFE_PATH, python_command
from automata.proposals.check_process import run_check
from tests.cli.test_check import CASES, SAME
from tests.cli.test_replay import FLOW, recording
from tests.promises.processes import environment, until

ROOT = Path(__file__).parents[1]
# Ours, a library's, one that Python looks for by itself, and some of the standard library that its own helpers import.
PLANTED = ("automata", "yaml", "sitecustomize", "usercustomize", "multiprocessing", "json", "signal", "pygit2")
FILES = {
    "flows/orders.yaml": FLOW,
    "tests/orders.test.yaml": CASES,
    "tests/recordings/orders-0.json": recording(0),
}


@dataclass(frozen=True)
class Planted:
    """A repository of flows with modules in it that write down that they were run."""

    folder: Path
    marks: Path

    @property
    def ran(self) -> list[str]:
        return self.marks.read_text().split() if self.marks.exists() else []

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        done = subprocess.run(["git", *identity, *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    place = Planted(tmp_path / "work", tmp_path / "ran")
    for name in PLANTED:
        text = f"with open({str(place.marks)!r}, 'a') as file: file.write('{name} ')\nraise SystemExit(99)\n"
        (place.folder / name).mkdir(parents=True)
        (place.folder / name / "__init__.py").write_text(text)
        (place.folder / name / "__main__.py").write_text(text)
        (place.folder / f"{name}.py").write_text(text)
    for path, text in FILES.items():
        (place.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (place.folder / path).write_text(text)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "flows"]):
        place.git(*words)
    place.git("checkout", "-q", "-b", "change")
    (place.folder / "flows/orders.yaml").write_text(SAME)
    place.git("commit", "-q", "-a", "-m", "change")
    return place


@contextlib.contextmanager
def running(planted: Planted, database_url: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The installed program, started in the planted folder; `said` and `told` have its stdout and stderr."""
    command = [Path(sys.executable).with_name("automata"), *words]
    with said(planted).open("w") as out, told(planted).open("w") as errors:
        process = subprocess.Popen(
            command, cwd=planted.folder, env=environment(database_url), stdout=out, stderr=errors, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(120)


def said(planted: Planted) -> Path:
    return planted.marks.with_name("out")


def told(planted: Planted) -> Path:
    return planted.marks.with_name("log")


@pytest.mark.parametrize(
    "words",
    [
        ("test", "-j", "1"),
        ("check", "--base", "main", "--head", "change", "-j", "1"),
        ("plan", "--base", "main"),
        ("replay", "--base", "main", "--head", "change", "-j", "1"),
        ("validate",),
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_works_on_the_files_here_imports_none_of_them(planted: Planted, words: tuple[str, ...]) -> None:
    with running(planted, "postgresql://127.0.0.1:1/none", *words) as process:
        assert process.wait(300) == 0, told(planted).read_text()
    assert planted.ran == []


@pytest.mark.parametrize(
    "words",
    [("worker",), ("orchestrator",), ("up", "--repo", ".", "--branch", "main")],
    ids=lambda words: words[0],
)
def test_the_processes_beside_the_first_import_nothing_from_here(
    planted: Planted, fresh_database_url: str, words: tuple[str, ...]
) -> None:
    with running(planted, fresh_database_url, *words, "--port", "0", "--processes", "2", "-o", "json") as process:
        until(lambda: bool(planted.ran) or process.poll() is not None or is_ready(planted), "both are ready")
        assert planted.ran == [], told(planted).read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, told(planted).read_text()
    assert planted.ran == []


def is_ready(planted: Planted) -> bool:
    """Whether the first process says that it is ready, which the second has to be too."""
    events = [json.loads(line) for line in said(planted).read_text().splitlines()]
    url = next((event["url"] for event in events if event.get("url")), None)
    return url is not None and httpx.get(f"{url}/readyz", timeout=120, trust_env=False).status_code == 200


async def test_the_check_of_a_proposal_imports_nothing_from_here(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted.folder)
    base, head = planted.git("rev-parse", "main"), planted.git("rev-parse", "change")
    report = await run_check(planted.folder, "", "prod", base, head)
    assert report["ok"], report
    assert planted.ran == []


def test_a_part_of_the_demo_imports_nothing_from_here(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(planted.folder)
    arguments = ["automata.cli.demo.shop", "--port", "0"]
    with Child("shop", arguments, planted.marks.with_name("shop.log"), os.environ) as shop:
        assert "url" in shop.event(120)
    assert planted.ran == []


@pytest.mark.parametrize("flags", [("-P",), ()], ids=["with -P", "without"])
def test_the_module_as_a_program_takes_libraries_from_where_they_are_installed(
    planted: Planted, flags: tuple[str, ...]
) -> None:
    """Without -P Python itself would find `automata` here, and nothing of ours can prevent that: it is taken away."""
    if not flags:
        for name in (*PLANTED[2:], "automata"):
            (planted.folder / f"{name}.py").unlink()
            (planted.folder / name).rename(planted.folder / f"no-{name}")
    words = [sys.executable, *flags, "-m", "automata", "validate", "flows"]
    done = subprocess.run(words, cwd=planted.folder, capture_output=True, text=True, check=False)
    assert (done.returncode, planted.ran) == (0, []), done.stderr


def test_python_is_started_by_one_function_alone() -> None:
    """Whoever starts it in a way of their own is named here, with the flag or file that keeps the folder out."""
    assert {path for path in python_files() if "sys.executable" in used_names(path)} == {"automata/interpreter.py"}
    assert python_command("-m", "automata")[1] == "-P"


def test_what_the_standard_library_starts_is_told_by_the_environment() -> None:
    users = {path for path in python_files() if {"multiprocessing", "ProcessPoolExecutor"} & used_names(path)}
    assert users == {"automata/sandbox/pool.py"}
    assert "shield_children" in used_names("automata/sandbox/pool.py")
    assert "shield_children" in used_names("automata/cli/app.py")
    words = [sys.executable, "-c", "import sys; print(sys.flags.safe_path)"]
    told = subprocess.run(words, env={**os.environ, SAFE_PATH: "1"}, capture_output=True, text=True, check=True)
    assert told.stdout == "True\n"


def python_files() -> Iterator[str]:
    return (path.relative_to(ROOT).as_posix() for path in (ROOT / "automata").rglob("*.py"))


def used_names(path: str) -> set[str]:
    """Names, and attributes as `sys.executable`, that the code of a file uses."""
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
