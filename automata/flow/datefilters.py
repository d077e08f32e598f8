"""Date arithmetic in a named zone. Days, weeks, months and years are of the calendar there, hours are elapsed time.

A local time that does not exist, because the clocks went forward, is the first instant after the gap; one that exists
twice is the first of the two. Schedules have the same rule (automata/engine/schedule.py).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from automata.flow.budget import Budget, TemplateError, misfit
from automata.flow.timefilters import instant, iso, zone_of

MAX_AMOUNT = 1_000_000_000
ELAPSED: Mapping[str, int] = {"seconds": 1, "minutes": 60, "hours": 3600}
CALENDAR: Mapping[str, int] = {"days": 1, "weeks": 7}
MONTHS: Mapping[str, int] = {"months": 1, "quarters": 3, "years": 12}
UNITS = frozenset({*ELAPSED, *CALENDAR, *MONTHS})
AMOUNTS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")
STARTS = frozenset({"minute", "hour", "day", "week", "month", "quarter", "year"})
# Measured: a conversion takes a few microseconds, the search for the end of a gap fifty.
_COST = 1_000
_SECOND = timedelta(seconds=1)


def add_time(
    budget: Budget,
    value: Any,
    years: Any = 0,
    months: Any = 0,
    weeks: Any = 0,
    days: Any = 0,
    hours: Any = 0,
    minutes: Any = 0,
    seconds: Any = 0,
    timezone: Any = "UTC",
) -> str:
    """The time so much later, or earlier for negative numbers, as ISO 8601 text in the zone.

    31 January and a month is the last day of February. Years and months come first, then weeks and days, then the rest.
    """
    budget.pay(_COST)
    zone = zone_of(timezone)
    amounts = [_whole(amount) for amount in (years, months, weeks, days, hours, minutes, seconds)]
    return _shown(_added(instant(value), amounts, zone), zone)


def start_of(budget: Budget, value: Any, unit: str, timezone: Any = "UTC") -> str:
    """The first instant of the minute, hour, day, week (Monday), month, quarter or year there, as ISO 8601 text."""
    budget.pay(_COST)
    if type(unit) is not str or unit not in STARTS:
        raise misfit(f"`unit` is one of {', '.join(sorted(STARTS))}.")
    zone = zone_of(timezone)
    return _shown(_started(_local(instant(value), zone), unit, zone), zone)


def time_diff(budget: Budget, value: Any, other: Any, unit: str = "seconds", timezone: Any = "UTC") -> Any:
    """How much later than `other` the time is, negative when earlier: whole units, but for seconds, which are exact."""
    budget.pay(2 * _COST)
    if type(unit) is not str or unit not in UNITS:
        raise misfit(f"`unit` is one of {', '.join(sorted(UNITS))}.")
    zone = zone_of(timezone)
    later, earlier = instant(value), instant(other)
    if unit == "seconds":
        seconds = (later - earlier) / _SECOND
        return int(seconds) if seconds.is_integer() else seconds
    if unit in ELAPSED:
        return _towards_zero(later - earlier, timedelta(seconds=ELAPSED[unit]))
    if later < earlier:
        return -_units(later, earlier, unit, zone)
    return _units(earlier, later, unit, zone)


def _towards_zero(span: timedelta, unit: timedelta) -> int:
    return -(-span // unit) if span < timedelta() else span // unit


def _units(start: datetime, end: datetime, unit: str, zone: ZoneInfo) -> int:
    """How many of them fit between. The calendar says about how many, adding that many says exactly."""
    first, last = _local(start, zone), _local(end, zone)
    if unit in CALENDAR:
        guess = (last.date() - first.date()).days // CALENDAR[unit]
        step = (0, 0, 0, CALENDAR[unit])
    else:
        guess = ((last.year - first.year) * 12 + last.month - first.month) // MONTHS[unit]
        step = (0, MONTHS[unit], 0, 0)
    amounts = [part * guess for part in step]
    return guess if guess <= 0 or _added(start, [*amounts, 0, 0, 0], zone) <= end else guess - 1


def _whole(amount: Any) -> int:
    if type(amount) is not int or abs(amount) > MAX_AMOUNT:
        raise misfit(f"A number of units is a whole number of at most {MAX_AMOUNT:,}.")
    return amount


def _added(moment: datetime, amounts: list[int], zone: ZoneInfo) -> datetime:
    years, months, weeks, days, hours, minutes, seconds = amounts
    try:
        if years or months or weeks or days:
            local = _local(moment, zone).replace(tzinfo=None, fold=0)
            wall = _months_later(local, 12 * years + months) + timedelta(days=7 * weeks + days)
            if wall != local:
                moment = _instant_of(wall, zone)
        return moment + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (OverflowError, ValueError):
        raise _outside() from None


def _months_later(local: datetime, months: int) -> datetime:
    year, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise _outside()
    return local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))


def _started(local: datetime, unit: str, zone: ZoneInfo) -> datetime:
    wall = local.replace(second=0, microsecond=0)
    if unit == "minute":
        return wall
    wall = wall.replace(minute=0)
    if unit == "hour":
        return _start_of_hour(wall, local, zone)
    day = wall.replace(hour=0, tzinfo=None, fold=0)
    if unit == "week":
        day -= timedelta(days=day.weekday())
    elif unit != "day":
        first = {"month": day.month, "quarter": day.month - (day.month - 1) % 3, "year": 1}[unit]
        day = day.replace(month=first, day=1)
    return _instant_of(day, zone)


def _start_of_hour(wall: datetime, local: datetime, zone: ZoneInfo) -> datetime:
    """Of an hour that comes twice, the one that the time is in. A zone may change within an hour, too."""
    start, naive = wall.astimezone(UTC), wall.replace(tzinfo=None, fold=0)
    exists = start.astimezone(zone).replace(tzinfo=None, fold=0) == naive
    return start if exists and start <= local.astimezone(UTC) else _instant_of(naive, zone)


# --- wall times -----------------------------------------------------------------------------------------------------


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        raise _outside() from None


def _instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which clocks of the zone show `wall` (naive)."""
    try:
        first = wall.replace(tzinfo=zone).astimezone(UTC)
        if first.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
            return first
        return _end_of_gap(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), first, zone)
    except (OverflowError, ValueError):
        raise _outside() from None


def _end_of_gap(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant, to the second, at which the offset changes; `before` has the old one, `after` the new one."""
    before, after = before.replace(microsecond=0), after.replace(microsecond=0)
    new = after.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // _SECOND // 2 * _SECOND
        if middle.astimezone(zone).utcoffset() == new:
            after = middle
        else:
            before = middle
    return after


def _shown(moment: datetime, zone: ZoneInfo) -> str:
    if zone.key == "UTC":
        return iso(moment)
    local = _local(moment, zone)
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def _outside() -> TemplateError:
    return misfit("This time is outside the years 1 to 9999.")


DATE_FILTERS: Mapping[str, Callable[..., Any]] = {
    "add_time": add_time,
    "start_of": start_of,
    "time_diff": time_diff,
}
