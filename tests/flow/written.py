"""Small flow files, written in a line or two, and what validation says about them."""

from __future__ import annotations

import textwrap

from automata.errors import Diagnostic
from automata.flow.load import validate_text

DELAY = "type: delay, config: {duration_sec: 1}"
HTTP = "type: http, config: {url: https://x.example.com}"


def found(text: str, **types: object) -> list[Diagnostic]:
    return list(validate_text(textwrap.dedent(text), "a.yaml", types).diagnostics)  # type: ignore[arg-type]


def steps(*lines: str, more: str = "", **types: object) -> list[Diagnostic]:
    """A flow of steps, each a flow mapping without its braces."""
    listed = "".join(f"  - {{{line}}}\n" for line in lines)
    return found(f"name: a\nsteps:\n{listed}{textwrap.dedent(more)}", **types)


def mapping(template: str, *before: str, depends_on: str = "", more: str = "") -> list[Diagnostic]:
    """What is wrong with a `transform` that reads `template`, after some other steps."""
    text = template.replace("'", "''")
    reader = f"id: reader, type: transform, depends_on: [{depends_on}], config: {{mappings: {{x: '{text}'}}}}"
    return steps(*before, reader, more=more)


def codes(diagnostics: list[Diagnostic]) -> list[str]:
    return [one.code for one in diagnostics]


def one(diagnostics: list[Diagnostic]) -> str:
    """The only finding, without its place."""
    assert len(diagnostics) == 1, diagnostics
    return str(diagnostics[0]).partition(": ")[2]
