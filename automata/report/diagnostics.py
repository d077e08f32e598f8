"""What validation found, as one versioned JSON report and as people, code scanners and GitHub want to read it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal
from urllib.parse import quote

from automata import __version__
from automata.errors import Diagnostic, Severity
from automata.flow.codes import CODES

Format = Literal["human", "json", "sarif", "github"]
Source = Callable[[str], str | None]

VERSION = 1
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
MAX_LINE = 160

# The line breaks that the YAML reader counts.
_BREAKS = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_COLOURS = {"error": "\x1b[1;31m", "warning": "\x1b[1;33m", "place": "\x1b[1m", "faint": "\x1b[2m", "good": "\x1b[32m"}
_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Report:
    """`files` were looked at; `diagnostics` are in the order they are shown in."""

    files: int
    diagnostics: tuple[Diagnostic, ...]

    def count(self, severity: Severity) -> int:
        """How many diagnostics have this severity."""
        return sum(diagnostic.severity == severity for diagnostic in self.diagnostics)

    @property
    def ok(self) -> bool:
        """Warnings do not count."""
        return not self.count("error")

    def as_json(self) -> dict[str, Any]:
        """The report that every format is made from; `version` rises when a field changes its meaning."""
        return {
            "version": VERSION,
            "tool": {"name": "automata", "version": __version__},
            "ok": self.ok,
            "summary": {"files": self.files, "errors": self.count("error"), "warnings": self.count("warning")},
            "diagnostics": [asdict(diagnostic) for diagnostic in self.diagnostics],
        }


def render(report: Mapping[str, Any], form: Format, source: Source | None = None, *, colour: bool = False) -> str:
    """A JSON report as text that ends with a line break, or as nothing.

    `source` gives the text of a file for the lines that the human format quotes; None for one that is gone.
    """
    match form:
        case "json":
            return json.dumps(report, indent=2, ensure_ascii=False) + "\n"
        case "sarif":
            return json.dumps(_sarif(report), indent=2, ensure_ascii=False) + "\n"
        case "github":
            return "".join(_annotation(diagnostic) for diagnostic in report["diagnostics"])
        case "human":
            return _Human(source or (lambda _: None), colour).text(report)


def plural(count: int, noun: str) -> str:
    """`1 flow`, `2 flows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class _Human:
    def __init__(self, source: Source, colour: bool) -> None:
        self.source = source
        self.colour = colour
        self.lines: dict[str, Sequence[str]] = {}

    def text(self, report: Mapping[str, Any]) -> str:
        blocks = [self._finding(diagnostic) for diagnostic in report["diagnostics"]]
        return "\n".join([*blocks, self._summary(report["summary"])])

    def _finding(self, diagnostic: Mapping[str, Any]) -> str:
        place = ":".join(str(part) for part in (diagnostic["file"], diagnostic["line"], diagnostic["column"]) if part)
        head = f"{self._paint('place', visible(place))}: " if place else ""
        severity = self._paint(diagnostic["severity"], f"{diagnostic['severity']} {diagnostic['code']}")
        quoted = self._quote(diagnostic["file"], diagnostic["line"], diagnostic["column"])
        text = f"{head}{severity} {visible(diagnostic['message'])}\n"
        hint = f"  = {visible(diagnostic['suggestion'])}\n" if diagnostic["suggestion"] else ""
        return text + quoted + hint

    def _quote(self, file: str, line: int, column: int) -> str:
        """The line and a caret under the column; nothing when the file is not at hand."""
        lines = self._lines(file) if line else ()
        if not 0 < line <= len(lines):
            return ""
        text, column = _window(lines[line - 1], column)
        number = str(line)
        indent = "".join("\t" if character == "\t" else " " for character in text[: max(column - 1, 0)])
        gutter = self._paint("faint", f"  {number} | ")
        under = self._paint("faint", f"  {' ' * len(number)} | ")
        return f"{gutter}{visible(text)}\n{under}{indent}{self._paint('error', '^')}\n"

    def _lines(self, file: str) -> Sequence[str]:
        if file not in self.lines:
            text = self.source(file)
            self.lines[file] = () if text is None else _BREAKS.split(text)
        return self.lines[file]

    def _summary(self, summary: Mapping[str, int]) -> str:
        files = plural(summary["files"], "file")
        if not summary["errors"] and not summary["warnings"]:
            verb = "is" if summary["files"] == 1 else "are"
            return f"{self._paint('good', f'{files} {verb} valid')}\n" if summary["files"] else "0 files\n"
        counts = [plural(summary[f"{kind}s"], kind) for kind in ("error", "warning") if summary[f"{kind}s"]]
        return f"{', '.join(counts)} in {files}\n"

    def _paint(self, style: str, text: str) -> str:
        return paint(style, text, self.colour)


def paint(style: str, text: str, colour: bool) -> str:
    """`text` in the colour of `shade`, or as it is."""
    return f"{_COLOURS[style]}{text}{_RESET}" if colour else text


def _window(text: str, column: int) -> tuple[str, int]:
    """A part of a long line that shows the column, and the column in it."""
    if len(text) <= MAX_LINE:
        return text, column
    start = max(0, min(column - 1 - MAX_LINE // 2, len(text) - MAX_LINE))
    cut = text[start : start + MAX_LINE]
    if start:
        cut = "…" + cut[1:]
    return (cut[:-1] + "…" if start + MAX_LINE < len(text) else cut), column - start


def visible(text: str) -> str:
    """Without characters that could steer a terminal or turn the reading direction; a file may come from anyone."""
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def _annotation(item: Mapping[str, Any]) -> str:
    hint = f" ({item['suggestion']})" if item["suggestion"] else ""
    return annotation(
        item["severity"], item["file"], item["line"], item["column"], item["code"], item["message"] + hint
    )


def annotation(severity: str, file: str, line: int, column: int, title: str, message: str) -> str:
    """A workflow command: GitHub shows it at its line of the pull request."""
    fields = {"file": file, "line": line, "col": column, "title": title}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in fields.items() if value)
    return f"::{severity} {properties}::{_escaped(message)}\n"


def _escaped(text: str, further: str = "") -> str:
    for character in "%\r\n" + further:
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _sarif(report: Mapping[str, Any]) -> dict[str, Any]:
    codes = sorted({diagnostic["code"] for diagnostic in report["diagnostics"]})
    driver = {
        "name": report["tool"]["name"],
        "semanticVersion": report["tool"]["version"],
        "rules": [{"id": code, "shortDescription": {"text": CODES.get(code, code)}} for code in codes],
    }
    results = [_sarif_result(diagnostic, codes.index(diagnostic["code"])) for diagnostic in report["diagnostics"]]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(diagnostic: Mapping[str, Any], rule: int) -> dict[str, Any]:
    hint = f" ({diagnostic['suggestion']})" if diagnostic["suggestion"] else ""
    result: dict[str, Any] = {
        "ruleId": diagnostic["code"],
        "ruleIndex": rule,
        "level": diagnostic["severity"],
        "message": {"text": diagnostic["message"] + hint},
    }
    if diagnostic["file"]:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(diagnostic["file"].replace("\\", "/"))}}
        if diagnostic["line"]:
            place["region"] = {"startLine": diagnostic["line"], "startColumn": max(diagnostic["column"], 1)}
        result["locations"] = [{"physicalLocation": place}]
    if diagnostic["pointer"]:
        result["properties"] = {"pointer": diagnostic["pointer"]}
    return result
