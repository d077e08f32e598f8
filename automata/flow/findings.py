"""Gathers what is wrong with one file: pointer to place, near names for suggestions, one order at the end."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from automata.errors import Diagnostic, Severity

# A hostile file may hold thousands of misspelt names over thousands of candidates. Comparing two names costs
# about 20 µs, so this many comparisons a file keep suggestions under half a second.
COMPARISONS = 20_000
MAX_NAME = 64


class Positions(dict[str, tuple[int, int]]):
    """JSON pointer of a value -> (line, column), 1-based.

    `names` has the place of a mapping's key by the pointer of its value; `insets` the distance from a text's
    column to its first character, only for texts whose characters stand in the file one for one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, tuple[int, int]] = {}
        self.insets: dict[str, int] = {}

    def locate(self, pointer: str, *, name: bool = False, offset: int | None = None) -> tuple[int, int]:
        """The place of the nearest node at or above `pointer`; (0, 0) when there is none."""
        if name and pointer in self.names:
            return self.names[pointer]
        if offset is not None and pointer in self.insets:
            line, column = self[pointer]
            return line, column + self.insets[pointer] + offset
        while pointer not in self and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.get(pointer, (0, 0))


def child(pointer: str, key: str | int) -> str:
    """The pointer of a member (RFC 6901)."""
    if isinstance(key, str) and ("~" in key or "/" in key):
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{key}"


@dataclass(slots=True)
class Nearest:
    """Finds the nearest existing name, within a budget of comparisons."""

    left: int = COMPARISONS

    def name(self, word: str, candidates: Iterable[str]) -> str | None:
        """The candidate that is spelt most like `word`; None when none is near."""
        if len(word) > MAX_NAME:
            return None
        fitting = [name for name in candidates if abs(len(name) - len(word)) <= max(3, len(word) // 2)]
        self.left -= len(fitting)
        if self.left < 0:
            return None
        folded = {name.casefold(): name for name in reversed(fitting)}
        close = difflib.get_close_matches(word.casefold(), folded, 1, 0.6)
        return folded[close[0]] if close else None

    def hint(self, word: str, candidates: Iterable[str]) -> str | None:
        """`did you mean ...?`, or None when nothing is near."""
        near = self.name(word, candidates)
        return f"did you mean `{near}`?" if near else None


@dataclass(slots=True)
class Findings:
    """Collects what is wrong with one file, each with its place."""

    file: str
    positions: Positions
    nearest: Nearest = field(default_factory=Nearest)
    found: list[Diagnostic] = field(default_factory=list)

    def add(
        self,
        code: str,
        message: str,
        pointer: str,
        suggestion: str | None = None,
        *,
        name: bool = False,
        offset: int | None = None,
        severity: Severity = "error",
    ) -> None:
        """`name` points at the key instead of the value; `offset` is a character inside a text."""
        line, column = self.positions.locate(pointer, name=name, offset=offset)
        self.found.append(Diagnostic(code, message, self.file, line, column, pointer, suggestion, severity))

    def done(self) -> tuple[Diagnostic, ...]:
        """Everything once, in the order of the file."""
        return in_order(self.found)


def in_order(findings: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Each finding once, by line, column, code and message."""
    return tuple(
        sorted(
            dict.fromkeys(findings), key=lambda finding: (finding.line, finding.column, finding.code, finding.message)
        )
    )
