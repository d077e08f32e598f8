"""What of an attempt may be kept: masked first and cut afterwards, so that no half of a secret survives a cut."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

import re2

from automata.steps.contract import HttpRequest
from automata.steps.http_body import shown_text
from automata.steps.urls import redacted, sendable

Mask = Callable[[str], str]

MASKED = "***"
MAX_MESSAGE_CHARS = 1_000
MAX_BODY_CHARS = 4_096
# Shorter values would blank out half of every text, and protect nothing that could not be guessed.
MIN_MASKED_CHARS = 4

_CREDENTIAL = re.compile(r"auth|cookie|token|secret|key|password|signature|credential", re.IGNORECASE)
# Longer forms (keys, certificates) are looked for one by one: as a pattern each byte of them would be a state.
_PATTERN_CHARS = 512
_PATTERN_MEMORY = 256 * 1024 * 1024
# What clients leave unquoted in a path, in a query (yarl, browsers), and nowhere.
_SAFE = ("", "/", "-._~!$&'()*+,;=:@", "/-._~!$&'()*+,;=:@", "/?:@-._~!$'()*,", "/?:@-._~!$'()*,;+")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_NUMBER_CHARS = 400
_ESCAPED = re.compile(r"%[0-9A-F]{2}")
# A service that echoes a body as a text, which itself holds JSON as a text: each escapes quotes and backslashes anew.
_ESCAPED_DEEP = 3


def masker(secrets: Mapping[str, str]) -> Mask:
    """A function that replaces every secret in a text, also as base64, hex, URL-encoded, JSON- and HTML-escaped."""
    return masker_of(secrets.values())


def texts_in(values: Iterable[Any]) -> Iterator[str]:
    """What stands in JSON values that are secret, as far as it is long enough to be told from other text."""
    for value in values:
        if isinstance(value, str):
            if len(value) >= MIN_MASKED_CHARS:
                yield value
        elif isinstance(value, Mapping):
            yield from texts_in(value.values())
        elif isinstance(value, list):
            yield from texts_in(value)
        elif not isinstance(value, bool) and value is not None:
            digits = str(value).removeprefix("-")  # a service may turn the sign
            if len(digits) >= MIN_MASKED_CHARS:
                yield digits


def masker_of(values: Iterable[str]) -> Mask:
    forms = {form for value in values for form in _forms(value) if len(form) >= MIN_MASKED_CHARS}
    if not forms:
        return lambda text: text
    long = sorted((form for form in forms if len(form) > _PATTERN_CHARS), key=len, reverse=True)
    short = [_bytes(form) for form in forms if len(form) <= _PATTERN_CHARS]
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # byte by byte: what is masked need not be valid UTF-8
    options.longest_match = True  # a secret that contains another one is replaced whole
    options.max_mem = _PATTERN_MEMORY
    pattern = re2.compile(b"|".join(map(re2.escape, short)), options) if short else None

    def mask(text: str) -> str:
        for form in long:
            text = text.replace(form, MASKED)
        raw = _bytes(text)
        if pattern is None or pattern.search(raw) is None:
            return text
        return str(pattern.sub(MASKED.encode(), raw).decode("utf-8", "surrogatepass"))

    return mask


def cut_message(text: str, mask: Mask) -> str:
    """A message that fits a row and an eye, and that UTF-8 can carry."""
    text = mask(text.encode(errors="replace").decode())
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def mask_tree(value: Any, mask: Mask) -> Any:
    """JSON data with every text masked, keys too, and every number that is a secret. Nesting is what orjson writes,
    far under Python's own limit."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return MASKED if _is_secret_number(value, mask) else value
    if isinstance(value, Mapping):
        return {mask(str(key)): mask_tree(item, mask) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_tree(item, mask) for item in value]
    return value


def _is_secret_number(value: float, mask: Mask) -> bool:
    """Whether the whole number is a secret: one that only holds its digits somewhere is another number."""
    texts = [str(value)]
    if isinstance(value, float) and value.is_integer():
        texts.append(str(int(value)))
    return any(mask(text) == MASKED for text in texts)


def describe_request(request: HttpRequest, mask: Mask) -> dict[str, Any]:
    """`{method, url, headers, body, body_bytes}` for a dead letter: no query, credential headers as `***`."""
    body = request.body or b""
    return {
        "method": request.method,
        "url": mask(redacted(request.url)),
        "headers": {name: MASKED if _is_credential(name) else mask(value) for name, value in request.headers},
        "body": mask(shown_text(body, request.header("content-type") or ""))[:MAX_BODY_CHARS] if body else None,
        "body_bytes": len(body),
    }


def _is_credential(name: str) -> bool:
    return name.lower() != "idempotency-key" and _CREDENTIAL.search(name) is not None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(value: str) -> Iterator[str]:
    """Every way in which a value may be written down on its way through URLs, JSON, pages and messages."""
    if len(value) < MIN_MASKED_CHARS:
        return
    yield value
    yield from _quoted(value)
    yield from _as_numbers(value)
    for ascii_only in (True, False):
        text = value
        for _ in range(_ESCAPED_DEEP):
            text = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
            yield text
            yield text.replace("/", "\\/")
    yield from (ascii(value)[1:-1], repr(value)[1:-1], html.escape(value), html.escape(value, quote=False))
    raw = value.encode(errors="surrogateescape")
    yield from (raw.hex(), raw.hex().upper())
    for shift in range(3):
        # Inside a longer base64 text a value starts at one of three alignments; the characters at both ends also
        # carry bits of the neighbours, so only those between are the secret's own.
        encoded = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        own = encoded[(shift * 8 + 5) // 6 : (shift + len(raw)) * 8 // 6]
        if len(own) >= MIN_MASKED_CHARS:
            yield own
            yield own.replace("+", "-").replace("/", "_")
            yield own.replace("/", "\\/")
            yield from _quoted(own)


def _as_numbers(value: str) -> Iterator[str]:
    """How JSON writes a value that is all digits: `0042.50` comes back as 42.5, `12345678` as 12345678.0."""
    if len(value) > _NUMBER_CHARS or not _NUMBER.fullmatch(value):
        return
    if value.lstrip("+-").isdigit():
        yield str(int(value))
    if math.isfinite(number := float(value)):
        yield from (repr(number), repr(number).replace("e+", "e"), repr(number).removesuffix(".0"))


def _quoted(value: str) -> Iterator[str]:
    every = [quote(value, safe=safe, errors="surrogateescape") for safe in _SAFE]
    every += [sendable(value), sendable(value.replace(" ", "+"))]
    every += [quote_plus(value, errors="surrogateescape"), *(text.replace("%20", "+") for text in every)]
    for text in every:
        yield text
        yield _ESCAPED.sub(lambda found: found[0].lower(), text)
