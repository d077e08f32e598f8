"""What templates see of an answer, and what a failure says of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from automata.steps.contract import HttpRequest, HttpResponse
from automata.steps.http_response import UnreadableBody, failure_of, parse_body, retry_after_ms, view

NOW = datetime(2026, 1, 5, 9, 0, 0, tzinfo=UTC)
JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": [1, 2.5, null]}', JSON, {"a": [1, 2.5, None]}),
        (b"7", "application/problem+json; charset=utf-8", 7),
        (b"[1]", "Application/JSON;charset=UTF-8", [1]),
        (b"\xef\xbb\xbf[1]", JSON, [1]),
        (b'"\xe9"', "application/json; charset=iso-8859-1", "é"),
        (b"", JSON, None),
        (b" \r\n", JSON, None),
        (b'"\\u0000"', JSON, "\x00"),
        (b'{"a":1}', "text/plain", '{"a":1}'),
        (b"", "text/html", ""),
        (b"\xe9", "text/plain; charset=latin-1", "é"),
        (b"\xe9", 'text/plain; charset="windows-1252"', "é"),
        (b"\xe9", "text/plain", "�"),
        (b"a", "text/plain; charset=no-such-charset", "a"),
        (rb"\ud800", "text/plain; charset=unicode_escape", r"\ud800"),
        (b"+2AA-", "text/plain; charset=utf-7", "+2AA-"),
        (b"789c", "text/plain; charset=hex", "789c"),
        (b"\xd8\x00", "text/plain; charset=utf-16-be", "�"),
        (b"x", "", "x"),
    ],
)
def test_a_body_is_read_by_its_content_type(body: bytes, content_type: str, expected: Any) -> None:
    assert parse_body(body, content_type) == expected


@pytest.mark.parametrize("body", [b"{", b"<html>", b'"\\ud800"', b"NaN", b'"\xff"', b"[" * 5000, b"{}x"])
def test_what_calls_itself_json_and_is_not_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableBody, match="calls itself JSON"):
        parse_body(body, JSON)


def test_header_names_are_lower_case_and_repeats_are_joined() -> None:
    response = HttpResponse(200, (("Content-Type", JSON), ("X-A", "1"), ("x-a", "2")), b"{}")
    assert view(response) == {"status_code": 200, "headers": {"content-type": JSON, "x-a": "1, 2"}, "body": {}}


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
