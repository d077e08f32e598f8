"""A file before and after, side by side: what stands beside what, and which part of a line is another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal

from automata.report.diagnostics import visible

MAX_LINES = 4_000  # of a side: comparing takes time by their product
CONTEXT = 4  # lines that are the same, around those that are not


@dataclass(frozen=True, slots=True)
class Line:
    """`before`, `marked` and `after` are the line's text; `marked` is what the other side has not."""

    number: int
    before: str
    marked: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """`gap`: what is left out here is the same on both sides."""

    kind: Literal["same", "changed", "added", "removed", "gap"]
    left: Line | None = None
    right: Line | None = None


def rows(before: str | None, after: str | None) -> list[Row] | None:
    """None where there are more than MAX_LINES. A side that is not there has no lines."""
    old, new = _lines(before), _lines(after)
    if max(len(old), len(new)) > MAX_LINES:
        return None
    return list(_rows(old, new))


def _rows(old: list[str], new: list[str]) -> Iterator[Row]:
    for index, group in enumerate(SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT)):
        if index or group[0][1]:
            yield Row("gap")
        for kind, i1, i2, j1, j2 in group:
            left = [(number + 1, old[number]) for number in range(i1, i2)]
            right = [(number + 1, new[number]) for number in range(j1, j2)]
            yield from (_row(kind == "equal", *pair) for pair in zip_longest(left, right))


def _row(same: bool, left: tuple[int, str] | None, right: tuple[int, str] | None) -> Row:
    if left is None or right is None:
        line = Line(*_shown(left or right))
        return Row("added", right=line) if left is None else Row("removed", left=line)
    if same:
        return Row("same", Line(*_shown(left)), Line(*_shown(right)))
    return Row("changed", *_marked(_shown(left), _shown(right)))


def _marked(left: tuple[int, str], right: tuple[int, str]) -> tuple[Line, Line]:
    head = _common(left[1], right[1])
    tail = _common(left[1][head:][::-1], right[1][head:][::-1])
    return _cut(*left, head, tail), _cut(*right, head, tail)


def _cut(number: int, text: str, head: int, tail: int) -> Line:
    end = len(text) - tail
    return Line(number, text[:head], text[head:end], text[end:])


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(line: tuple[int, str] | None) -> tuple[int, str]:
    """Without what could turn the reading direction: a diff must look like what it is."""
    assert line is not None
    return line[0], visible(line[1])


def _lines(text: str | None) -> list[str]:
    return [] if text is None else text.split("\n")
