"""Times in templates mean the same on every machine, whatever its own zone is."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from automata.flow.budget import Budget
from automata.flow.template import TemplateError
from automata.flow.timefilters import format_time, parse_time


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"], autouse=True)
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A machine in a zone of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", "%a, %d %b %Y %H:%M:%S %Z"),
        ("1970-01-01 00:00 UTC", "%Y-%m-%d %H:%M %Z"),
        ("1970-01-01 00:00 utc", "%Y-%m-%d %H:%M %Z"),
        ("1970-01-01 01:00 +0100", "%Y-%m-%d %H:%M %z"),
        ("1970-01-01 %Z UTC", "%Y-%m-%d %%Z %Z"),
        ("1970-01-01", "%Y-%m-%d"),
    ],
)
def test_a_time_is_read_alike_on_every_machine(text: str, format: str) -> None:
    assert parse_time(Budget(), text, format) == 0


@pytest.mark.parametrize("zone", ["CET", "CEST", "EST", "EDT", "IST", "PST", "Z", "Berlin"])
def test_the_abbreviation_of_a_zone_is_refused_on_every_machine(zone: str) -> None:
    with pytest.raises(TemplateError, match="`%Z` reads UTC and GMT"):
        parse_time(Budget(), f"2026-01-05 12:00 {zone}", "%Y-%m-%d %H:%M %Z")


def test_a_time_is_written_alike_on_every_machine() -> None:
    assert format_time(Budget(), 0, "%Y-%m-%d %H:%M %Z %z") == "1970-01-01 00:00 UTC +0000"
    assert format_time(Budget(), 0, "%H:%M %Z", "Europe/Berlin") == "01:00 CET"


@pytest.mark.parametrize("zone", ["localtime", "posixrules", "Factory"])
def test_the_zone_of_the_machine_is_no_zone(zone: str) -> None:
    with pytest.raises(TemplateError, match="IANA name"):
        format_time(Budget(), 0, "%H", zone)
