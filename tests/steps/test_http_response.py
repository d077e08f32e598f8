"""What templates see of an answer, and what a failure says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from automata.steps.contract import HttpRequest, HttpResponse
from automata.steps.http_response import failure_of, retry_after_ms, view

NOW = datetime(2026, 1, 5, 9, 0, 0, tzinfo=UTC)
JSON = "application/json"


def test_header_names_are_lower_case_and_repeats_are_joined() -> None:
    response = HttpResponse(200, (("Content-Type", JSON), ("X-A", "1"), ("x-a", "2")), b"{}")
    assert view(response) == {"status_code": 200, "headers": {"content-type": JSON, "x-a": "1, 2"}, "body": {}}


@pytest.mark.parametrize(
    ("sent", "seen"),
    [
        (["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"], "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
        (["a=1", "b=2, 3"], ["a=1", "b=2, 3"]),
        (["a=1", "a=1", "c=4; Path=/"], ["a=1", "a=1", "c=4; Path=/"]),
    ],
)
def test_cookies_are_not_joined(sent: list[str], seen: Any) -> None:
    names = ["Set-Cookie", "set-cookie", "SET-COOKIE"]
    response = HttpResponse(200, (("X-A", "1"), *zip(names, sent, strict=False), ("X-A", "2")))
    assert view(response)["headers"] == {"x-a": "1, 2", "set-cookie": seen}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((), None),
        ((("Retry-After", "120"),), 120_000),
        ((("retry-after", " 0 "),), 0),
        ((("Retry-After", "Mon, 05 Jan 2026 09:01:30 GMT"),), 90_000),
        ((("Retry-After", "Mon, 05 Jan 2026 08:00:00 GMT"),), 0),
        ((("Retry-After", "Mon, 05 Jan 2026 10:00:30 GMT"), ("Date", "Mon, 05 Jan 2026 10:00:00 GMT")), 30_000),
        ((("Retry-After", "9" * 400),), 366 * 86_400_000),
        ((("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),), 366 * 86_400_000),
        ((("Retry-After", "-5"),), None),
        ((("Retry-After", "1.5"),), None),
        ((("Retry-After", "soon"),), None),
        ((("Retry-After", "²"),), None),
        ((("Retry-After", ""),), None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers: tuple[tuple[str, str], ...], expected: int | None) -> None:
    assert retry_after_ms(HttpResponse(503, headers), NOW) == expected


def test_a_failure_names_method_url_status_and_the_first_300_characters() -> None:
    request = HttpRequest("POST", "https://api.test/x?token=hunter2")
    failure = failure_of(request, HttpResponse(503, (("Retry-After", "2"),), b"down \n " + b"x" * 10_000), str)
    assert failure.message == "POST https://api.test/x answered 503: down " + "x" * 295 + "…"
    assert (failure.code, failure.status, failure.retryable, failure.retry_after_ms) == (
        "http_status",
        503,
        False,
        2000,
    )
    assert failure_of(request, HttpResponse(404), str).message == "POST https://api.test/x answered 404."


def test_the_excerpt_is_masked_before_it_is_cut() -> None:
    body = b"x" * 295 + b"hunter2hunter2"
    failure = failure_of(
        HttpRequest("GET", "https://a.test/"),
        HttpResponse(500, (), body),
        lambda text: text.replace("hunter2hunter2", "***"),
    )
    assert failure.message.endswith("xxx***")
