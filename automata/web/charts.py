"""Charts as geometry: numbers in, attributes of SVG out. Colours are the style sheet's, by the names of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil, log10

WIDTH, HEIGHT = 960, 230
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 10, 24
GAP = 0.22  # of a column, between two

# Bottom to top: what failed stands on the ground, where lengths compare.
SERIES = (("FAILED", "bad"), ("CANCELLED", "quiet"), ("SUCCEEDED", "good"), ("ACTIVE", "busy"))


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle; `tone` is the class that colours it."""

    x: float
    y: float
    width: float
    height: float
    tone: str


@dataclass(frozen=True, slots=True)
class Column:
    """One bucket: its bars, the area that a pointer hits, and what it is called."""

    hit: Bar
    bars: tuple[Bar, ...]
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the grid with its label."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A chart of stacked columns with its axes."""

    columns: tuple[Column, ...]
    up: tuple[Tick, ...]
    along: tuple[Tick, ...]
    total: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    floor: int = HEIGHT - BOTTOM


def stack(buckets: Sequence[Mapping[str, int]], since: datetime, step: timedelta) -> Stack:
    """Stacked columns of `buckets`, each status -> count, `step` apart from `since` on."""
    top = _nice(max((sum(bucket.values()) for bucket in buckets), default=0))
    pitch = (WIDTH - LEFT - RIGHT) / max(1, len(buckets))
    tall = HEIGHT - TOP - BOTTOM
    columns = []
    for index, bucket in enumerate(buckets):
        x = LEFT + index * pitch
        columns.append(
            Column(
                Bar(round(x, 1), TOP, round(pitch, 1), tall, "hit"),
                tuple(_bars(bucket, x + pitch * GAP / 2, pitch * (1 - GAP), tall / top)),
                _title(bucket, since + index * step, step),
            )
        )
    up = tuple(Tick(round(HEIGHT - BOTTOM - tall * part / top, 1), f"{part:,}") for part in _steps(top))
    return Stack(tuple(columns), up, tuple(_along(len(buckets), pitch, since, step)), sum(map(_sum, buckets)))


def _bars(bucket: Mapping[str, int], x: float, width: float, scale: float) -> list[Bar]:
    bars, y = [], float(HEIGHT - BOTTOM)
    for status, tone in SERIES:
        if count := bucket.get(status, 0):
            tall = max(count * scale, 1.5)  # one failure among thousands is what the chart is for
            y -= tall
            bars.append(Bar(round(x, 1), round(y, 1), round(width, 1), round(tall, 1), tone))
    return bars


def _title(bucket: Mapping[str, int], start: datetime, step: timedelta) -> str:
    parts = [f"{bucket[status]:,} {status.lower()}" for status, _ in reversed(SERIES) if bucket.get(status)]
    shape = "%H:%M" if step < timedelta(days=1) else "%d %b"
    until = f" to {start + step:%H:%M} UTC" if step < timedelta(days=1) else ""
    return f"{start:{'%d %b ' if step < timedelta(days=1) else ''}{shape}}{until}: {', '.join(parts) or 'no runs'}"


def _along(count: int, pitch: float, since: datetime, step: timedelta) -> list[Tick]:
    every = max(1, ceil(count / 8))
    shape = "%H:%M" if step < timedelta(hours=6) else "%d %b"
    return [
        Tick(round(LEFT + (index + 0.5) * pitch, 1), f"{since + index * step:{shape}}")
        for index in range(0, count, every)
    ]


def _nice(value: int) -> int:
    """The least of 4, 8, 20, 40, 80, 200 … that is not below."""
    if value <= 4:
        return 4
    size = 10 ** int(log10(value))
    return next(int(size * part) for part in (1, 2, 4, 8, 10, 20) if size * part >= value and size * part >= 4)


def _steps(top: int) -> list[int]:
    return [top * part // 4 for part in range(5)]


def _sum(bucket: Mapping[str, int]) -> int:
    return sum(bucket.values())


SPARK_WIDTH, SPARK_HEIGHT = 108, 24
_TONES = {"SUCCEEDED": "good", "FAILED": "bad", "CANCELLED": "quiet"}


def spark(marks: Sequence[tuple[str, float | None]], room: int) -> list[Bar]:
    """The last runs, (status, seconds) oldest first: one bar each, as high as the run was long beside the others."""
    longest = max((seconds or 0 for _, seconds in marks), default=0) or 1
    pitch = SPARK_WIDTH / room
    bars = []
    for index, (status, seconds) in enumerate(marks, start=room - len(marks)):
        tall = 6 + (SPARK_HEIGHT - 6) * (min(1.0, (seconds or 0) / longest) if seconds is not None else 0.5)
        tone = _TONES.get(status, "busy")
        bars.append(
            Bar(round(index * pitch + 1, 1), round(SPARK_HEIGHT - tall, 1), round(pitch - 2, 1), round(tall, 1), tone)
        )
    return bars
