"""HttpResponse -> what templates see, or why it counts as a failure. Pure but for the clock of `Retry-After` dates."""

from __future__ import annotations

import codecs
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from automata.engine.retry import Failure
from automata.flow.exact_json import loads
from automata.steps.contract import HttpRequest, HttpResponse
from automata.steps.masking import Mask
from automata.steps.urls import redacted

EXCERPT_CHARS = 300
MAX_SECRET_CHARS = 8_192
MAX_RETRY_AFTER = timedelta(days=366)

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
# Python's codec table also holds codecs that are no charsets (`unicode_escape`); a server may not pick those.
_CHARSETS = re.compile(r"utf-(8|16|32)(-[lb]e)?|ascii|latin|iso|cp\d|mac|koi8|shift|euc|gb|big5|hz|johab|tis|kz|ptcp")
_JSON_TYPE = re.compile(r"application/json|[a-z0-9.+-]+/[a-z0-9.+-]*\+json|text/json")
_BOM = codecs.BOM_UTF8


class UnreadableBody(Exception):
    """The body is not what its content type says. The text is one sentence."""


def view(response: HttpResponse) -> dict[str, Any]:
    """`{status_code, headers, body}`: names in lower case, repeats joined, JSON parsed. Raises UnreadableBody."""
    headers = joined_headers(response)
    return {
        "status_code": response.status,
        "headers": headers,
        "body": parse_body(response.body, headers.get("content-type", "")),
    }


def joined_headers(response: HttpResponse) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in response.headers:
        lower = name.lower()
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return headers


def parse_body(body: bytes, content_type: str) -> Any:
    """JSON for a JSON content type (null when empty), else text; bytes that are no text become U+FFFD."""
    if not _JSON_TYPE.fullmatch(content_type.partition(";")[0].strip().lower()):
        return _text(body, content_type)
    if not body.strip():
        return None
    try:
        return loads(_json_text(body, content_type))
    except json.JSONDecodeError as error:
        raise UnreadableBody(f"The response calls itself JSON and is not: {error.msg} at {error.pos}.") from None


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


def _json_text(body: bytes, content_type: str) -> bytes | str:
    # JSON is UTF-8 unless an old server says otherwise; a BOM is forbidden and common.
    codec = _codec(content_type)
    return body.removeprefix(_BOM) if codec == "utf-8" else body.decode(codec, "replace")


def _text(body: bytes, content_type: str) -> str:
    return body.removeprefix(_BOM).decode(_codec(content_type), "replace")


def _codec(content_type: str) -> str:
    """The name of a codec that Python has; UTF-8 for a charset that is absent, unknown or no charset."""
    match = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(match[1]).name if match else "utf-8"
    except LookupError:
        return "utf-8"
    return name if _CHARSETS.match(name) else "utf-8"


def _excerpt(response: HttpResponse, mask: Mask) -> str:
    # No 10 MiB page is decoded to show 300 characters of it; the margin is for a secret that the cut would halve.
    head = response.body[: EXCERPT_CHARS * 4 + MAX_SECRET_CHARS]
    text = " ".join(mask(_text(head, response.header("content-type") or "")).split())
    if not text:
        return "."
    return f": {text[:EXCERPT_CHARS]}{'…' if len(text) > EXCERPT_CHARS else ''}"
