"""Which names stand for a charset of text, and for which codec."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# Python's table of codecs also holds some that are no charsets (`unicode_escape`, `hex`): no service may pick those.
_CHARSETS = re.compile(r"utf-(8|16|32)(-[lb]e)?|ascii|latin|iso|cp\d|mac|koi8|shift|euc|gb|big5|hz|johab|tis|kz|ptcp")
_ALIASES = {"utf8mb3": "utf-8", "utf8mb4": "utf-8"}  # MySQL's names, which find their way into headers


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """The name of Python's codec; None for a name that stands for no charset."""
    try:
        name = codecs.lookup(_ALIASES.get(charset.lower(), charset)).name
    except (LookupError, ValueError):
        return None
    return name if _CHARSETS.match(name) else None
