"""The `delay` step: a point in time, computed when the step begins. It holds no worker; the engine keeps the timer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from automata.engine.decision import Done, WaitUntil
from automata.errors import Invalid
from automata.flow.steptypes import MAX_DELAY_SEC

_KEYS = ("duration_sec", "duration_ms", "until")


class DelayStep:
    """Outputs `slept_ms`."""

    def begin(self, config: Mapping[str, Any], now: datetime) -> WaitUntil:
        """When the step is over, never before `now`. Raises Invalid `bad_config`."""
        settings = {key: value for key, value in config.items() if value is not None}
        if len(settings) != 1 or (key := next(iter(settings))) not in _KEYS:
            _bad("A delay takes exactly one of `duration_sec`, `duration_ms` and `until`.")
        seconds = _remaining(settings[key], now) if key == "until" else _duration(key, settings[key])
        if seconds > MAX_DELAY_SEC:
            _bad(f"`{key}` is more than {MAX_DELAY_SEC // 86_400} days ahead, the longest delay there is.")
        return WaitUntil(now + timedelta(seconds=seconds))

    def wake(self, since: datetime, now: datetime, arrived: Any = None) -> Done:
        """`slept_ms` by the clock that was given, so that it counts the sweep's lag too."""
        return Done({"slept_ms": max(0, round((now - since).total_seconds() * 1000))})


def _duration(key: str, value: Any) -> float:
    number = _number(key, value)
    if number < 0:
        _bad(f"`{key}` is {number:g}; a delay cannot be negative.")
    return number / 1000 if key == "duration_ms" else number


def _remaining(value: Any, now: datetime) -> float:
    """Seconds until a time that was given as ISO 8601 text or as seconds since 1970; 0 for one that has passed."""
    if isinstance(value, str):
        return max(0.0, (_time(value) - now).total_seconds())
    return max(0.0, _number("until", value) - now.timestamp())


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        _bad(f"`until` is {text[:60]!a}, which is no time such as 2026-01-05T09:00:00Z.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(key: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        _bad(f"`{key}` must be a number; it is {ascii(value)[:60]}.")
    return number


def _bad(message: str) -> NoReturn:
    raise Invalid(message, code="bad_config")
