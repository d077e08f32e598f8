"""Reads five-field cron expressions strictly: what a flow file may say. When they fire is the engine's business.

The rule of the two day fields is cronie's: they are alternatives (either is enough) unless one of them begins with `*`,
as `*` and `*/2` do; then both must hold.
"""

from __future__ import annotations

from dataclasses import dataclass

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAYS_OF_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_DIGITS = frozenset("0123456789")


class CronError(ValueError):
    """`suggestion` is what to write instead, where that is known."""

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.suggestion = suggestion


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> set[int]:
        """The numbers that a field's text stands for."""
        return {value for part in text.split(",") for value in self._part(part)}

    def _part(self, part: str) -> range:
        span, slash, step = part.partition("/")
        first, last = self._span(span, open_ended=bool(slash))
        return range(first, last + 1, self._step(step) if slash else 1)

    def _span(self, span: str, *, open_ended: bool) -> tuple[int, int]:
        if span == "*":
            return self.low, self.high
        start, dash, end = span.partition("-")
        first = self._number(start)
        if not dash:
            return first, self.high if open_ended else first
        last = self._number(end)
        if last <= first:
            raise CronError(f"the range `{span}` of the {self.name} must run forwards")
        return first, last

    def _number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names.index(text.upper()) + self.low
        if not text or not _DIGITS.issuperset(text) or len(text) > 2:
            raise CronError(f"`{text[:20]}` is not a {self.name}")
        value = int(text)
        if not self.low <= value <= self.high:
            raise CronError(f"the {self.name} must be from {self.low} to {self.high}, not {value}")
        return value

    def _step(self, text: str) -> int:
        if not text or not _DIGITS.issuperset(text) or len(text) > 2 or not 1 <= int(text) <= self.high:
            raise CronError(f"`/{text[:20]}` is not a step for the {self.name}")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


def five_fields(text: str) -> str:
    """What a nickname such as `@daily` stands for; any other text as it is."""
    return _NICKNAMES.get(text.strip().lower(), text)


def both_days_must_hold(day: str, weekday: str) -> bool:
    """Whether a day must fit both of its fields; else one is enough. A list such as `*,5` begins with `*` too."""
    return day.startswith("*") or weekday.startswith("*")


def check_cron(text: str) -> None:
    """Raises CronError for anything but five fields of numbers, names, `*`, ranges, steps and lists, or a nickname."""
    if text.strip().startswith("@") and text.strip().lower() not in _NICKNAMES:
        raise CronError(
            f"there is no `{text.strip()[:20]}`", f"there are {', '.join(f'`{name}`' for name in _NICKNAMES)}"
        )
    parts = five_fields(text).split()
    if len(parts) != len(_FIELDS):
        hint = "minute, hour, day of the month, month, day of the week"
        raise CronError(f"a cron expression has five fields, not {len(parts)}", hint)
    _, _, days, months, _ = (field.values(part) for field, part in zip(_FIELDS, parts, strict=True))
    if both_days_must_hold(parts[2], parts[4]) and all(min(days) > _DAYS_OF_MONTH[month - 1] for month in months):
        raise CronError("the expression never fires: no such month has that day")
