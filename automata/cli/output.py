"""What the CLI prints: tables for people, JSON for programs, errors on stderr. Colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from automata.errors import AutomataError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 10_000  # a table that nobody looks at is never cut: programs read it line by line
STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "bold red",
    "RUNNING": "cyan",
    "QUEUED": "blue",
    "PENDING": "blue",
    "CANCELLED": "yellow",
    "SKIPPED": "dim",
}


class Format(StrEnum):
    """What --output takes."""

    TABLE = "table"
    JSON = "json"


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is: what a flow, an input or a service says is never read as markup."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else PIPE_WIDTH,
        color_system="auto" if colours(stderr=stderr) else None,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )


def colours(*, stderr: bool = False) -> bool:
    """Whether colours are wanted: on a terminal that can, unless NO_COLOR is set to anything (no-color.org)."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def emit(data: Any, output: Format, render: Callable[[Any], RenderableType]) -> None:
    """Print `data` as JSON, or what `render` makes of it."""
    if output is Format.JSON:
        say_json(data)
    else:
        console().print(render(data))


def say(text: str = "", *, stderr: bool = False) -> None:
    """One line of plain words."""
    stream = sys.stderr if stderr else sys.stdout
    stream.write(printable(text) + "\n")
    stream.flush()


def say_json(data: Any, *, indent: int | None = 2, stderr: bool = False) -> None:
    """`data` as one JSON document; with `indent=None` on one line, for streams of events."""
    stream = sys.stderr if stderr else sys.stdout
    utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
    stream.write(json.dumps(data, indent=indent, ensure_ascii=not utf8, default=str) + "\n")
    stream.flush()


def table(*columns: str, rows: Iterable[Sequence[Any]]) -> Table:
    """A table without lines; cells are texts, rich Texts or None (shown as a dash)."""
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for name in columns:
        grid.add_column(name, overflow="fold")
    for row in rows:
        grid.add_row(*map(_cell, row))
    return grid


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names beside values; pairs whose value is None or empty are left out."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", {}, []):
            grid.add_row(name, _cell(value))
    return grid


def status(word: str) -> Text:
    """The status of a run or a step, in its colour."""
    from rich.text import Text

    return Text(word, style=STYLES.get(word, ""))


def compact(value: Any) -> str:
    """A JSON value on one line."""
    return printable(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def printable(text: str) -> str:
    """`text` without the characters that drive a terminal: they are written out, so data stays data."""
    return "".join(c if c in "\n\t" or (c >= " " and not "\x7f" <= c <= "\x9f") else f"\\x{ord(c):02x}" for c in text)


def moment(stamp: str | None) -> str | None:
    """An RFC 3339 instant in the reader's own zone, to the second."""
    return parse_time(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S") if stamp else None


def took(start: str | None, end: str | None) -> str | None:
    """How long it was from `start` to `end` (or until now)."""
    if not start:
        return None
    finish = parse_time(end) if end else datetime.now(UTC)
    return duration((finish - parse_time(start)).total_seconds())


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use: `12 ms`, `1.2 s`, `3 m 04 s`, `2 h 05 m`, `3 d 02 h`."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} m"
    return f"{whole // 86_400} d {whole % 86_400 // 3600:02d} h"


def parse_time(stamp: str) -> datetime:
    """An RFC 3339 instant, as the API writes it."""
    return datetime.fromisoformat(stamp)


_report: Callable[[AutomataError], None] | None = None  # how a service reports, whose logs are no words for people


def report_by(how: Callable[[AutomataError], None]) -> None:
    """Have every error that this process reports from now on go to `how`."""
    global _report
    _report = how


def report(error: AutomataError) -> None:
    """One error on stderr: what, where, what to do about it, and the code that programs may look for."""
    if _report is not None:
        _report(error)
        return
    from rich.text import Text

    to = console(stderr=True)
    to.print(
        Text.assemble(("error: ", "bold red"), printable(error.message), (f" [{error.code}]", "dim")), soft_wrap=True
    )
    for finding in error.diagnostics:
        to.print(Text(f"  {printable(str(finding))}"), soft_wrap=True)
    if error.hint:
        to.print(Text.assemble(("hint: ", "bold"), printable(error.hint)), soft_wrap=True)


def _cell(value: Any) -> RenderableType:
    from rich.text import Text

    if isinstance(value, Text):
        return value
    return Text("-", style="dim") if value is None else Text(printable(str(value)))
