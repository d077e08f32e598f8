"""Schedules: due times, the rule for clocks that jump, catch-up, and the cron lines that are refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automata.engine.schedule import MAX_FIRES, due_times, next_times, parse_cron, plan_fires
from automata.errors import Invalid
from automata.flow.cron import CronError, check_cron
from automata.flow.model import Schedule


def cron(line: str, zone: str = "UTC", **rest: object) -> Schedule:
    return Schedule("s", cron=line, timezone=zone, **rest)  # type: ignore[arg-type]


def every(seconds: float, **rest: object) -> Schedule:
    return Schedule("s", interval_sec=seconds, **rest)  # type: ignore[arg-type]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def texts(moments: list[datetime] | tuple[datetime, ...]) -> list[str]:
    return [moment.strftime("%m-%d %H:%M") for moment in moments]


# --- cron lines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 9 * * 1-5", ["01-05 09:00", "01-06 09:00"]),
        ("0 9 * * mon", ["01-05 09:00", "01-12 09:00"]),
        ("0 0 1 jan,jun *", ["06-01 00:00", "01-01 00:00"]),
        ("*/20 3 * * *", ["01-03 03:00", "01-03 03:20"]),
        ("5/25 3 * * *", ["01-03 03:05", "01-03 03:30"]),
        ("0 5-5 * * *", ["01-03 05:00", "01-04 05:00"]),
        ("0 0 * * 7", ["01-04 00:00", "01-11 00:00"]),
        ("0 0 15 * 1", ["01-05 00:00", "01-12 00:00"]),
        ("30 10-14/2 * * *", ["01-03 10:30", "01-03 12:30"]),
    ],
)
def test_five_fields_mean_what_cron_means(line: str, expected: list[str]) -> None:
    assert texts(next_times(cron(line), at("2026-01-02T23:00"), 2)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0 9 */1 * MON", ["01-05 09:00", "01-12 09:00"]),
        ("0 9 */2 * MON", ["01-05 09:00", "01-19 09:00"]),
        ("0 9 15 * */2", ["01-15 09:00", "02-15 09:00"]),
        ("0 9 * * */3", ["01-03 09:00", "01-04 09:00"]),
        ("0 9 *,15 * MON", ["01-05 09:00", "01-12 09:00"]),
        ("0 9 1,15 * MON", ["01-05 09:00", "01-12 09:00"]),
        ("0 9 7 * 4", ["01-07 09:00", "01-08 09:00"]),
        ("0 9 1-31 * MON", ["01-03 09:00", "01-04 09:00"]),
        ("0 9 1-31/2 * MON", ["01-03 09:00", "01-05 09:00"]),
        ("0 9 31 2 */7", []),
    ],
)
def test_both_day_fields_must_hold_where_one_begins_with_a_star_and_else_either(line: str, expected: list[str]) -> None:
    assert texts(next_times(cron(line), at("2026-01-02T23:00"), 2)) == expected


@pytest.mark.parametrize(
    ("nickname", "line"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        (" @Annually ", "0 0 1 1 *"),
    ],
)
def test_a_nickname_fires_as_its_five_fields(nickname: str, line: str) -> None:
    check_cron(nickname)
    moments = next_times(cron(nickname, "Europe/Berlin"), at("2026-01-02T23:00"), 3)
    assert moments == next_times(cron(line, "Europe/Berlin"), at("2026-01-02T23:00"), 3)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@reboot",
        "@every 5m",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "r * * * *",
        "h * * * *",
        "0 0 l * *",
        "0 0 15w * *",
        "0 0 * * 1#2",
        "0 0 * foo *",
        "-1 * * * *",
        "0 0 ? * *",
        "٣ * * * *",
    ],
)
def test_what_is_not_plain_five_field_cron_is_refused(line: str) -> None:
    with pytest.raises(Invalid, match="five-field"):
        next_times(cron(line), at("2026-01-01T00:00"))


numbers = st.integers(0, 60).map(str) | st.sampled_from(["jan", "MON", "sun", "dec"])
parts = (
    st.just("*")
    | numbers
    | st.tuples(numbers, numbers).map("-".join)
    | st.tuples(st.sampled_from(["*", "3", "1-9"]), numbers).map("/".join)
)
lines = st.lists(st.lists(parts, min_size=1, max_size=2).map(",".join), min_size=5, max_size=5).map(" ".join)


@given(lines)
def test_a_line_that_validation_accepts_is_one_the_engine_can_run(line: str) -> None:
    try:
        check_cron(line)
    except CronError:
        return
    parse_cron(line)


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_a_day_that_never_comes_ends_quickly_and_empty(line: str) -> None:
    started = time.process_time()
    assert next_times(cron(line, "Europe/Berlin"), at("2026-01-01T00:00")) == []
    assert plan_fires(cron(line, catchup="all"), at("1971-01-01T00:00"), at("2026-01-01T00:00")).next_at is None
    assert time.process_time() - started < 10


def test_a_leap_day_is_found_across_a_century() -> None:
    found = next_times(cron("0 0 29 2 *"), at("2095-01-01T00:00"), 2)
    assert [moment.year for moment in found] == [2096, 2104]


def test_an_unknown_zone_and_a_senseless_interval_are_refused() -> None:
    for bad in (cron("0 0 * * *", "Mars/Base"), cron("0 0 * * *", "../etc/passwd"), every(0), every(-5), every(1e300)):
        with pytest.raises(Invalid):
            next_times(bad, at("2026-01-01T00:00"))


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_times(every(5), datetime(2026, 1, 1))  # noqa: DTZ001


# --- windows -------------------------------------------------------------------------------------------------------


def test_due_times_leave_out_the_start_and_include_the_end() -> None:
    assert texts(due_times(cron("0 * * * *"), at("2026-01-01T10:00"), at("2026-01-01T12:00"))) == [
        "01-01 11:00",
        "01-01 12:00",
    ]


def test_intervals_are_multiples_since_1970_whenever_they_are_asked() -> None:
    spec = every(7200)
    assert texts(next_times(spec, at("2026-01-01T00:00"), 2)) == ["01-01 02:00", "01-01 04:00"]
    assert texts(next_times(spec, at("2026-01-01T01:59"), 2)) == ["01-01 02:00", "01-01 04:00"]


def test_no_more_due_times_than_asked() -> None:
    assert len(due_times(every(1), at("2026-01-01T00:00"), at("2027-01-01T00:00"))) == 100
    assert len(due_times(cron("* * * * *"), at("2026-01-01T00:00"), at("2027-01-01T00:00"), 7)) == 7


# --- clocks that jump ----------------------------------------------------------------------------------------------

SPRING, AUTUMN = "2026-03-29T00:00", "2026-10-25T00:00"  # Berlin: 01:00 UTC, 02:00 -> 03:00 and 03:00 -> 02:00


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 2 * * *", ["03-29 01:00", "03-30 00:30"]),  # 02:30 does not exist: 03:00
        ("*/10 2 * * *", ["03-29 01:00", "03-30 00:00"]),  # six times that do not exist: once
        ("0 2,3 * * *", ["03-29 01:00", "03-30 00:00"]),  # 03:00 itself is the same instant: once
        ("30 2-3 * * *", ["03-29 01:00", "03-29 01:30"]),
        ("30 * * * *", ["03-29 00:30", "03-29 01:30"]),  # elapsed time: nothing is made up for
        ("30 */2 * * *", ["03-29 02:30", "03-29 04:30"]),
    ],
)
def test_a_local_time_that_does_not_exist_fires_once_after_the_gap(line: str, expected: list[str]) -> None:
    assert texts(next_times(cron(line, "Europe/Berlin"), at(SPRING), 2)) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 2 * * *", ["10-25 00:30", "10-26 01:30"]),
        ("30 1-3 * * *", ["10-25 00:30", "10-25 02:30"]),
        ("30 * * * *", ["10-25 00:30", "10-25 01:30"]),
        ("30 */2 * * *", ["10-25 00:30", "10-25 01:30"]),
    ],
)
def test_a_local_time_that_exists_twice_fires_at_the_first_unless_time_elapses(line: str, expected: list[str]) -> None:
    assert texts(next_times(cron(line, "Europe/Berlin"), at(AUTUMN), 2)) == expected


def test_looking_again_in_the_middle_of_a_repeated_hour_fires_nothing_twice() -> None:
    """02:30 was over in the first pass; a scheduler that restarts in the second one must not find it again."""
    spec = cron("30 2 * * *", "Europe/Berlin")
    for minute in range(1, 120):
        found = next_times(spec, at("2026-10-25T00:30") + timedelta(minutes=minute, seconds=7), 1)
        assert texts(found) == ["10-26 01:30"]


# --- catch-up ------------------------------------------------------------------------------------------------------

NOON = at("2026-01-10T12:00:20")


def test_without_catch_up_only_a_fire_that_is_on_time_starts() -> None:
    spec = cron("0 * * * *")
    on_time = plan_fires(spec, at("2026-01-10T09:00"), NOON)
    assert (texts(on_time.times), on_time.missed) == (["01-10 12:00"], 2)
    late = plan_fires(spec, at("2026-01-10T09:00"), at("2026-01-10T12:30"))
    assert (texts(late.times), late.missed) == ([], 3)


def test_latest_starts_the_newest_however_late() -> None:
    fires = plan_fires(cron("0 0 * * *", catchup="latest"), at("2026-01-01T00:00"), NOON)
    assert (texts(fires.times), fires.missed) == (["01-10 00:00"], 8)


def test_all_starts_each_one_oldest_first() -> None:
    fires = plan_fires(cron("0 0 * * *", catchup="all"), at("2026-01-07T00:00"), NOON)
    assert (texts(fires.times), fires.missed) == (["01-08 00:00", "01-09 00:00", "01-10 00:00"], 0)


def test_the_starting_deadline_bounds_every_mode() -> None:
    for mode, expected in [("none", ["10:00"]), ("latest", ["10:00"]), ("all", ["08:00", "10:00"])]:
        spec = cron("0 */2 * * *", catchup=mode, starting_deadline_sec=4 * 3600)
        fires = plan_fires(spec, at("2026-01-10T00:00"), at("2026-01-10T11:59"))
        assert [moment.strftime("%H:%M") for moment in fires.times] == expected
        assert fires.missed == 5 - len(expected)
    nothing = plan_fires(cron("0 0 * * *", catchup="all", starting_deadline_sec=1), at("2026-01-01T00:00"), NOON)
    assert (nothing.times, nothing.missed) == ((), 9)


def test_the_next_fire_is_after_now() -> None:
    assert plan_fires(cron("0 12 * * *"), NOON, NOON).next_at == at("2026-01-11T12:00")
    assert plan_fires(every(60), NOON, NOON).next_at == at("2026-01-10T12:01")


def test_a_disabled_schedule_fires_nothing() -> None:
    fires = plan_fires(cron("* * * * *", enabled=False, catchup="all"), at("2026-01-01T00:00"), NOON)
    assert (fires.times, fires.next_at, fires.missed) == ((), None, 0)


@pytest.mark.parametrize("spec", [cron("* * * * *", catchup="all"), every(1, catchup="all")])
def test_catch_up_is_never_more_than_a_hundred_and_takes_the_newest(spec: Schedule) -> None:
    started = time.process_time()
    fires = plan_fires(spec, at("1970-01-02T00:00"), NOON)
    assert time.process_time() - started < 10
    step = fires.times[1] - fires.times[0]
    assert len(fires.times) == MAX_FIRES
    assert NOON - fires.times[-1] < step
    assert fires.times[0] == fires.times[-1] - 99 * step
    assert fires.missed > 100


@given(
    st.sampled_from([cron("*/7 * * * *"), cron("0 5 * * *"), cron("13 4 1,15 * *"), every(90), every(86_000)]),
    st.sampled_from(["none", "latest", "all"]),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
)
def test_looking_often_or_seldom_starts_no_fire_twice(spec: Schedule, mode: str, first: int, second: int) -> None:
    """A window cut in two finds what the whole window finds, up to what each look leaves out as too late."""
    spec = Schedule("s", cron=spec.cron, interval_sec=spec.interval_sec, catchup=mode)  # type: ignore[arg-type]
    start = at("2026-01-01T00:00")
    middle = start + timedelta(seconds=first)
    end = middle + timedelta(seconds=second)
    one, two = plan_fires(spec, start, middle), plan_fires(spec, middle, end)
    assert not set(one.times) & set(two.times)
    assert all(start < moment <= middle for moment in one.times)
    assert all(middle < moment <= end for moment in two.times)
    if mode == "all":
        whole = plan_fires(spec, start, end)
        assert whole.times == (one.times + two.times)[-MAX_FIRES:]
