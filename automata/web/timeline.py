"""A run's timeline: a row a step, with its attempts and what it waited for between them, as attributes of SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from automata.web.charts import Tick
from automata.web.templating import duration

WIDTH, LEFT, RIGHT, TOP = 1000, 230, 70, 26
ROW, BAR = 26, 12
MAX_ROWS = 100
MIN_WIDTH = 2.5  # of a bar that was too short to see
MAX_LABEL = 30
TONES = {"SUCCEEDED": "good", "FAILED": "bad", "RUNNING": "busy", "QUEUED": "wait"}


@dataclass(frozen=True, slots=True)
class Piece:
    """`tone` "waiting" is drawn as a line: nothing of the step ran then."""

    x: float
    width: float
    tone: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """A step's row: its label, its pieces, and how long it took."""

    y: int
    step: str
    label: str
    indent: int
    pieces: tuple[Piece, ...]
    took: str
    took_at: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The rows of a run's steps with their axis; `left_out` are steps past MAX_ROWS."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    height: int
    left_out: int
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT
    row: int = ROW
    bar: int = BAR


class _Scale:
    def __init__(self, begin: datetime, end: datetime) -> None:
        self._begin = begin
        self._span = max((end - begin).total_seconds(), 0.001)
        self._room = WIDTH - LEFT - RIGHT

    def x(self, moment: datetime) -> float:
        part = (moment - self._begin).total_seconds() / self._span
        return LEFT + max(0.0, min(1.0, part)) * self._room

    def piece(self, start: datetime, end: datetime, tone: str, title: str) -> Piece:
        x = min(self.x(start), WIDTH - RIGHT - MIN_WIDTH)
        return Piece(round(x, 1), round(max(self.x(end) - x, MIN_WIDTH), 1), tone, title)

    def ticks(self) -> tuple[Tick, ...]:
        return tuple(
            Tick(round(LEFT + self._room * part / 4, 1), duration(self._span * part / 4) if part else "0")
            for part in range(5)
        )


def timeline(
    tasks: Sequence[Mapping[str, Any]], begin: datetime, end: datetime, indents: Mapping[str, int]
) -> Timeline:
    """Of tasks as TaskAnswer says; `end` is now while the run moves."""
    scale = _Scale(begin, end)
    begun = [task for task in tasks if task["queued_at"] or task["started_at"]]
    rows = tuple(_row(task, index, scale, end, indents) for index, task in enumerate(begun[:MAX_ROWS]))
    return Timeline(rows, scale.ticks(), TOP + ROW * len(rows) + 6, len(begun) - len(rows))


def _row(task: Mapping[str, Any], index: int, scale: _Scale, end: datetime, indents: Mapping[str, int]) -> Row:
    pieces = tuple(_pieces(task, scale, end))
    last = max((piece.x + piece.width for piece in pieces), default=float(LEFT))
    began, ended = task["started_at"], task["finished_at"]
    took = duration((ended or end) - began) if began else task["status"].lower()
    label = task["name"] or task["step"].rpartition(".")[2]
    return Row(
        TOP + index * ROW, task["step"], _short(label), indents.get(task["step"], 0) * 14, pieces, took, last + 6
    )


def _pieces(task: Mapping[str, Any], scale: _Scale, end: datetime) -> list[Piece]:
    pieces, since = [], task["queued_at"]
    for attempt in task["attempts"]:
        began = attempt["started_at"] or attempt["finished_at"]
        pieces += _wait(since, began, scale)
        title = f"attempt {attempt['attempt']} failed after {duration(attempt['finished_at'] - began)}"
        pieces.append(scale.piece(began, attempt["finished_at"], "bad", title))
        since = attempt["finished_at"]
    began, ended = task["attempt_started_at"], task["finished_at"] or end
    if began and (since is None or began >= since or not task["attempts"]):
        pieces += _wait(since, began, scale)
        word = task["status"].lower()
        title = f"attempt {task['attempt']} {word}, {duration(ended - began)}"
        pieces.append(scale.piece(began, ended, TONES.get(task["status"], "quiet"), title))
    else:
        pieces += _wait(since, ended, scale)
    return pieces


def _wait(since: datetime | None, until: datetime, scale: _Scale) -> list[Piece]:
    if since is None or until - since < timedelta(milliseconds=1):
        return []
    return [scale.piece(since, until, "waiting", f"waited {duration(until - since)}")]


def _short(text: str) -> str:
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"
