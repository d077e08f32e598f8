"""When a broken wire is tried again, and when a silent one is called broken. Time is a number here."""

from __future__ import annotations

import pytest

from automata.broker.backoff import FIRST_SEC, MAX_SEC, Backoff, Watchdog

PROMISED_SEC = 30.0


def test_pauses_double_up_to_a_limit_and_start_anew_after_a_success() -> None:
    backoff = Backoff(chance=lambda: 1.0)
    pauses = [backoff.next() for _ in range(2000)]
    assert pauses[:3] == [FIRST_SEC, 2 * FIRST_SEC, 4 * FIRST_SEC]
    assert max(pauses) == MAX_SEC == pauses[-1]
    backoff.reset()
    assert backoff.next() == FIRST_SEC


def test_half_of_a_pause_is_chance() -> None:
    assert Backoff(chance=lambda: 0.0).next() == FIRST_SEC / 2
    assert len({Backoff().next() for _ in range(20)}) > 1


class Hours:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("poll_sec", [0.5, 1.0, 2.0, 5.0])
def test_an_ear_that_is_silent_while_polls_find_work_is_rebuilt_within_the_promise(poll_sec: float) -> None:
    hours = Hours()
    watchdog = Watchdog(hours)
    watchdog.heard()
    silent_from = hours.now
    while True:
        hours.now += poll_sec
        if watchdog.unannounced():
            break
    assert hours.now - silent_from <= PROMISED_SEC


def test_an_ear_that_hears_now_and_then_is_left_alone() -> None:
    hours = Hours()
    watchdog = Watchdog(hours)
    for _ in range(1000):
        hours.now += 10
        assert not watchdog.unannounced()
        watchdog.heard()


def test_single_finds_far_apart_are_no_silence() -> None:
    hours = Hours()
    watchdog = Watchdog(hours)
    for _ in range(1000):
        hours.now += 61  # a timer that is due each minute is work that nothing announces
        assert not watchdog.unannounced()


def test_rebuilding_what_has_nothing_to_hear_becomes_rare() -> None:
    hours = Hours()
    watchdog = Watchdog(hours)
    rebuilds = []
    for _ in range(3600):
        hours.now += 2
        if watchdog.unannounced():
            rebuilds.append(hours.now)
    assert len(rebuilds) < 20
    assert rebuilds[-1] - rebuilds[-2] >= 600
    watchdog.heard()
    hours.now += 2
    watchdog.unannounced()
    hours.now += 16
    assert watchdog.unannounced(), "after a ring its patience is short again"
