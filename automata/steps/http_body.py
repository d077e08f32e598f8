"""The bytes of an answer -> JSON or text, exactly or not at all: what cannot be read is never half read.

Which charset counts: that of the step's `charset`, else that of the Content-Type, else a byte order mark, else what an
XML declaration or a `<meta>` of HTML says, else UTF-8.
"""

from __future__ import annotations

import codecs
import re
from typing import Any

from automata.flow.exact_json import loads
from automata.flow.media import codec_of, declared_charset, declared_encoding, is_json_type, media_type

_META = re.compile(r"""<meta[^>]{0,200}?charset\s{0,20}=\s{0,20}["']?([A-Za-z0-9._:-]{1,40})""", re.IGNORECASE)
_TEXT_TYPE = re.compile(r"text/.*|.*[/+]xml|")  # also none at all
_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_HEAD_BYTES = 1024  # in which HTML wants its `<meta>`
_BOM = codecs.BOM_UTF8
# The longer marks first: that of UTF-32 begins with that of UTF-16. The last two are `<` without a mark.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (b"<\0?\0", "utf-16-le"),
    (b"\0<\0?", "utf-16-be"),
)


class UnreadableBody(Exception):
    """The body is not what it is to be read as. The text is one sentence."""


def parse_body(body: bytes, content_type: str, charset: str | None = None) -> Any:
    """JSON for a JSON content type, else text. Raises UnreadableBody."""
    if is_json_type(content_type):
        return parse_json(body, content_type, charset, "The response calls itself JSON and is not")
    return parse_text(body, content_type, charset)


def parse_json(
    body: bytes, content_type: str, charset: str | None = None, wrong: str = "The response is no JSON"
) -> Any:
    """JSON, whatever the body calls itself; None when it is empty. Raises UnreadableBody."""
    if not body.strip():
        return None
    try:
        return loads(_json_text(body, content_type, charset))
    except ValueError as error:
        raise UnreadableBody(f"{wrong}: {getattr(error, 'msg', error)} at {_place(error)}.") from None


def parse_text(body: bytes, content_type: str, charset: str | None = None) -> str:
    """Text, whatever the body calls itself. Raises UnreadableBody for bytes that are none in its charset."""
    declared = charset or declared_charset(content_type)
    codec = codec_of(declared) if declared else _sniffed(body, content_type)
    if codec is None:
        return _ascii(body, declared or "")
    try:
        return body.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UnreadableBody(
            f"The response is {len(body)} bytes that are no text in {codec} (byte {error.start})."
        ) from None


def excerpt_text(body: bytes, content_type: str) -> str:
    """The beginning of a body for a message: what is no text becomes U+FFFD."""
    declared = declared_charset(content_type)
    return body.removeprefix(_BOM).decode((codec_of(declared) if declared else None) or "utf-8", "replace")


def shown_text(body: bytes, content_type: str) -> str:
    """A body for people, and for whoever looks for secrets in it: what is no text becomes U+FFFD."""
    try:
        return parse_text(body, content_type)
    except UnreadableBody:
        return body.decode(errors="replace")


def _sniffed(body: bytes, content_type: str) -> str:
    # A program or a picture may begin with the bytes of a mark, and nearly everything is valid UTF-16.
    textual = _TEXT_TYPE.fullmatch(media_type(content_type)) is not None
    for mark, codec in _MARKS if textual else ():
        if body.startswith(mark):
            return codec
    head = body[:_HEAD_BYTES].decode("latin-1")
    name = declared_encoding(head)
    if name is None and media_type(content_type) in _HTML_TYPES and (meta := _META.search(head)):
        name = meta[1]
    named = codec_of(name) if name else None
    # What reads as ASCII so far cannot be in UTF-16, whatever it says: a program that keeps text so has written it.
    return "utf-8" if named is None or named.startswith(("utf-16", "utf-32")) else named


def _ascii(body: bytes, declared: str) -> str:
    """In a charset that nobody knows: ASCII means the same in nearly all of them."""
    try:
        return body.decode("ascii")
    except UnicodeDecodeError:
        raise UnreadableBody(
            f"The response is in the charset `{declared}`, which is not known; `charset` of the step can name another."
        ) from None


def _json_text(body: bytes, content_type: str, charset: str | None) -> bytes | str:
    # JSON is UTF-8 unless a mark, an old server or the step says otherwise; a mark is forbidden and common.
    declared = charset or declared_charset(content_type)
    codec = (
        codec_of(declared) if declared else next((codec for mark, codec in _MARKS[:5] if body.startswith(mark)), None)
    )
    if codec in (None, "utf-8"):
        return body.removeprefix(_BOM)
    return body.decode(codec).removeprefix("\ufeff")


def _place(error: ValueError) -> str:
    place = error.start if isinstance(error, UnicodeDecodeError) else getattr(error, "pos", 0)
    return str(place)
