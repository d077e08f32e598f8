"""Every command that the product names is there, with the options beside it: in hints, starter files and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from automata.cli.app import app

ROOT = Path(__file__).parents[2]
PLACES = ("automata/**/*.py", "automata/**/*.html", "automata/**/*.yaml", "automata/**/*.yml", "automata/**/*.md")
DOCS = ("README.md", "docs/*.md", "flows-example/**/*.yaml", "flows-example/**/*.md", "deploy/**/*.md")
# In prose the name of the product stands before other words: a command is in backticks, or begins or follows a line's
# comment, prompt or label.
SHOWN = re.compile(
    r"(?:`|Try it: |Next: |^\s*|\$ |Example: |&& )automata ((?:[a-z][a-z-]*|--?[a-z][a-z-]*)(?: [^\s`|&;\"']+)*)", re.M
)
COMMANDS: Any = typer.main.get_command(app)


def commands() -> Iterator[tuple[str, str]]:
    for pattern in (*PLACES, *DOCS):
        for path in sorted(ROOT.glob(pattern)):
            for words in SHOWN.findall(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(ROOT)}", words


def problem(line: str) -> str | None:
    """What is not there of a command line; None when all is."""
    command, words = COMMANDS, line.split()
    options: set[str] = set()
    while True:
        options |= {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        below = getattr(command, "commands", {})
        if not below or not words or words[0].startswith(("-", "{", "<", "…", "...")):
            break
        if words[0] not in below:
            return f"no command {words[0]!r}"
        command = below[words.pop(0)]
    named = [word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word)]
    unknown = [name for name in named if name not in options and name != "--help"]
    return f"no option {unknown[0]}" if unknown else None


def test_every_command_that_is_named_can_be_typed() -> None:
    named = list(commands())
    assert len(named) > 100, "they are found"
    assert [(path, words, why) for path, words in named if (why := problem(words))] == []


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("run hello --input name=Ada", "no command 'hello'"),
        ("run start hello --inputt name=Ada", "no option --inputt"),
        ("run start hello --input name=Ada --wait", None),
        ("up --repo . --watch", None),
    ],
)
def test_a_command_that_is_not_there_is_found(line: str, why: str | None) -> None:
    assert problem(line) == why
