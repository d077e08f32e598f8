"""What a Content-Type says: whether it stands for JSON, and in which charset the text is."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# Python's table of codecs also holds some that are no charsets (`unicode_escape`, `hex`): no service may pick those.
_CHARSETS = re.compile(r"utf-(8|16|32)(-[lb]e)?|ascii|latin|iso|cp\d|mac|koi8|shift|euc|gb|big5|hz|johab|tis|kz|ptcp")
# RFC 6839 (`+json`), and what services call JSON without it: text/json, application/x-json, application/x-amz-json-1.1,
# application/vnd.acme.json.
_JSON_TYPE = re.compile(
    r"(?:application|text)/(?:x-)?json|[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]*\+json"
    r"|application/(?:x-amz-json-[0-9.]+|json-?rpc|jsonrequest|vnd\.[a-z0-9!#$&^_.+-]*[.-]json)"
)
_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)
_XML = re.compile(r"""<\?xml[^>]{0,200}?\sencoding\s{0,20}=\s{0,20}["']([A-Za-z0-9._:-]{1,40})["']""")
_ALIASES = {"utf8mb3": "utf-8", "utf8mb4": "utf-8"}  # MySQL's names, which find their way into headers


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """The name of Python's codec; None for a name that stands for no charset."""
    try:
        name = codecs.lookup(_ALIASES.get(charset.lower(), charset)).name
    except (LookupError, ValueError):
        return None
    return name if _CHARSETS.match(name) else None


def media_type(content_type: str) -> str:
    """Without parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json_type(content_type: str) -> bool:
    """Whether it stands for one JSON value."""
    return _JSON_TYPE.fullmatch(media_type(content_type)) is not None


def header_text(raw: bytes) -> str:
    """The value of a header: UTF-8 where it is, else Latin-1, which cannot fail."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def declared_charset(content_type: str) -> str | None:
    """What the parameter `charset` says, whether there is such a charset or not."""
    match = _CHARSET.search(content_type)
    return match[1] if match else None


def declared_encoding(text: str) -> str | None:
    """The encoding that an XML declaration at the beginning of a text names."""
    match = _XML.match(text)
    return match[1] if match else None
