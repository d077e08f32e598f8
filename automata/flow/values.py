"""What templates may do with values: look up, compare, add, turn into text. All of it is paid for."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from automata.flow.budget import (
    MAX_DEPTH,
    MAX_INT_BITS,
    MAX_RESULT_ITEMS,
    MAX_RESULT_TEXT,
    AbsentError,
    Budget,
    TemplateError,
    exceeded,
    misfit,
)
from automata.flow.exact_json import dumps

SCALARS = frozenset({str, int, float, bool, type(None)})
NUMBERS = frozenset({int, float, bool})
# Below this, comparing two strings costs no more than the comparison itself.
_SHORT = 64

_KINDS: Mapping[type, str] = {
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def kind(value: Any) -> str:
    """The value's kind in a user's words; never the value, which may be a secret."""
    return _KINDS.get(type(value), "not JSON data")


def not_data() -> TemplateError:
    return TemplateError("The result is not JSON data.", code="AF213")


def weigh(budget: Budget, value: Any, depth: int = 0) -> tuple[int, int]:
    """Items and characters of the value when written out, shared parts counted as often as they appear.

    Raises TemplateError for what is not JSON data, too deep, or too large to be written.
    """
    if type(value) is str:
        return 1, len(value) + 2
    if type(value) not in (dict, list, tuple):
        return 1, _scalar_width(value)
    known = budget.weights.get(id(value))
    if known is not None:
        return known[1], known[2]
    if depth > MAX_DEPTH:
        raise TemplateError(f"The value is nested more than {MAX_DEPTH} levels deep.", code="AF213")
    items, width = _sum_weights(budget, value, depth)
    if items > MAX_RESULT_ITEMS or width > MAX_RESULT_TEXT:
        raise exceeded("The template builds a value that is too large to be written out.")
    budget.weights[id(value)] = (value, items, width)
    return items, width


def _sum_weights(budget: Budget, value: Any, depth: int) -> tuple[int, int]:
    items, width = 1, 2
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                raise not_data()
            width += len(key) + 3
        value = value.values()
    budget.pay(2 * len(value) + 8)
    for part in value:
        more, wider = weigh(budget, part, depth + 1)
        items += more
        width += wider + 1
    return items, width


def _scalar_width(value: Any) -> int:
    if type(value) not in SCALARS:
        raise not_data()
    if type(value) is float and not math.isfinite(value):
        raise TemplateError("The result is not a finite number.", code="AF213")
    return value.bit_length() // 3 + 1 if type(value) is int else 4


def dump_json(budget: Budget, value: Any) -> str:
    """Compact JSON; the size is known to be bearable before a character of it exists."""
    _, width = weigh(budget, value)
    budget.make(width)
    try:
        text = dumps(value).decode()
    except TypeError:
        raise not_data() from None
    budget.make(len(text))
    return text


def text_of(budget: Budget, value: Any) -> str:
    """How a value reads inside text: a string as it is, everything else as JSON."""
    cls = type(value)
    if cls is str:
        return value  # type: ignore[no-any-return]
    if cls is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    if cls is int or cls is float:
        return _number_text(value)
    return dump_json(budget, value)


def _number_text(value: float) -> str:
    if type(value) is int:
        if value.bit_length() > MAX_INT_BITS:
            raise exceeded("A number is too large to be written.")
    elif not math.isfinite(value):
        raise TemplateError("The result is not a finite number.", code="AF213")
    return repr(value)


def lookup(value: Any, key: Any) -> Any:
    """One step into an object (string key), a list or a string (integer index); AbsentError when there is nothing."""
    cls, wanted = type(value), type(key)
    if cls is dict:
        if wanted is str and key in value:
            return value[key]
    elif wanted is int and cls in (list, tuple, str) and -len(value) <= key < len(value):
        return value[key]
    raise AbsentError("", value, key)


def nearby_keys(holder: Any) -> list[str]:
    """Key names worth comparing with a misspelt one; few and short, since they may come from outside."""
    if type(holder) is not dict:
        return []
    keys = (key for key in islice(holder, 200) if type(key) is str and len(key) <= 64)
    return [key for key in keys if not key.startswith("__")]


def listing(value: Any) -> Any:
    """What a loop or a list filter walks over: a list, the keys of an object, the characters of a string."""
    cls = type(value)
    if cls is list or cls is dict or cls is tuple or cls is str:
        return value
    raise misfit(f"A list is needed here, this is {kind(value)}.")


# --- comparing -----------------------------------------------------------------------------------------------------


def equal(budget: Budget, left: Any, right: Any) -> bool:
    """`a == b`, at a cost that grows with the values."""
    if type(left) in SCALARS and type(right) in SCALARS:
        if type(left) is str and len(left) > _SHORT and type(right) is str and len(left) == len(right):
            budget.scan(len(left))
        return bool(left == right)
    if type(left) is not type(right) or len(left) != len(right):
        return False
    budget.turn(min(weigh(budget, left)[0], weigh(budget, right)[0]))
    return bool(left == right)


def contains(budget: Budget, container: Any, item: Any) -> bool:
    """`item in container`: a part of a string, a member of a list, a key of an object."""
    cls = type(container)
    if cls is str and type(item) is str:
        budget.scan(len(container) + len(item))
        return item in container
    if cls is dict:
        return type(item) is str and item in container
    if cls is list or cls is tuple:
        return _has_member(budget, container, item)
    raise misfit(f"`in` looks into a string, a list or an object, not {kind(item)} into {kind(container)}.")


def _has_member(budget: Budget, members: Any, item: Any) -> bool:
    if type(item) in SCALARS:
        budget.turn(len(members), 1)
        if type(item) is str and len(item) > _SHORT:
            budget.scan(len(item) * len(members))
        return item in members
    budget.turn(len(members))
    return any(equal(budget, member, item) for member in members)


ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
}


def ordered(budget: Budget, order: str, left: Any, right: Any) -> bool:
    """`<`, `<=`, `>`, `>=` of two numbers or two strings."""
    if type(left) is str and type(right) is str:
        budget.scan(min(len(left), len(right)))
    elif type(left) not in NUMBERS or type(right) not in NUMBERS:
        raise misfit(f"Numbers or strings can be ordered, not {kind(left)} and {kind(right)}.")
    return ORDERS[order](left, right)


# --- arithmetic ----------------------------------------------------------------------------------------------------


def add(budget: Budget, left: Any, right: Any) -> Any:
    """Numbers are added, strings and lists joined."""
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return bounded(left + right)
    if type(left) is str and type(right) is str:
        budget.make(len(left) + len(right))
        return left + right
    if type(left) in (list, tuple) and type(right) in (list, tuple):
        budget.turn(len(left) + len(right))
        return [*left, *right]
    raise misfit(
        f"`+` needs two numbers, two strings or two lists, not {kind(left)} and {kind(right)}.",
        "`~` joins anything as text.",
    )


def multiply(budget: Budget, left: Any, right: Any) -> Any:
    """Numbers are multiplied; a string or list is repeated."""
    if type(left) in NUMBERS and type(right) in NUMBERS:
        _check_bits(_bits(left) + _bits(right))
        return bounded(left * right)
    if type(left) is int:
        left, right = right, left
    if type(right) is int and type(left) in (str, list, tuple):
        size = len(left) * max(right, 0)
        if type(left) is str:
            budget.make(size)
            return left * right
        budget.turn(size)
        return list(left) * right
    raise misfit(f"`*` needs two numbers, or a string or list and a whole number, not {kind(left)} and {kind(right)}.")


def power(budget: Budget, left: Any, right: Any) -> Any:
    """`a ** b`, within the bounds of numbers."""
    _numbers("**", left, right)
    if type(left) is not float and type(right) is not float and right > 0:
        _check_bits(_bits(left) * right)
    return bounded(left**right)


def _plain(symbol: str, function: Callable[[Any, Any], Any]) -> Callable[[Budget, Any, Any], Any]:
    def apply(budget: Budget, left: Any, right: Any) -> Any:
        _numbers(symbol, left, right)
        return bounded(function(left, right))

    return apply


def _numbers(symbol: str, left: Any, right: Any) -> None:
    if type(left) not in NUMBERS or type(right) not in NUMBERS:
        raise misfit(f"`{symbol}` needs two numbers, not {kind(left)} and {kind(right)}.")


def _bits(value: float) -> int:
    return value.bit_length() if isinstance(value, int) else 0


def _check_bits(bits: int) -> None:
    if bits > MAX_INT_BITS:
        raise exceeded(f"A number grows beyond {MAX_INT_BITS:,} bits.")


def bounded(value: Any) -> Any:
    """A number that may leave an operation: finite, real, and not too long."""
    if type(value) is float:
        if not math.isfinite(value):
            raise TemplateError("The result is not a finite number.", code="AF213")
    elif type(value) is complex:
        raise misfit("The result is not a real number.")
    else:
        _check_bits(_bits(value))
    return value


OPERATIONS: Mapping[str, Callable[[Budget, Any, Any], Any]] = {
    "Add": add,
    "Sub": _plain("-", operator.sub),
    "Mul": multiply,
    "Div": _plain("/", operator.truediv),
    "FloorDiv": _plain("//", operator.floordiv),
    "Mod": _plain("%", operator.mod),
    "Pow": power,
}
