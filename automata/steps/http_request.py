"""Rendered `http` config -> HttpRequest. Pure: the worker and the sandbox build the same bytes."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import unquote, urlencode

from yarl import URL

from automata import __version__
from automata.errors import Invalid
from automata.flow.exact_json import dumps
from automata.flow.media import codec_of, declared_charset, declared_encoding
from automata.flow.steptypes import MAX_RESPONSE_BYTES, READINGS
from automata.steps.contract import DEFAULT_MAX_BYTES, HttpRequest
from automata.steps.http_response import Reading
from automata.steps.urls import parse_url, with_pairs

KEYS = (
    "method", "url", "query", "headers", "body", "form", "auth", "ok_status", "follow_redirects", "verify_tls",
    "max_response_bytes", "response", "charset",
)  # fmt: skip
IDEMPOTENCY_KEY = "Idempotency-Key"
MAX_HEADER_CHARS = 8_192

# They steer the connection or the framing, which belong to the transport: a flow that sets them smuggles requests.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te", "trailer",
     "transfer-encoding", "upgrade", "content-length", "expect"}
)  # fmt: skip
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,19}")
_FORBIDDEN_METHODS = frozenset({"CONNECT", "TRACE"})
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS_RANGE = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?")
_FORM = "application/x-www-form-urlencoded"

Headers = dict[str, tuple[str, str]]  # lower-case name -> (name as written, value)


def build_request(config: Mapping[str, Any], timeout_sec: float, idempotency_key: str) -> HttpRequest:
    """The first hop of a rendered config. Raises Invalid `bad_config`, whose message names the key."""
    if unknown := [str(key) for key in config if key not in KEYS]:
        _bad(f"`{unknown[0]}` is not a key of an http step's config.")
    url = _url(config)
    headers = _headers(config.get("headers"), url)
    _authorise(config.get("auth"), url, headers)
    text, content_type = _body(config)
    if content_type:
        headers.setdefault("content-type", ("Content-Type", content_type))
    body = None if text is None else _encoded(text, headers["content-type"][1])
    headers.setdefault(IDEMPOTENCY_KEY.lower(), (IDEMPOTENCY_KEY, idempotency_key))
    headers.setdefault("user-agent", ("User-Agent", f"automata/{__version__}"))
    return HttpRequest(
        method=_method(config.get("method", "GET")),
        url=str(url.with_user(None).with_fragment(None)),
        headers=tuple(headers.values()),
        body=body,
        timeout_sec=timeout_sec,
        max_bytes=_max_bytes(config.get("max_response_bytes", DEFAULT_MAX_BYTES)),
        follow_redirects=_flag("follow_redirects", config.get("follow_redirects", True)),
        verify_tls=_flag("verify_tls", config.get("verify_tls", True)),
        skip_body=parse_reading(config) == "none",
    )


def parse_ok_status(config: Mapping[str, Any]) -> tuple[range, ...]:
    """Which codes are a success: integers and ranges like `200-299`, one or a list. Raises Invalid `bad_config`."""
    statuses = config.get("ok_status", "200-399")
    parts = statuses if isinstance(statuses, list) else [statuses]
    if not parts:
        _bad("`ok_status` is an empty list, so no answer could succeed.")
    return tuple(_status_range(part) for part in parts)


def parse_reading(config: Mapping[str, Any]) -> Reading:
    """How the body of the answer is read. Raises Invalid `bad_config`."""
    value = config.get("response", "auto")
    if value not in READINGS:
        _bad(f"`response` must be {', '.join(READINGS[:-1])} or {READINGS[-1]}; it is {_shown(value)}.")
    reading: Reading = value
    return reading


def parse_charset(config: Mapping[str, Any]) -> str | None:
    """The charset that the flow names, None when it names none. Raises Invalid `bad_config`."""
    value = config.get("charset")
    if value is not None and (not isinstance(value, str) or codec_of(value) is None):
        _bad(f"`charset` is {_shown(value)}, which is no charset of text.")
    return value


def _bad(message: str) -> NoReturn:
    raise Invalid(message, code="bad_config")


def _method(value: Any) -> str:
    method = value.upper() if isinstance(value, str) else ""
    if not _METHOD.fullmatch(method) or method in _FORBIDDEN_METHODS:
        _bad(f"`method` is {_shown(value)}, which an http step cannot send.")
    return method


def _url(config: Mapping[str, Any]) -> URL:
    text = config.get("url")
    if not isinstance(text, str):
        _bad(f"`url` must be text; it is {_shown(text)}.")
    try:
        url = parse_url(text)
    except ValueError as error:
        _bad(f"`url`: {error}")
    return with_pairs(url, list(_pairs("query", config.get("query"))))


def _pairs(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Name and text of each parameter: lists repeat their name, null leaves it out."""
    if value is None:
        return
    if not isinstance(value, Mapping):
        _bad(f"`{key}` must be an object; it is {_shown(value)}.")
    for name, item in value.items():
        if name == "":
            _bad(f"`{key}` has a parameter without a name.")
        for one in item if isinstance(item, list) else (item,):
            if one is not None:
                yield _encodable(key, str(name)), _encodable(f"{key}.{name}", _scalar(f"{key}.{name}", one))


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    _bad(f"`{key}` must be text, a number or a boolean; it is {_shown(value)}.")


