"""What arguments of filters must be, found while a flow is validated: words of a list, numbers, zones, queries.

An argument that is data is looked at by the filter itself, when it has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from automata.flow import codecfilters, csvfilters, datefilters, decimalfilters, jmesfilters, jwtfilters, shapefilters
from automata.flow.budget import TemplateError
from automata.flow.textfilters import MAX_PATTERN, readable_pattern
from automata.flow.timefilters import zone_of

# What is wrong with a value, as the end of a sentence; None for nothing.
Check = Callable[[object], str | None]


def _word(name: str, words: Iterable[str]) -> Check:
    known = sorted(words)

    def check(value: object) -> str | None:
        return None if value in known else f"`{name}` is one of {', '.join(known)}"

    return check


def _whole(name: str, low: int, high: int) -> Check:
    def check(value: object) -> str | None:
        if value is None or (type(value) is int and low <= value <= high):
            return None
        return f"`{name}` is a whole number from {low:,} to {high:,}"

    return check


def _rounding(value: object) -> str | None:
    return None if value is None else _word("rounding", decimalfilters.ROUNDINGS)(value)


def _zone(value: object) -> str | None:
    try:
        zone_of(value)
    except TemplateError as error:
        return error.message.rstrip(".")
    return None


def _pattern(value: object) -> str | None:
    if isinstance(value, str) and readable_pattern(value):
        return None
    return f"a regular expression is RE2's, of at most {MAX_PATTERN:,} characters: no look-around, no back references"


_AMOUNT = -datefilters.MAX_AMOUNT, datefilters.MAX_AMOUNT
_DECIMAL: Mapping[str, Check] = {"places": _whole("places", 0, decimalfilters.MAX_PLACES), "rounding": _rounding}
_ALGORITHM = _word("algorithm", codecfilters.ALGORITHMS)
_ENCODING = _word("encoding", codecfilters.ENCODERS)
_KEY_ENCODING = _word("key_encoding", codecfilters.KEY_ENCODINGS)

CHECKS: Mapping[str, Mapping[str, Check]] = {
    "add_time": {"timezone": _zone, **{unit: _whole(unit, *_AMOUNT) for unit in datefilters.AMOUNTS}},
    "chunk": {"size": _whole("size", 1, shapefilters.MAX_CHUNK)},
    "dec_div": _DECIMAL,
    "decimal": _DECIMAL,
    "find_all": {"pattern": _pattern},
    "hash": {"algorithm": _ALGORITHM, "encoding": _ENCODING},
    "hmac": {"algorithm": _ALGORITHM, "encoding": _ENCODING, "key_encoding": _KEY_ENCODING},
    "jmespath": {"expression": jmesfilters.problem_of},
    "join_on": {"how": _word("how", shapefilters.JOINS)},
    "jwt_sign": {"algorithm": _word("algorithm", jwtfilters.JWT_ALGORITHMS), "key_encoding": _KEY_ENCODING},
    "start_of": {"timezone": _zone, "unit": _word("unit", datefilters.STARTS)},
    "time_diff": {"timezone": _zone, "unit": _word("unit", datefilters.UNITS)},
    "to_csv": {"formulas": _word("formulas", csvfilters.FORMULAS)},
}
WRITTEN_OUT: Mapping[str, frozenset[str]] = {"jmespath": frozenset({"expression"})}
