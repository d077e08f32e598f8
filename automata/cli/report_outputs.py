"""Where reports go: `--format FORMAT[=FILE]`, given any number of times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from automata.errors import Usage

# What a program parses cannot share standard output with anything else.
_ALONE = frozenset({"json", "sarif", "junit"})


@dataclass(frozen=True, slots=True)
class ReportOutput:
    """Where one format goes; `file` None is standard output."""

    form: Any
    file: Path | None = None


def parse_outputs(formats: Sequence[str], formats_known: Sequence[str]) -> list[ReportOutput]:
    """One output a `--format`; people get the human format too when everything else goes to files. Raises Usage."""
    outputs = [_output(text, formats_known) for text in formats]
    shown = [output.form for output in outputs if output.file is None]
    if not shown:
        return [*outputs, ReportOutput("human")]
    if len(shown) > 1 and _ALONE.intersection(shown):
        raise Usage(
            f"{' and '.join(shown)} cannot share standard output.",
            hint=f"Write one of them to a file: --format {shown[0]}=FILE",
        )
    return outputs


def write_report(outputs: Sequence[ReportOutput], render: Callable[[Any, bool], str], colour: bool) -> None:
    """`render(format, colour)` to each output; files have no colours. Raises Usage."""
    for output in outputs:
        if output.file is None:
            typer.echo(render(output.form, colour), nl=False)
            continue
        try:
            output.file.write_text(render(output.form, False), encoding="utf-8")
        except OSError as error:
            raise Usage(f"{output.file} cannot be written: {error.strerror}.", code="unwritable") from error


def _output(text: str, formats_known: Sequence[str]) -> ReportOutput:
    name, equals, file = text.partition("=")
    if name not in formats_known or (equals and not file):
        raise Usage(f"{text!r} is no format.", hint=f"Give one of {', '.join(formats_known)}, or FORMAT=FILE.")
    return ReportOutput(name, Path(file) if file else None)
