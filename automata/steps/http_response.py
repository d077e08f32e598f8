"""HttpResponse -> what templates see, or why it counts as a failure. Pure but for the clock of `Retry-After` dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from automata.engine.retry import Failure
from automata.steps.contract import HttpRequest, HttpResponse
from automata.steps.http_body import UnreadableBody, excerpt_text, parse_body, parse_json, parse_text
from automata.steps.masking import Mask
from automata.steps.urls import redacted

EXCERPT_CHARS = 300
MAX_SECRET_CHARS = 8_192
MAX_RETRY_AFTER = timedelta(days=366)

Reading = Literal["auto", "json", "text", "none"]  # the values of `response`


def view(response: HttpResponse, reading: Reading = "auto", charset: str | None = None) -> dict[str, Any]:
    """`{status_code, headers, body}`: names in lower case; see `header_map` for repeats.

    A body that `auto` cannot read is no failure of the step: `body` is left out, and `body_error` says why. Raises
    UnreadableBody for one that is not the `json` or `text` that the flow asks for.
    """
    headers = header_map(response)
    outputs: dict[str, Any] = {"status_code": response.status, "headers": headers}
    try:
        return outputs | {"body": _read(response, reading, charset)}
    except UnreadableBody as error:
        if reading != "auto":
            raise
        return outputs | {"body_error": str(error)}


def _read(response: HttpResponse, reading: Reading, charset: str | None) -> Any:
    if reading == "none":
        return None
    if response.body_error:
        raise UnreadableBody(response.body_error)
    read = {"auto": parse_body, "json": parse_json, "text": parse_text}[reading]
    return read(response.body, response.header("content-type") or "", charset)


def header_map(response: HttpResponse) -> dict[str, Any]:
    """By names in lower case. Repeats are joined by commas, which RFC 9110 (5.3) allows for all but `Set-Cookie`:
    of that a name that comes more than once has the list.
    """
    headers: dict[str, Any] = {}
    for name, value in response.headers:
        lower = name.lower()
        if lower not in headers:
            headers[lower] = value
        elif lower == "set-cookie":
            known = headers[lower]
            headers[lower] = [*known, value] if isinstance(known, list) else [known, value]
        else:
            headers[lower] = f"{headers[lower]}, {value}"
    return headers


def failure_of(request: HttpRequest, response: HttpResponse, mask: Mask) -> Failure:
    """The failure that a status outside `ok_status` stands for; whether it is retried is the policy's matter."""
    excerpt = _excerpt(response, mask)
    return Failure(
        message=f"{request.method} {redacted(request.url)} answered {response.status}{excerpt}",
        code="http_status",
        status=response.status,
        retry_after_ms=retry_after_ms(response, datetime.now(UTC)),
    )


def retry_after_ms(response: HttpResponse, now: datetime) -> int | None:
    """`Retry-After` in milliseconds, 0 to a year; None without one. A date is read against the server's own `Date`."""
    text = (response.header("retry-after") or "").strip()
    if text.isascii() and text.isdigit():
        delay = timedelta(seconds=min(int(text[:12]), MAX_RETRY_AFTER.total_seconds()))
    elif (at := _date(text)) is None:
        return None
    else:
        delay = at - (_date(response.header("date") or "") or now)
    return int(max(timedelta(0), min(delay, MAX_RETRY_AFTER)).total_seconds() * 1000)


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _excerpt(response: HttpResponse, mask: Mask) -> str:
    # No 10 MiB page is decoded to show 300 characters of it; the margin is for a secret that the cut would halve.
    head = response.body[: EXCERPT_CHARS * 4 + MAX_SECRET_CHARS]
    text = " ".join(mask(excerpt_text(head, response.header("content-type") or "")).split())
    if not text:
        return "."
    return f": {text[:EXCERPT_CHARS]}{'…' if len(text) > EXCERPT_CHARS else ''}"
