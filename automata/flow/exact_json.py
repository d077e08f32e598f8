"""JSON whose numbers stay what they are: the one codec of every door that values come in by and go out by.

orjson makes a float of a whole number beyond 64 bits when it reads, and refuses it when it writes. An order id of
twenty digits would reach the next service as another order's. Here such a number keeps its digits, up to
`MAX_INT_BITS`; a longer one is refused, as are NaN, infinities, numbers beyond the largest double and lone surrogates.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from automata.flow.budget import MAX_INT_BITS

_INT_MIN, _INT_MAX = -(1 << 63), (1 << 64) - 1  # what orjson reads and writes as a whole number
_MAX_DIGITS = len(str(1 << MAX_INT_BITS))
# Every whole number beyond 64 bits has at least 19 digits in a row. Two passes in C find out whether a text has any,
# at a nanosecond a byte; a regular expression takes thirty.
_SHORTEST = 19
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"0" * 9 + b"e")
_LONG = b"0" * _SHORTEST
# Without one of these no number is larger than a double, or than MAX_INT_BITS: then none is looked at one by one.
_HUGE = (b"0" * 300, b"e000", b"e+000")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes | bytearray | memoryview | str) -> Any:
    """The value of JSON text in UTF-8. Raises ValueError (json.JSONDecodeError) for what is none or cannot be kept."""
    text = _encoded(data) if isinstance(data, str) else bytes(data)
    if len(text) >= _SHORTEST and _LONG in (alike := text.translate(_DIGITS_ALIKE)):
        return _slowly(text, any(pattern in alike for pattern in _HUGE))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if b"NaN" in text or b"Infinity" in text:
            _slowly(text, huge=False)  # it names the word, where orjson says `unexpected character`
        raise


def dumps(value: Any, option: int = 0) -> bytes:
    """Compact JSON; `option` is orjson's. Raises TypeError for what is not JSON data or cannot be kept.

    As with orjson, a float that is not finite becomes null: whoever takes values that are not from JSON or from a
    template looks at them first (`is_finite`).
    """
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        # Most often it is one long number. Whatever else it is, orjson says so once more.
        return orjson.dumps(_with_digits(value, 0), option=option)


def is_finite(value: Any) -> bool:
    """Whether no number inside is NaN or infinite."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return all(map(is_finite, value)) if isinstance(value, list | tuple) else True


# --- reading -------------------------------------------------------------------------------------------------------


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise json.JSONDecodeError("half of a surrogate pair is no character", text, error.start) from None


def _slowly(text: bytes, huge: bool) -> Any:
    """As strict as orjson, with every digit; `huge`: some number may be too large to be kept."""
    try:
        source = text.decode()
    except UnicodeDecodeError as error:
        raise json.JSONDecodeError("it is not UTF-8", "", error.start) from None
    try:
        value = (_WARY if huge else _PLAIN).decode(source)
    except _NumberError as error:
        message, digits = error.args
        raise json.JSONDecodeError(message, source, source.find(digits)) from None
    except RecursionError:
        raise json.JSONDecodeError("it nests too deeply", source, 0) from None
    if (half := _HALF.search(source)) and not _is_text(text, value):
        raise json.JSONDecodeError("half of a surrogate pair is no character", source, half.start())
    return value


class _NumberError(Exception):
    """A number that cannot be kept: why, and how it is written."""


def _whole(digits: str) -> int:
    if len(digits) > _MAX_DIGITS + 1 or (number := int(digits)).bit_length() > MAX_INT_BITS:
        raise _NumberError(f"a whole number has more than {MAX_INT_BITS:,} bits", digits)
    return number


def _decimal(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _NumberError("a number is larger than a decimal can be", digits)
    return number


def _no_number(word: str) -> Any:
    raise _NumberError(f"{word} is no number of JSON", word)


# The first reads numbers in C; the second calls Python for each, which takes ten times as long.
_PLAIN = json.JSONDecoder(parse_constant=_no_number)
_WARY = json.JSONDecoder(parse_int=_whole, parse_float=_decimal, parse_constant=_no_number)


def _is_text(text: bytes, value: Any) -> bool:
    """Whether no half of a surrogate pair is in it. orjson refuses them, and numbers that are none of its own."""
    try:
        orjson.loads(text)
        return True
    except orjson.JSONDecodeError:
        pass
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


# --- writing -------------------------------------------------------------------------------------------------------

_MAX_DEPTH = 255  # orjson writes 254 levels
_AS_THEY_ARE = frozenset({str, float, bool, type(None)})


def _with_digits(value: Any, depth: int) -> Any:
    """The same data with long numbers as they are to be written."""
    if type(value) is int:
        return value if _INT_MIN <= value <= _INT_MAX else _fragment(value)
    if depth > _MAX_DEPTH:
        return value
    # Most of what is inside needs no call of its own, which is what takes the time.
    if isinstance(value, dict):
        return {
            key: item if type(item) in _AS_THEY_ARE else _with_digits(item, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [item if type(item) in _AS_THEY_ARE else _with_digits(item, depth + 1) for item in value]
    return value


def _fragment(number: int) -> orjson.Fragment:
    if number.bit_length() > MAX_INT_BITS:
        raise TypeError(f"a whole number has more than {MAX_INT_BITS:,} bits")
    return orjson.Fragment(str(number))
