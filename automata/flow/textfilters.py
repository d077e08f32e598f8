"""Filters over text: shape, encode, hash, match and read it. Sizes are worked out before the text is made."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

import re2

from automata.flow.budget import ITEM_COST, MAX_TEXT, Budget, TemplateError, misfit
from automata.flow.exact_json import loads
from automata.flow.listfilters import reader, walk
from automata.flow.values import dump_json, kind, text_of, weigh

# RE2 takes time linear in the text, times the size of the compiled pattern when its fast way runs out of memory
# (measured: 8 ns a byte and instruction). These bound both factors, `_search_cost` charges their product.
MAX_PATTERN = 1000
MAX_PROGRAM = 1000
_PATTERN_MEMORY = 1 << 18

_WORD_STARTS = re.compile(r"([-\s({\[<]+)")
_WORDS = re.compile(r"\w+")
_BLANKS = re.compile(r"\S+")
_GROUP = re.compile(r"\\(\d)")
_SEPARATORS = re.compile(r"[/\\]")


def _read(budget: Budget, value: Any) -> str:
    """The text of a string, number, boolean or null; reading it is paid."""
    if type(value) in (list, dict, tuple):
        raise misfit(f"Text is needed here, this is {kind(value)}.", "`| json` gives its text.")
    text = text_of(budget, value)
    budget.scan(len(text))
    return text


def _shape(change: Callable[[str], str]) -> Callable[[Budget, Any], str]:
    def apply(budget: Budget, value: Any) -> str:
        text = _read(budget, value)
        budget.make(len(text))
        # Unicode may make three characters of one, never more.
        changed = change(text)
        budget.make(len(changed))
        return changed

    return apply


def _title(text: str) -> str:
    parts = _WORD_STARTS.split(text)
    return "".join(part[:1].upper() + part[1:].lower() for part in parts)


def trim(budget: Budget, value: Any, chars: str | None = None) -> str:
    """`text | trim(chars)`."""
    text = _read(budget, value)
    budget.make(len(text))
    return text.strip(None if chars is None else _read(budget, chars))


def string(budget: Budget, value: Any) -> str:
    """`value | string`."""
    text = text_of(budget, value)
    if text is not value:
        budget.make(len(text))
    return text


def replace(budget: Budget, value: Any, old: Any, new: Any, count: int | None = None) -> str:
    """`text | replace(old, new, count)`."""
    text, old, new = _read(budget, value), _read(budget, old), _read(budget, new)
    limit = -1 if count is None else _whole(count, "count", 0, MAX_TEXT)
    found = text.count(old)
    found = found if limit < 0 else min(found, limit)
    budget.make(len(text) + found * max(len(new) - len(old), 0))
    return text.replace(old, new, limit)


def join(budget: Budget, value: Any, d: Any = "", attribute: Any = None) -> str:
    """`list | join(separator, attribute)`."""
    read = None if attribute is None else reader(attribute)
    parts, separator = [], _read(budget, d)
    size = 0
    for item in walk(budget, value):
        part = text_of(budget, item if read is None else read(item))
        size += len(part) + len(separator)
        if size > MAX_TEXT + len(separator):
            budget.make(size)
        parts.append(part)
    budget.make(max(size - len(separator), 0))
    return separator.join(parts)


def split(budget: Budget, value: Any, separator: Any = None, maxsplit: int = -1) -> list[str]:
    """At `separator`, or at runs of blanks when there is none."""
    text = _read(budget, value)
    limit = _whole(maxsplit, "maxsplit", -1, MAX_TEXT)
    sep = None if separator is None else _read(budget, separator)
    if sep == "":
        raise misfit("`split` needs a separator that is not empty.")
    _charge_pieces(budget, text, sep, limit)
    return text.split(sep, limit)


def _charge_pieces(budget: Budget, text: str, separator: str | None, limit: int) -> None:
    if separator is not None:
        pieces = text.count(separator) + 1
        budget.turn(pieces if limit < 0 else min(pieces, limit + 1))
    else:
        for _ in _BLANKS.finditer(text):
            budget.turn()
    budget.pay(len(text))


def wordcount(budget: Budget, value: Any) -> int:
    """`text | wordcount`."""
    count = 0
    for _ in _WORDS.finditer(_read(budget, value)):
        budget.turn()
        count += 1
    return count


def truncate(
    budget: Budget, value: Any, length: int = 255, killwords: bool = False, end: str = "...", leeway: int = 0
) -> str:
    """As Jinja, but with no leeway unless asked for: at most `length` characters, `end` included."""
    text, end = _read(budget, value), _read(budget, end)
    size = _whole(length, "length", len(end), MAX_TEXT)
    if len(text) <= size + _whole(leeway, "leeway", 0, MAX_TEXT):
        return text
    budget.make(size)
    cut = text[: size - len(end)]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def indent(budget: Budget, value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    """`text | indent(width, first, blank)`."""
    text = _read(budget, value)
    pad = " " * _whole(width, "width", 0, 1000)
    lines = text.count("\n") + 1
    budget.make(len(text) + lines * len(pad))
    head, *rest = text.split("\n")
    padded = [pad + line if line or blank else line for line in rest]
    return "\n".join([pad + head if first else head, *padded])


def center(budget: Budget, value: Any, width: int = 80) -> str:
    """`text | center(width)`."""
    text = _read(budget, value)
    size = _whole(width, "width", 0, MAX_TEXT)
    budget.make(max(size, len(text)))
    return text.center(size)


def _whole(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise misfit(f"`{name}` is a whole number from {low:,} to {high:,}.")
    return value


# --- codes and hashes ----------------------------------------------------------------------------------------------


def from_json(budget: Budget, value: Any) -> Any:
    """The value of JSON text of at most 1 MiB; the numbers must be finite."""
    text = _read(budget, value)
    # A parsed list of empty lists takes some 60 times the room of its text.
    budget.make(len(text))
    budget.pay(3 * len(text))
    try:
        data = loads(text)
    except ValueError as error:
        raise misfit(f"`fromjson` cannot read this text: {_where(error)}.") from None
    weigh(budget, data)
    return data


def _where(error: ValueError) -> str:
    line, column = getattr(error, "lineno", 0), getattr(error, "colno", 0)
    return f"it is not JSON at line {line}, column {column}"


def urlencoded(budget: Budget, value: Any) -> str:
    """A string percent-encoded as in Jinja (`/` stays); an object or a list of pairs as a query string."""
    if type(value) is dict:
        value = list(value.items())
    if type(value) is not list:
        text = _read(budget, value)
        budget.make(3 * len(text.encode()))
        return quote(text)
    pairs = [_pair(budget, item) for item in walk(budget, value)]
    budget.make(3 * sum(len(name.encode()) + len(text.encode()) + 2 for name, text in pairs))
    return urlencode(pairs, quote_via=quote)


def segment(budget: Budget, value: Any) -> str:
    """A text or number as one segment of a URL's path, percent-encoded, `/` too. Nothing, `.` and `..` are refused."""
    if value is None or value == "":
        raise _no_segment("is null" if value is None else "is empty")
    text = _read(budget, value)
    # Some servers decode `%2F` before they look at dots, and take `..;x` for `..`.
    if any(part.partition(";")[0].strip() in (".", "..") for part in _SEPARATORS.split(text)):
        raise _no_segment("holds `.` or `..`, which leads to another path")
    budget.make(3 * len(text.encode()))
    return quote(text, safe="")


