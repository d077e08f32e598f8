"""Exact decimals: amounts of money, weights, rates. They travel as text, as `"12.30"`, and no digit is lost unseen.

A decimal is read from text, from a whole number, and from a number with a point as long as it has at most 15 digits:
so many survive a double and come out as they were written. `0.1 + 0.2` has 17, so whoever added doubles is told.
A result that its digits cannot hold is refused, unless a rounding is named.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from automata.flow.budget import Budget, TemplateError, exceeded, misfit
from automata.flow.listfilters import reader, walk
from automata.flow.values import kind

ROUNDINGS: Mapping[str, str] = {
    "ceiling": decimal.ROUND_CEILING,
    "down": decimal.ROUND_DOWN,
    "floor": decimal.ROUND_FLOOR,
    "half_down": decimal.ROUND_HALF_DOWN,
    "half_even": decimal.ROUND_HALF_EVEN,
    "half_up": decimal.ROUND_HALF_UP,
    "up": decimal.ROUND_UP,
}
# Far beyond any amount, and short enough that a thousand operations cost no more than a loop.
MAX_DECIMAL_DIGITS = 300
MAX_PLACES = 100
DOUBLE_DIGITS = 15

_DECIMAL = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,4})?")
# As many digits as a product of two has, so that what is refused is refused by `_shown`, and nothing is rounded before.
_EXACT = decimal.Context(
    prec=4 * MAX_DECIMAL_DIGITS,
    Emin=-9_999,
    Emax=9_999,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero],
)
_COST = 100


def exact(budget: Budget, value: Any, places: Any = None, rounding: Any = None) -> str:
    """The number as text, with exactly `places` digits after the point where they are given.

    `rounding` is `half_even`, `half_up`, `half_down`, `up`, `down`, `ceiling` or `floor`; without it, digits that would
    be lost are an error.
    """
    return _shown(_rounded(_read(budget, value), places, rounding))


def add(budget: Budget, value: Any, *others: Any) -> str:
    """The exact sum."""
    return _shown(_folded(budget, _EXACT.add, value, others))


def subtract(budget: Budget, value: Any, *others: Any) -> str:
    """The exact difference."""
    return _shown(_folded(budget, _EXACT.subtract, value, others))


def multiply(budget: Budget, value: Any, *others: Any) -> str:
    """The exact product."""
    return _shown(_folded(budget, _EXACT.multiply, value, others))


def divide(budget: Budget, value: Any, other: Any, places: Any = None, rounding: Any = None) -> str:
    """The quotient with `places` digits after the point, rounded as `rounding` says; without one it must be exact."""
    number, divisor = _read(budget, value), _read(budget, other)
    if not divisor:
        raise misfit("Division by zero.")
    if places is None:
        return _shown(_exact_quotient(number, divisor))
    # One digit beyond the last that is kept, and whether more follow (`ROUND_05UP`), decide every rounding.
    digits = max(number.adjusted() - divisor.adjusted() + _places(places) + 3, 3)
    context = decimal.Context(prec=digits, rounding=decimal.ROUND_05UP, Emin=-9_999, Emax=9_999)
    quotient = context.divide(number, divisor)
    if rounding is None and context.flags[decimal.Inexact]:
        raise _inexact()
    return _shown(_rounded(quotient, places, rounding))


def total(budget: Budget, value: Any, attribute: Any = None) -> str:
    """The exact sum of a list, or of one field of its objects."""
    read = None if attribute is None else reader(attribute)
    parts = [item if read is None else read(item) for item in walk(budget, value)]
    return _shown(_folded(budget, _EXACT.add, "0", parts))


def compare(budget: Budget, value: Any, other: Any) -> int:
    """-1, 0 or 1: whether the number is less than the other, equal, or greater. As text, `"10"` comes before `"9"`."""
    return int(_EXACT.compare(_read(budget, value), _read(budget, other)))


def _folded(budget: Budget, operation: Callable[[Decimal, Decimal], Decimal], value: Any, others: Any) -> Decimal:
    number = _read(budget, value)
    for other in others:
        number = _bounded(operation(number, _read(budget, other)))
    return number


def _read(budget: Budget, value: Any) -> Decimal:
    budget.pay(_COST)
    cls = type(value)
    if cls is str:
        return _of_text(budget, value)
    if cls is int:
        if value.bit_length() > 4 * MAX_DECIMAL_DIGITS:
            raise _too_long()
        return _bounded(Decimal(value))
    if cls is float:
        return _of_double(value)
    raise misfit(f"A decimal is a number or text such as '12.30', not {kind(value)}.")


def _of_text(budget: Budget, text: str) -> Decimal:
    budget.scan(len(text))
    if len(text) > 2 * MAX_DECIMAL_DIGITS:
        raise misfit("This text is no decimal such as '12.30', or is too long for one.")
    if not _DECIMAL.fullmatch(text):
        raise misfit("This text is no decimal such as '12.30': no blanks, no comma, no currency.")
    return _bounded(Decimal(text))


def _of_double(value: float) -> Decimal:
    number = Decimal(repr(value)).normalize()
    if len(number.as_tuple().digits) > DOUBLE_DIGITS:
        raise misfit(
            f"A number with a point and more than {DOUBLE_DIGITS} digits may have lost some.",
            "Have it come as text, or round it first: `| round(2)`.",
        )
    return _bounded(number)


def _bounded(number: Decimal) -> Decimal:
    """A decimal whose digits, written out, are few enough."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    before, after = max(number.adjusted() + 1, 1), max(-exponent, 0)
    if before + after > MAX_DECIMAL_DIGITS or len(digits) > MAX_DECIMAL_DIGITS:
        raise _too_long()
    return number


def _rounded(number: Decimal, places: Any, rounding: Any) -> Decimal:
    if rounding is not None and rounding not in ROUNDINGS:
        raise misfit(f"`rounding` is one of {', '.join(ROUNDINGS)}.")
    if places is None:
        if rounding is not None:
            raise misfit("A rounding needs `places`, the digits after the point.")
        return number
    unit = Decimal(1).scaleb(-_places(places))
    try:
        return number.quantize(unit, ROUNDINGS.get(rounding), _EXACT if rounding is None else _LOSING)
    except decimal.Inexact:
        raise _inexact() from None


_LOSING = decimal.Context(prec=4 * MAX_DECIMAL_DIGITS, Emin=-9_999, Emax=9_999)


def _places(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= MAX_PLACES:
        raise misfit(f"`places` is a whole number from 0 to {MAX_PLACES}.")
    return value


def _exact_quotient(number: Decimal, divisor: Decimal) -> Decimal:
    try:
        return _EXACT.divide(number, divisor)
    except decimal.Inexact:
        raise _inexact() from None


def _shown(number: Decimal) -> str:
    text = format(_bounded(number), "f")
    return text.removeprefix("-") if not number else text


def _inexact() -> TemplateError:
    return misfit("The result has more digits than it may keep.", "Name a rounding, such as 'half_even' or 'half_up'.")


def _too_long() -> TemplateError:
    return exceeded(f"A decimal has more than {MAX_DECIMAL_DIGITS} digits.")


DECIMAL_FILTERS: Mapping[str, Callable[..., Any]] = {
    "dec_add": add,
    "dec_compare": compare,
    "dec_div": divide,
    "dec_mul": multiply,
    "dec_sub": subtract,
    "dec_sum": total,
    "decimal": exact,
}
