"""Points in time as data: seconds since 1970 to calculate with, ISO 8601 text to write down. The clock is given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from automata.flow.budget import Budget, misfit
from automata.flow.values import kind

# Known directives only: a C library pads `%999999999d` to a gigabyte.
_FORMAT = re.compile(r"(?:[^%]|%[aAbBdfHIjmMpSUVWyYGuzZ%])*")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}")
# Some systems list the machine's own zone, which is another one on the next machine.
NO_ZONES = frozenset({"localtime", "Factory", "posixrules"})
_DIRECTIVE = re.compile("%.")
_ZONES = ("UTC", "GMT")  # what a `%Z` reads
_ABOUT_ZONES = " `%Z` reads UTC and GMT; other abbreviations name several zones, so give the offset with `%z`."
_MAX_CHARS = 100


def iso(moment: datetime) -> str:
    """`2026-07-01T12:00:00Z`, with milliseconds when there are any; always UTC."""
    moment = moment.astimezone(UTC)
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def parse_time(budget: Budget, value: Any, format: Any = None) -> float:
    """Seconds since 1970 of ISO 8601 text, or of text in a `strptime` format; without an offset it is UTC.

    `%Z` reads `UTC` or `GMT`, in any case, on every machine.
    """
    budget.pay(200)
    moment = _parsed(value, None if format is None else _checked(format))
    seconds = moment.timestamp()
    return int(seconds) if seconds.is_integer() else seconds


def _parsed(value: Any, format: str | None) -> datetime:
    if type(value) is not str or len(value) > _MAX_CHARS:
        raise misfit(f"`parse_time` reads text of at most {_MAX_CHARS} characters, this is {kind(value)}.")
    for form in _zoned(format):
        try:
            moment = datetime.fromisoformat(value) if form is None else datetime.strptime(value, form)  # noqa: DTZ007
        except (ValueError, re.error):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    expected = "ISO 8601" if format is None else f"`{format}`"
    raise misfit(f"This text is no time in the form {expected}.{_ABOUT_ZONES if _names_zone(format) else ''}")


def _zoned(format: str | None) -> tuple[str | None, ...]:
    """The forms to try: with a `%Z`, one for each name. `strptime` would take the names of the machine's zone as well,
    and then read the time as UTC all the same."""
    if format is None or not _names_zone(format):
        return (format,)
    return tuple(_DIRECTIVE.sub(partial(_named, name), format) for name in _ZONES)


def _named(zone: str, directive: re.Match[str]) -> str:
    return zone if directive[0] == "%Z" else directive[0]


def _names_zone(format: str | None) -> bool:
    return format is not None and "%Z" in _DIRECTIVE.findall(format)


def format_time(budget: Budget, value: Any, format: Any = None, timezone: Any = "UTC") -> str:
    """A time (seconds since 1970 or ISO 8601 text) in a `strftime` format and IANA zone; ISO 8601 by default."""
    budget.pay(200)
    moment = instant(value)
    zone = zone_of(timezone)
    try:
        local = moment.astimezone(zone)
        if format is None:
            return iso(moment) if timezone == "UTC" else local.isoformat(timespec="seconds")
        return local.strftime(_checked(format))
    except (OverflowError, ValueError):
        raise misfit("This time is outside the years 1 to 9999.") from None


def instant(value: Any) -> datetime:
    """The moment that a value means: seconds since 1970 or ISO 8601 text. Raises TemplateError."""
    if type(value) is str:
        return _parsed(value, None)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise misfit(f"A time is seconds since 1970 or ISO 8601 text, this is {kind(value)}.")
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, ValueError, OSError):
        raise misfit("This time is outside the years 1 to 9999.") from None


def _checked(format: Any) -> str:
    if type(format) is not str or len(format) > _MAX_CHARS or not _FORMAT.fullmatch(format):
        raise misfit(f"A time format is text of at most {_MAX_CHARS} characters such as '%Y-%m-%d %H:%M:%S'.")
    return format


def zone_of(name: Any) -> ZoneInfo:
    """The zone of an IANA name. Raises TemplateError."""
    try:
        if type(name) is str and len(name) <= _MAX_CHARS and _ZONE.fullmatch(name) and name not in NO_ZONES:
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise misfit("`timezone` is an IANA name such as 'Europe/Berlin'.")


TIME_FILTERS: Mapping[str, Callable[..., Any]] = {"format_time": format_time, "parse_time": parse_time}