def _no_segment(what: str) -> TemplateError:
    return TemplateError(f"The value cannot be a path segment: it {what}.", code="AF220")


def _pair(budget: Budget, item: Any) -> tuple[str, str]:
    if type(item) not in (list, tuple) or len(item) != 2:
        raise misfit("`urlencode` needs text, an object or a list of pairs.")
    return _read(budget, item[0]), _read(budget, item[1])


def b64encode(budget: Budget, value: Any) -> str:
    """`text | b64encode`, of its UTF-8 bytes."""
    data = _read(budget, value).encode()
    budget.make(len(data) // 3 * 4 + 4)
    return base64.b64encode(data).decode()


def b64decode(budget: Budget, value: Any) -> str:
    """Base64 of UTF-8 text; other bytes cannot be a value and are refused."""
    text = _read(budget, value).replace("\n", "").replace("\r", "")
    budget.make(len(text))
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise misfit("`b64decode` needs Base64 of UTF-8 text.") from None


def sha256(budget: Budget, value: Any) -> str:
    """`text | sha256`, as 64 hex digits."""
    data = _read(budget, value).encode()
    budget.make(len(data) + 64)
    return hashlib.sha256(data).hexdigest()


def hmac_sha256(budget: Budget, value: Any, key: Any) -> str:
    """Hexadecimal HMAC of the value under `key`."""
    data, secret = _read(budget, value).encode(), _read(budget, key).encode()
    budget.make(len(data) + len(secret) + 64)
    return hmac.new(secret, data, "sha256").hexdigest()


# --- patterns ------------------------------------------------------------------------------------------------------


def _compiled(budget: Budget, pattern: Any) -> Any:
    text = _read(budget, pattern)
    if len(text) > MAX_PATTERN:
        raise misfit(f"A regular expression has at most {MAX_PATTERN:,} characters.")
    budget.pattern(text)
    # Measured: a search costs ten microseconds however short the text is.
    budget.pay(150)
    compiled = readable_pattern(text)
    if compiled is None:
        raise misfit(
            "The regular expression cannot be read, or is too large.",
            "RE2 has no look-around and no back references.",
        )
    return compiled


def readable_pattern(text: str) -> Any:
    """The compiled regular expression; None when it cannot be read, or is too large."""
    compiled = _pattern(text) if len(text) <= MAX_PATTERN else None
    return None if compiled is None or compiled.programsize > MAX_PROGRAM else compiled


@lru_cache(maxsize=64)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.max_mem = _PATTERN_MEMORY
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error:
        return None


def _search_cost(compiled: Any, size: int) -> int:
    return size * int(compiled.programsize) // 10 + 10


def regex_match(budget: Budget, value: Any, pattern: Any) -> Any:
    """Whether the pattern is found anywhere: true or false; with groups, the list of what they caught or false."""
    compiled = _compiled(budget, pattern)
    text = _read(budget, value)
    budget.pay(_search_cost(compiled, len(text.encode())))
    match = compiled.search(text)
    if match is None:
        return False
    numbers = range(1, compiled.groups + 1)
    budget.make(sum(match.end(number) - match.start(number) for number in numbers))
    return [match.group(number) for number in numbers] or True


def find_all(budget: Budget, value: Any, pattern: Any) -> list[Any]:
    """Every match: its text, or with groups the list of what they caught."""
    compiled = _compiled(budget, pattern)
    text = _read(budget, value)
    size = len(text.encode())
    budget.pay(_search_cost(compiled, size))
    found: list[Any] = []
    for match in compiled.finditer(text):
        # As in `regex_replace`: the search for the next match may read all the rest.
        budget.turn(1, _search_cost(compiled, size - match.end()))
        groups = [match.group(number) for number in range(compiled.groups + 1)]
        budget.pay(sum(len(group or "") for group in groups) + ITEM_COST * len(groups))
        found.append(groups[1:] or groups[0])
    return found


def regex_replace(budget: Budget, value: Any, pattern: Any, replacement: Any, count: int = 0) -> str:
    """Every match (or the first `count`) replaced; `\\1` to `\\9` stand for groups, `\\0` for the match."""
    compiled = _compiled(budget, pattern)
    text, new = _read(budget, value), _read(budget, replacement)
    limit, size = _whole(count, "count", 0, MAX_TEXT), len(text.encode())
    budget.make(size)
    budget.pay(_search_cost(compiled, size))
    pieces, end = [], 0
    for number, match in enumerate(compiled.finditer(text), 1):
        # The search for the next match may read all the rest.
        budget.turn(1, _search_cost(compiled, size - end))
        pieces += [text[end : match.start()], _expanded(budget, match, new, compiled.groups)]
        end = match.end()
        if number == limit:
            break
    pieces.append(text[end:])
    budget.make(sum(map(len, pieces)))
    return "".join(pieces)


def _expanded(budget: Budget, match: Any, replacement: str, groups: int) -> str:
    def group(reference: re.Match[str]) -> str:
        number = int(reference[1])
        if number > groups:
            raise misfit(f"The regular expression has no group {number}.")
        return match.group(number) or ""

    references = replacement.count("\\")
    budget.make(len(replacement) + references * (match.end() - match.start()))
    return _GROUP.sub(group, replacement)


TEXT_FILTERS: Mapping[str, Callable[..., Any]] = {
    "b64decode": b64decode,
    "b64encode": b64encode,
    "capitalize": _shape(str.capitalize),
    "center": center,
    "find_all": find_all,
    "fromjson": from_json,
    "hmac_sha256": hmac_sha256,
    "indent": indent,
    "join": join,
    "json": dump_json,
    "lower": _shape(str.lower),
    "regex_match": regex_match,
    "regex_replace": regex_replace,
    "replace": replace,
    "segment": segment,
    "sha256": sha256,
    "split": split,
    "string": string,
    "title": _shape(_title),
    "tojson": dump_json,
    "trim": trim,
    "truncate": truncate,
    "upper": _shape(str.upper),
    "urlencode": urlencoded,
    "wordcount": wordcount,
}
