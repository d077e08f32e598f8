"""When a delay is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from automata.engine.decision import Done, WaitUntil
from automata.errors import Invalid
from automata.steps.delay import MAX_DELAY_SEC, DelayStep

NOW = datetime(2026, 1, 5, 9, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("config", "seconds"),
    [
        ({"duration_sec": 30}, 30),
        ({"duration_sec": 0.25}, 0.25),
        ({"duration_sec": "30"}, 30),
        ({"duration_sec": 0}, 0),
        ({"duration_ms": 1500}, 1.5),
        ({"duration_ms": None, "duration_sec": 1}, 1),
        ({"duration_sec": 30 * 86_400}, 30 * 86_400),
        ({"duration_sec": MAX_DELAY_SEC}, MAX_DELAY_SEC),
        ({"until": "2026-01-05T09:01:00Z"}, 60),
        ({"until": "2026-01-05T11:01:00+02:00"}, 60),
        ({"until": "2026-01-05T09:01:00"}, 60),
        ({"until": "2026-01-06"}, 15 * 3600),
        ({"until": NOW.timestamp() + 90.5}, 90.5),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
        ({"until": 0}, 0),
    ],
)
def test_a_delay_ends_so_many_seconds_from_now(config: dict[str, Any], seconds: float) -> None:
    assert DelayStep().begin(config, NOW) == WaitUntil(NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({}, "exactly one"),
        ({"duration_sec": 1, "until": "2027-01-01"}, "exactly one"),
        ({"minutes": 1}, "exactly one"),
        ({"duration_sec": -1}, "negative"),
        ({"duration_ms": -0.001}, "negative"),
        ({"duration_sec": MAX_DELAY_SEC + 1}, "3660 days"),
        ({"duration_ms": 1e308}, "3660 days"),
        ({"until": "9999-12-31T23:59:59Z"}, "3660 days"),
        ({"until": NOW.timestamp() * 1000}, "3660 days"),
        ({"duration_sec": "soon"}, "number"),
        ({"duration_sec": True}, "number"),
        ({"duration_sec": float("nan")}, "number"),
        ({"duration_sec": float("inf")}, "number"),
        ({"duration_sec": 10**400}, "number"),
        ({"duration_sec": [1]}, "number"),
        ({"until": "tomorrow"}, "no time"),
        ({"until": ""}, "no time"),
        ({"until": {}}, "number"),
    ],
)
def test_a_delay_that_makes_no_sense_is_a_bad_config(config: dict[str, Any], word: str) -> None:
    with pytest.raises(Invalid, match=word) as caught:
        DelayStep().begin(config, NOW)
    assert caught.value.code == "bad_config"


def test_slept_ms_counts_from_the_start_to_the_wake_up() -> None:
    assert DelayStep().wake(NOW, NOW + timedelta(seconds=1.2345)) == Done({"slept_ms": 1234})
    assert DelayStep().wake(NOW, NOW - timedelta(seconds=1)) == Done({"slept_ms": 0})