def _encodable(key: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        _bad(f"`{key}` holds half of a surrogate pair, which is no character.")
    return text


def _headers(given: Any, url: URL) -> Headers:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        _bad(f"`headers` must be an object; it is {_shown(given)}.")
    headers: Headers = {}
    for name, value in given.items():
        if value is not None:
            _add_header(headers, str(name), value, url)
    return headers


def _add_header(headers: Headers, name: str, value: Any, url: URL) -> None:
    lower = name.lower()
    if not _TOKEN.fullmatch(name):
        _bad(f"`headers`: {_shown(name)} is not the name of a header.")
    if lower in _HOP_BY_HOP:
        _bad(f"`headers.{name}` belongs to the connection and cannot be set by a flow.")
    if lower in headers:
        _bad(f"`headers.{name}` is given twice, in different cases.")
    text = _header_text(f"headers.{name}", _scalar(f"headers.{name}", value))
    if lower == "host":
        _same_host(text, url)
    else:
        headers[lower] = (name, text)


def _header_text(key: str, text: str) -> str:
    if _CONTROL.search(text):
        _bad(f"`{key}` holds a line break or another control character.")
    if len(text) > MAX_HEADER_CHARS:
        _bad(f"`{key}` is longer than {MAX_HEADER_CHARS} characters.")
    return _encodable(key, text.strip(" \t"))


def _same_host(text: str, url: URL) -> None:
    if text.lower() not in (url.host_subcomponent, f"{url.host_subcomponent}:{url.port}"):
        _bad("`headers.Host` differs from the host of `url`; what is vetted must be what is called.")


def _authorise(auth: Any, url: URL, headers: Headers) -> None:
    """Credentials come from `auth`, else from the URL's userinfo, which is never sent as such."""
    value = _auth_value(auth)
    if value is None and "authorization" not in headers and (url.user or url.password):
        value = _basic(unquote(url.raw_user or ""), unquote(url.raw_password or ""))
    elif value is not None and "authorization" in headers:
        _bad("`auth` and `headers.Authorization` are both set; keep one.")
    if value is not None:
        headers["authorization"] = ("Authorization", _header_text("auth", value))


def _auth_value(auth: Any) -> str | None:
    if auth is None:
        return None
    if not isinstance(auth, Mapping) or len(auth) != 1 or next(iter(auth)) not in ("bearer", "basic"):
        _bad("`auth` must hold either `bearer` or `basic`.")
    if "bearer" in auth:
        return f"Bearer {_filled('auth.bearer', _credential('auth.bearer', auth['bearer']))}"
    basic = auth["basic"]
    if not isinstance(basic, Mapping) or set(basic) != {"username", "password"}:
        _bad("`auth.basic` must hold `username` and `password`.")
    user = _credential("auth.basic.username", basic["username"])
    if ":" in user:
        _bad("`auth.basic.username` holds a colon, which basic authentication cannot carry.")
    password = _credential("auth.basic.password", basic["password"])
    _filled("auth.basic", user + password)
    return _basic(user, password)


def _credential(key: str, value: Any) -> str:
    # The value itself stays out of every message.
    if not isinstance(value, str):
        _bad(f"`{key}` must be text.")
    return _encodable(key, value)


def _filled(key: str, text: str) -> str:
    if not text.strip():
        _bad(f"`{key}` is empty: what it is made of has no value.")
    return text


def _basic(user: str, password: str) -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _body(config: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The text of the body, and what it is when the flow does not say it."""
    body, form = config.get("body"), config.get("form")
    if body is not None and form is not None:
        _bad("`body` and `form` are both set; keep one.")
    if form is not None:
        return urlencode(list(_pairs("form", form))), _FORM
    if body is None:
        return None, None
    if isinstance(body, str):
        return _encodable("body", body), "text/plain; charset=utf-8"
    try:
        return dumps(body).decode(), "application/json"
    except TypeError as error:
        _bad(f"`body` cannot be written as JSON: {error}.")


def _encoded(text: str, content_type: str) -> bytes:
    """The bytes that the Content-Type announces: what is sent as ISO-8859-1 is written so."""
    charset = declared_charset(content_type) or declared_encoding(text) or "utf-8"
    codec = codec_of(charset)
    if codec is None:
        _bad(f"`body` is to be sent in the charset `{charset}`, which is not known.")
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        _bad(f"`body` has a character (the {error.start + 1}.) that its charset, `{charset}`, does not have.")


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        _bad(f"`{key}` must be true or false; it is {_shown(value)}.")
    return value


def _max_bytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_RESPONSE_BYTES:
        _bad(f"`max_response_bytes` must be an integer from 1 to {MAX_RESPONSE_BYTES}; it is {_shown(value)}.")
    return value


def _status_range(part: Any) -> range:
    match = _STATUS_RANGE.fullmatch(str(part)) if isinstance(part, (int, str)) else None
    if match is None:
        _bad(f"`ok_status` holds {_shown(part)}; it takes codes like 204 and ranges like `200-299`.")
    return range(int(match[1]), int(match[2] or match[1]) + 1)


def _shown(value: Any) -> str:
    """A value in a message: its type and, for short plain ones, itself. Never a part: no mask finds half a secret."""
    if value is None:
        return "null"
    if isinstance(value, (str, int, float, bool)):
        text = ascii(value)
        return text if len(text) <= 60 else f"a value of {len(str(value))} characters"
    return {"dict": "an object", "list": "a list"}.get(type(value).__name__, f"a {type(value).__name__}")
