"""The allowlist: every filter, test and function there is, with the arguments each takes."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from automata.flow.budget import MAX_TURNS, Budget, exceeded, misfit
from automata.flow.codecfilters import CODEC_FILTERS
from automata.flow.csvfilters import CSV_FILTERS
from automata.flow.datefilters import DATE_FILTERS
from automata.flow.decimalfilters import DECIMAL_FILTERS
from automata.flow.filterchecks import CHECKS, WRITTEN_OUT, Check
from automata.flow.jmesfilters import JMES_FILTERS
from automata.flow.jwtfilters import JWT_FILTERS
from automata.flow.listfilters import LIST_FILTERS
from automata.flow.shapefilters import SHAPE_FILTERS
from automata.flow.textfilters import TEXT_FILTERS
from automata.flow.timefilters import TIME_FILTERS
from automata.flow.values import NUMBERS, contains, equal, kind, ordered
from automata.flow.xmlfilters import XML_FILTERS

# These look at names of other filters or at undefined values, so the expression compiler does them itself.
MAPPING = frozenset({"map", "select", "reject", "selectattr", "rejectattr"})
LENIENT = frozenset({"default", "d", "coalesce"})


@dataclass(frozen=True, slots=True)
class Tool:
    """A filter, test or function: called with the budget, the value (not for functions) and its arguments.

    `checks`: what arguments must be that are written out. Those in `written_out` cannot be anything else.
    """

    name: str
    call: Callable[..., Any]
    signature: inspect.Signature
    checks: Mapping[str, Check]
    written_out: frozenset[str]

    def mismatch(self, positional: int, named: Iterable[str]) -> str | None:
        """What is wrong with calling it so, or None. `positional` counts the value, not the budget."""
        try:
            self.signature.bind(*[None] * (positional + 1), **dict.fromkeys(named))
        except TypeError as error:
            return str(error)
        return None


def _tools(calls: Mapping[str, Callable[..., Any]]) -> dict[str, Tool]:
    nothing: Mapping[str, Check] = {}
    return {
        name: Tool(name, call, inspect.signature(call), CHECKS.get(name, nothing), WRITTEN_OUT.get(name, frozenset()))
        for name, call in calls.items()
    }


def nearest(name: str, names: Iterable[str]) -> str | None:
    """A hint for a misspelt name, or None when nothing is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"Did you mean `{close[0]}`?" if close else None


# --- tests ---------------------------------------------------------------------------------------------------------


def _is(*classes: type) -> Callable[[Budget, Any], bool]:
    def test(budget: Budget, value: Any) -> bool:
        return type(value) in classes

    return test


def _order(order: str) -> Callable[[Budget, Any, Any], bool]:
    def test(budget: Budget, value: Any, other: Any) -> bool:
        return ordered(budget, order, value, other)

    return test


def _unequal(budget: Budget, value: Any, other: Any) -> bool:
    return not equal(budget, value, other)


def _within(budget: Budget, value: Any, seq: Any) -> bool:
    return contains(budget, seq, value)


def _divisible(budget: Budget, value: Any, num: Any = 2) -> bool:
    if type(value) not in NUMBERS or type(num) not in NUMBERS:
        raise misfit(f"Numbers can be divided, not {kind(value)} by {kind(num)}.")
    return bool(value % num == 0)


def _even(budget: Budget, value: Any) -> bool:
    return _divisible(budget, value, 2)


def _odd(budget: Budget, value: Any) -> bool:
    return not _divisible(budget, value, 2)


def _case(check: Callable[[str], bool]) -> Callable[[Budget, Any], bool]:
    def test(budget: Budget, value: Any) -> bool:
        if type(value) is not str:
            return False
        budget.scan(len(value))
        return check(value)

    return test


def _true(budget: Budget, value: Any) -> bool:
    return value is True


def _false(budget: Budget, value: Any) -> bool:
    return value is False


def truthy(budget: Budget, value: Any) -> bool:
    """The test that `select` and `reject` make when they name none."""
    return bool(value)


# `defined` and `undefined` belong to the expression compiler: by the time a test runs, its value exists.
PRESENCE = frozenset({"defined", "undefined"})
TESTS: Mapping[str, Tool] = _tools(
    {
        "!=": _unequal,
        "<": _order("lt"),
        "<=": _order("lteq"),
        "==": equal,
        ">": _order("gt"),
        ">=": _order("gteq"),
        "boolean": _is(bool),
        "divisibleby": _divisible,
        "eq": equal,
        "equalto": equal,
        "even": _even,
        "false": _false,
        "float": _is(float),
        "ge": _order("gteq"),
        "greaterthan": _order("gt"),
        "gt": _order("gt"),
        "in": _within,
        "integer": _is(int),
        "iterable": _is(str, list, tuple, dict),
        "le": _order("lteq"),
        "lessthan": _order("lt"),
        "lower": _case(str.islower),
        "lt": _order("lt"),
        "mapping": _is(dict),
        "ne": _unequal,
        "none": _is(type(None)),
        "number": _is(int, float),
        "odd": _odd,
        "sequence": _is(str, list, tuple, dict),
        "string": _is(str),
        "true": _true,
        "upper": _case(str.isupper),
    }
)


# --- functions -----------------------------------------------------------------------------------------------------


def spread(budget: Budget, *bounds: Any) -> list[int]:
    """`range(stop)`, `range(start, stop)`, `range(start, stop, step)` as a list of at most 100,000 numbers."""
    if not 1 <= len(bounds) <= 3 or any(type(bound) is not int or bound.bit_length() > 62 for bound in bounds):
        raise misfit("`range` takes one to three whole numbers.")
    if bounds[2:] == (0,):
        raise misfit("`range` cannot step by 0.")
    numbers = range(*bounds)
    if len(numbers) > MAX_TURNS:
        raise exceeded(f"`range` gives more than {MAX_TURNS:,} numbers.")
    budget.grow(len(numbers))
    return list(numbers)


FILTERS: Mapping[str, Tool] = _tools(
    {
        **CODEC_FILTERS,
        **CSV_FILTERS,
        **DATE_FILTERS,
        **DECIMAL_FILTERS,
        **JMES_FILTERS,
        **JWT_FILTERS,
        **LIST_FILTERS,
        **SHAPE_FILTERS,
        **TEXT_FILTERS,
        **TIME_FILTERS,
        **XML_FILTERS,
    }
)
FILTER_NAMES = frozenset(FILTERS) | MAPPING | LENIENT
TEST_NAMES = frozenset(TESTS) | PRESENCE

# `now` and `uuid` ask the surroundings of the render; the rest are filters whose value comes first.
AMBIENT = frozenset({"now", "uuid"})
_AS_FUNCTIONS = (
    "b64decode b64encode format_time fromjson hmac_sha256 json keys max merge min parse_time regex_match "
    "regex_replace sha256 split urlencode values"
)
FUNCTIONS: Mapping[str, Tool] = {
    "range": _tools({"range": spread})["range"],
    **{name: FILTERS[name] for name in _AS_FUNCTIONS.split()},
}
FUNCTION_NAMES = frozenset(FUNCTIONS) | AMBIENT | {"coalesce"}
