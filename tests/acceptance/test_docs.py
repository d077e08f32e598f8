"""The documentation is true: its links lead somewhere, its commands exist, and the quickstart works as written."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from automata.cli.app import app
from automata.engine.states import TASK_TRANSITIONS, RunStatus
from tests import warm

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("flows-example/*.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?://|#|mailto:)([^)#\s]+)")
BLOCK = re.compile(r"(?:<!-- exits (\d+) -->\n)?```sh\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*automata (.+?)(?:\s+#.*)?$", re.MULTILINE)
MAKE = re.compile(r"(?:^|`)make ([a-z-]+)", re.MULTILINE)


def by_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_command_of_a_code_block_exists_with_its_options(page: Path) -> None:
    blocks = page.read_text(encoding="utf-8").split("```")[1::2]
    blocks = "\n".join(block for block in blocks if not block.startswith("ini\n"))
    unknown = [line for line in COMMAND.findall(blocks) if not _exists(shlex.split(line))]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=by_name)
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(MAKE.findall(page.read_text(encoding="utf-8"))) <= targets


def test_the_page_of_concepts_draws_every_state_and_every_transition_of_a_task() -> None:
    page = (ROOT / "docs/concepts.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^    (QUEUED|RUNNING) --> ([A-Z]+)", page.split("A task:")[1], re.MULTILINE))
    assert drawn == {(str(one), str(other)) for one, to in TASK_TRANSITIONS.items() if one for other in to}
    assert all(status in page for status in RunStatus)


def test_every_command_of_the_program_is_on_its_page() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8").partition("## What all")[0]
    missing = [name for name in get_command(app).commands if not re.search(rf"`(automata )?{name}\b", page)]  # type: ignore[attr-defined]
    assert missing == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert _exists(["run", "start", "x", "--wait"])
    assert not _exists(["run", "begin", "x"])
    assert not _exists(["run", "start", "x", "--wiat"])


def test_the_quickstart_works_as_it_is_written(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = warm.program(tmp_path / "bin")
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AUTOMATA_", "GIT_"))},
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "AUTOMATA_DATA_DIR": str(tmp_path / "data"),
        "AUTOMATA_PORT": str(port),
        "AUTOMATA_API_URL": f"http://127.0.0.1:{port}",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    blocks = BLOCK.findall((ROOT / "docs/quickstart.md").read_text(encoding="utf-8"))
    first, up, rest = blocks[0], blocks[1], blocks[2:]
    assert up[1].startswith("automata up ")
    _run(first, tmp_path, env)
    folder = tmp_path / "my-flows"
    with _up(up[1], folder, env) as events:
        for block in rest:
            _run(block, folder, env)
            if "cat > flows/" in block[1]:
                assert any(event.get("status") == "synced" for event in events), "the change was never synced"


def _run(block: tuple[str, str], folder: Path, env: dict[str, str]) -> None:
    exits, script = block
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == int(exits or 0), f"{script}\n{done.stdout}\n{done.stderr}"


@contextmanager
def _up(command: str, folder: Path, env: dict[str, str]) -> Iterator[Iterator[dict[str, Any]]]:
    """A running `automata up`; yields what it says, from `ready` on."""
    words = [*shlex.split(command), "-o", "json"]
    process = subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        events = map(json.loads, process.stdout)
        assert any(event["event"] == "ready" for event in events)
        yield events
    finally:
        process.terminate()
        process.communicate(timeout=120)
    assert process.returncode == 0


@cache
def _program() -> Any:
    return get_command(app)


def _exists(words: list[str]) -> bool:
    """Whether these words name a command, with options that it has."""
    command = _program()
    while words and (known := getattr(command, "commands", None)):
        if words[0] not in known:
            return words[0].startswith("-")
        command = known[words.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts}
    return all(word in {*options, "--help"} for word in words if re.match(r"--?[a-z]", word))
