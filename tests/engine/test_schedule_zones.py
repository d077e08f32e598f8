"""The written rule for clocks that jump, minute by minute, at every transition of every IANA zone, 2024 to 2027."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest

from automata.engine.schedule import due_times
from automata.flow.model import Schedule

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
# Windows begin before the jump, in every part of it, and after it.
AROUND = timedelta(hours=30)

LINES = (
    "30 2 * * *",
    "0 0 * * *",
    "*/15 0-3 * * *",
    "0 2,3 * * *",
    "*/30 * * * *",
    "15 */2 * * *",
    "59 23 * * 6,0",
    "7 1 8-14 3,10,11 *",
    "45 0,1,22,23 * * sun",
    "0 12 31 * 5",
)


@dataclass(frozen=True)
class Jump:
    """At `at` the offset changes; zones that jump alike at the same instant are one case."""

    at: datetime
    before: timedelta
    after: timedelta


def offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    found = moment.astimezone(zone).utcoffset()
    assert found is not None
    return found


def jumps(zone: ZoneInfo) -> Iterator[Jump]:
    moment, before = FIRST, offset(zone, FIRST)
    while moment < LAST:
        following = moment + 8 * HOUR
        if (after := offset(zone, following)) != before:
            minute = moment
            while offset(zone, minute) == before:
                minute += MINUTE
            yield Jump(minute, before, after)
            before = after
        moment = following


def all_jumps() -> dict[Jump, ZoneInfo]:
    found: dict[Jump, ZoneInfo] = {}
    for name in sorted(available_timezones()):
        for jump in jumps(zone := ZoneInfo(name)):
            found.setdefault(jump, zone)
    return found


# --- the rule, said again without any arithmetic -------------------------------------------------------------------

NAMES = {"sun": 0}
RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def expand(text: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        if span == "*":
            first, last = low, high
        else:
            first = NAMES[start] if start in NAMES else int(start)
            last = int(end) if end else first
        values |= set(range(first, last + 1, int(step or 1)))
    return values


class Matcher:
    def __init__(self, line: str) -> None:
        fields = line.split()
        self.sets = [expand(text, *bounds) for text, bounds in zip(fields, RANGES, strict=True)]
        self.either = fields[2] != "*" and fields[4] != "*"
        self.elapsed = fields[1].startswith("*")

    def __call__(self, wall: datetime) -> bool:
        minutes, hours, days, months, weekdays = self.sets
        if wall.minute not in minutes or wall.hour not in hours or wall.month not in months:
            return False
        by_day, by_weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (by_day or by_weekday) if self.either else (by_day and by_weekday)


def by_the_rule(matches: Matcher, walls: list[tuple[datetime, datetime, bool]]) -> list[datetime]:
    """`walls`: (instant, what the clock on the wall shows, whether it showed it before), a minute apart."""
    fires = []
    for (_, earlier, _), (instant, wall, again) in pairwise(walls):
        fire = matches(wall) and (matches.elapsed or not again)
        skipped = earlier + MINUTE
        while skipped < wall and not matches.elapsed and not fire:
            fire = matches(skipped)
            skipped += MINUTE
        if fire:
            fires.append(instant)
    return fires


def watch(zone: ZoneInfo, start: datetime, end: datetime) -> list[tuple[datetime, datetime, bool]]:
    watched = []
    while start <= end:
        local = start.astimezone(zone)
        watched.append((start, local.replace(tzinfo=None, fold=0), bool(local.fold)))
        start += MINUTE
    return watched


@pytest.fixture(scope="module")
def known_jumps() -> dict[Jump, ZoneInfo]:
    return all_jumps()


def test_there_are_jumps_of_every_kind_to_test(known_jumps: dict[Jump, ZoneInfo]) -> None:
    sizes = {jump.after - jump.before for jump in known_jumps}
    assert {HOUR, -HOUR, HOUR / 2, -HOUR / 2} <= sizes
    assert len(known_jumps) > 100


def test_every_zone_fires_by_the_rule_around_every_jump(known_jumps: dict[Jump, ZoneInfo]) -> None:
    cases = [(line, Matcher(line)) for line in LINES]
    for jump, zone in known_jumps.items():
        walls = watch(zone, jump.at - AROUND - MINUTE, jump.at + AROUND)
        for line, matches in cases:
            expected = by_the_rule(matches, walls)
            spec = Schedule("s", cron=line, timezone=str(zone))
            for start in (jump.at - AROUND - MINUTE, jump.at - MINUTE, jump.at, jump.at + 17 * MINUTE, jump.at + HOUR):
                found = due_times(spec, start, jump.at + AROUND, 1000)
                assert found == [moment for moment in expected if moment > start], (line, zone, start)
