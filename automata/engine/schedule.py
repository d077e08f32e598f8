"""When a schedule is due: pure arithmetic on a cron line or an interval, a zone, and two instants.

A local day's clock is cut into stretches of constant UTC offset. In each stretch a wall time is an instant by
subtraction, so that the rule for gaps and overlaps (docs/concepts.md) is stated once, where two stretches meet.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterError, croniter

from automata.errors import Invalid
from automata.flow.cron import both_days_must_hold, five_fields
from automata.flow.model import Schedule

MAX_FIRES = 100
# Older fires are only counted as missed, and not beyond this: an idle year of minutes is half a million of them.
MAX_COUNTED = 1000
# `catchup: none` still starts a fire that a slow tick or a change of leader delivers late.
ON_TIME_SEC = 60.0
# 29 February is eight years apart around 2100; what has not come in nine years never comes.
HORIZON = timedelta(days=9 * 366)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_TIME = datetime(9990, 1, 1, tzinfo=UTC)
MIN_INTERVAL = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTES_A_DAY = 24 * 60
DAY = timedelta(days=1)

# croniter knows more than five-field cron (hashes, random, `L`, `#`); only the plain language passes this gate.
_VALUE = r"(?:\d{1,2}|[a-z]{3})"
_PART = rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/\d{{1,3}})?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*", re.ASCII | re.IGNORECASE)
# croniter reads `5-5` as the whole field; everyone else reads it as 5.
_SAME_ENDS = re.compile(rf"(?<![^,])({_VALUE})-\1(?![^,])", re.ASCII | re.IGNORECASE)
_ELAPSED = re.compile(r"\*(/\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Fires:
    """What a look at the clock found: fire times to start (oldest first), the next one, and how many get no run."""

    times: tuple[datetime, ...] = ()
    next_at: datetime | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Cron:
    """The values of five fields; `days` and `weekdays` (0 is Sunday) are None where the field is `*`.

    `either`: a day that fits one of the two is enough (automata/flow/cron.py has the rule).
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    elapsed: bool
    either: bool

    def on(self, day: date) -> bool:
        """Whether it fires on this day, at some time."""
        if day.month not in self.months:
            return False
        by_day = self.days is None or day.day in self.days
        by_weekday = self.weekdays is None or day.isoweekday() % 7 in self.weekdays
        return by_day or by_weekday if self.either else by_day and by_weekday

    def walls(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The wall times (naive) that match in [start, end), in order."""
        day = start.date()
        while day <= end.date():
            if self.on(day):
                first_hour = start.hour if day == start.date() else 0
                for hour in self.hours:
                    if hour >= first_hour:
                        yield from self._hour(day, hour, start, end)
            day += DAY

    def _hour(self, day: date, hour: int, start: datetime, end: datetime) -> Iterator[datetime]:
        for minute in self.minutes:
            wall = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - wall time has no zone yet
            if start <= wall < end:
                yield wall


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> Cron:
    """Read five fields or a nickname (`@daily`); names (`mon`), lists, ranges and steps are known. Raises Invalid."""
    fields = five_fields(text).split()
    if len(fields) != 5:
        raise _bad_cron(text, f"it has {len(fields)} fields instead of five")
    if wrong := [item for item in fields if not _FIELD.fullmatch(item)]:
        raise _bad_cron(text, f"`{wrong[0]}` is not a list of values, ranges and steps")
    try:
        minutes, hours, days, months, weekdays = croniter.expand(
            " ".join(_SAME_ENDS.sub(r"\1", item) for item in fields), strict=False
        )[0]
    except (CroniterError, ValueError) as error:
        raise _bad_cron(text, "a value is out of range or unknown") from error
    return Cron(
        minutes=_values(minutes, range(60)),
        hours=_values(hours, range(24)),
        days=None if "*" in days else frozenset(days),
        months=frozenset(_values(months, range(1, 13))),
        weekdays=None if "*" in weekdays else frozenset(weekdays),
        elapsed=bool(_ELAPSED.fullmatch(fields[1])),
        either=not both_days_must_hold(fields[2], fields[4]),
    )


def due_times(spec: Schedule, after: datetime, until: datetime, limit: int = MAX_FIRES) -> list[datetime]:
    """The first `limit` fire times in (after, until], as UTC instants, oldest first."""
    return list(islice(_fires(spec, _utc(after), _utc(until)), limit))


def next_times(spec: Schedule, after: datetime, count: int = 5) -> list[datetime]:
    """The next fire times; fewer (or none) where the cron line has no such day."""
    return due_times(spec, after, END_OF_TIME, count)


def plan_fires(spec: Schedule, last: datetime, now: datetime) -> Fires:
    """What to start for the time since `last` (the newest fire already decided, or when the schedule was made).

    `catchup: none` starts the newest due time if it is at most a minute old, `latest` starts it however old,
    `all` starts the newest 100. `starting_deadline_sec` sets the oldest age that is still started, in every mode.
    """
    if not spec.enabled:
        return Fires()
    now = _utc(now)
    due = _newest(spec, _utc(last), now)
    oldest = now - timedelta(seconds=min(_deadline_sec(spec), HORIZON.total_seconds()))
    times = [moment for moment in due if moment >= oldest][-_most(spec) :]
    return Fires(tuple(times), next(iter(next_times(spec, now, 1)), None), len(due) - len(times))


def _most(spec: Schedule) -> int:
    return MAX_FIRES if spec.catchup == "all" else 1


def _deadline_sec(spec: Schedule) -> float:
    if spec.starting_deadline_sec is not None:
        return spec.starting_deadline_sec
    return ON_TIME_SEC if spec.catchup == "none" else HORIZON.total_seconds()


def _newest(spec: Schedule, last: datetime, now: datetime) -> list[datetime]:
    """The newest fires (at most MAX_COUNTED) in (last, now], gathered window by window from the end."""
    window = DAY if spec.cron else min(_interval(spec) * MAX_COUNTED, HORIZON)
    last = max(last, now - HORIZON)
    found: deque[datetime] = deque()
    while now > last and len(found) < MAX_COUNTED:
        start = max(last, now - window)
        found.extendleft(reversed(due_times(spec, start, now, limit=MINUTES_A_DAY)))
        now = start
    return list(found)[-MAX_COUNTED:]


def _fires(spec: Schedule, after: datetime, until: datetime) -> Iterator[datetime]:
    until = min(until, END_OF_TIME)
    if spec.cron is None:
        return _interval_fires(_interval(spec), after, until)
    return _cron_fires(parse_cron(spec.cron), _zone(spec.timezone), after, until)


def _interval_fires(every: timedelta, after: datetime, until: datetime) -> Iterator[datetime]:
    """Multiples of the interval since 1970: every process agrees on them without asking when it was created."""
    moment = EPOCH + ((after - EPOCH) // every + 1) * every
    while moment <= until:
        yield moment
        moment += every


def _cron_fires(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    latest = after
    for moment in _moments(cron, zone, after, until):
        if moment > until:
            return
        if moment > latest:
            latest = moment
            yield moment


def _moments(cron: Cron, zone: ZoneInfo, after: datetime, until: datetime) -> Iterator[datetime]:
    """Fire times from `after` on, in order; one may come twice, and the last ones may lie beyond `until`.

    `seen` is the wall time up to which the clock on the wall has already been read.
    """
    seen, latest = _seen(zone, after), after
    for start, end, offset in _stretches(zone, after, until):
        first = _wall(start, offset)
        if cron.elapsed:
            seen = first
        elif next(cron.walls(seen, first), None):
            latest = start
            yield start
        for wall in cron.walls(max(seen, first), _wall(end, offset)):
            latest = (wall - offset).replace(tzinfo=UTC)
            yield latest
        seen = max(seen, _wall(end, offset))
        if end - latest > HORIZON:
            return


def _stretches(zone: ZoneInfo, start: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """Cut [start, until] into [start, end) with one UTC offset each, none longer than a day."""
    offset = _offset(zone, start)
    while start <= until:
        end = start + DAY
        following = _offset(zone, end)
        if following != offset:
            end = _transition(zone, start, end)
            following = _offset(zone, end)
        yield start, end, offset
        start, offset = end, following


def _seen(zone: ZoneInfo, moment: datetime) -> datetime:
    """The wall time reached at `moment`; in an hour that comes again, the end of that hour: it was all read before."""
    local = moment.astimezone(zone)
    if not local.fold:
        return local.replace(tzinfo=None)
    first = local.replace(fold=0).astimezone(UTC)
    return _wall(_transition(zone, first, moment), _offset(zone, first))


def _transition(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The second at which the offset changes, somewhere in (low, high]."""
    before, low = _offset(zone, low), low.replace(microsecond=0)
    high = high.replace(microsecond=0)
    while high - low > SECOND:
        middle = low + (high - low) // 2 // SECOND * SECOND
        low, high = (middle, high) if _offset(zone, middle) == before else (low, middle)
    return high


def _utc(moment: datetime) -> datetime:
    """A naive time would silently be read in the machine's own zone."""
    if moment.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    return moment.astimezone(UTC)


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _wall(moment: datetime, offset: timedelta) -> datetime:
    return (moment + offset).replace(tzinfo=None)


def _interval(spec: Schedule) -> timedelta:
    seconds = spec.interval_sec or 0
    if not MIN_INTERVAL.total_seconds() <= seconds <= HORIZON.total_seconds():
        raise Invalid(f"The schedule `{spec.name}` has neither a cron line nor a usable interval.", "bad_interval")
    return timedelta(seconds=seconds)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Invalid(f"There is no time zone `{name}`.", "bad_timezone", "Use an IANA name.") from error


def _values(expanded: list[Any], whole: range) -> tuple[int, ...]:
    return tuple(whole) if "*" in expanded else tuple(sorted(expanded))


def _bad_cron(text: str, why: str) -> Invalid:
    return Invalid(f"`{text}` is not a five-field cron line: {why}.", "bad_cron")
