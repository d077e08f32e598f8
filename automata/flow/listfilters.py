"""Filters over lists and objects, and over numbers. They always give new JSON data and charge what they walk."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import groupby as runs
from typing import Any

from automata.flow.budget import AbsentError, Budget, TemplateError, exceeded, misfit
from automata.flow.values import NUMBERS, add, bounded, dump_json, kind, listing, lookup, text_of

Reader = Callable[[Any], Any]

MAX_EXACT = 1 << 53  # beyond it a double no longer has every whole number
MAX_DIGITS = 1_300  # of a number in a text: MAX_INT_BITS are 1,234

_NUMBER = re.compile(r"\s*[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?\s*")


def walk(budget: Budget, value: Any) -> Any:
    """The value as something to iterate, its length paid as loop turns."""
    items = listing(value)
    budget.turn(len(items))
    return items


def reader(attribute: Any) -> Reader:
    """`attribute='a.b.0'` as a function; keys and list positions only."""
    if type(attribute) is int:
        return lambda item: lookup(item, attribute)
    if type(attribute) is not str:
        raise misfit("`attribute` is a name, like 'id' or 'customer.name'.")
    parts = [int(part) if part.isdecimal() else part for part in attribute.split(".")]

    def read(item: Any) -> Any:
        for part in parts:
            try:
                item = lookup(item, part)
            except AbsentError as error:
                raise AbsentError(f"attribute '{attribute}'", error.holder, error.key) from None
        return item

    return read


def _same(item: Any) -> Any:
    return item


def _sorting(budget: Budget, items: Iterable[Any], attribute: Any, case_sensitive: bool) -> list[Any]:
    """One key an item, all of them numbers or all strings, so that ordering them cannot fail or explode."""
    read = _same if attribute is None else reader(attribute)
    keys = [read(item) for item in items]
    kinds = {"number" if type(key) in NUMBERS else kind(key) for key in keys}
    if len(kinds) > 1 or not kinds <= {"number", "a string"}:
        raise misfit(f"Numbers or strings can be put in order, not {', '.join(sorted(kinds))}.")
    if "a string" in kinds:
        # n strings are compared about n*log(n) times; twice their text stands for it.
        budget.pay(2 * sum(map(len, keys)))
        return keys if case_sensitive else [key.lower() for key in keys]
    return keys


def sort(
    budget: Budget, value: Any, reverse: bool = False, case_sensitive: bool = False, attribute: Any = None
) -> list[Any]:
    """`list | sort(reverse, case_sensitive, attribute)`."""
    items = list(walk(budget, value))
    keys = _sorting(budget, items, attribute, case_sensitive)
    order = sorted(range(len(items)), key=keys.__getitem__, reverse=bool(reverse))
    return [items[index] for index in order]


def minimum(budget: Budget, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    """`list | min(attribute)`."""
    return _extreme(budget, value, case_sensitive, attribute, min)


def maximum(budget: Budget, value: Any, case_sensitive: bool = False, attribute: Any = None) -> Any:
    """`list | max(attribute)`."""
    return _extreme(budget, value, case_sensitive, attribute, max)


def _extreme(budget: Budget, value: Any, case_sensitive: bool, attribute: Any, choose: Any) -> Any:
    items = list(walk(budget, value))
    if not items:
        raise AbsentError("the extreme of an empty list")
    keys = _sorting(budget, items, attribute, case_sensitive)
    return items[choose(range(len(items)), key=keys.__getitem__)]


def identity(budget: Budget, value: Any, case_sensitive: bool) -> Any:
    """A key that is equal for equal JSON values; large integers go by their text, for their hashes can collide."""
    cls = type(value)
    if cls is str:
        return value if case_sensitive else value.lower()
    if cls is bool or value is None:
        return (value,)
    if cls is float or (cls is int and abs(value) < 1 << 60):
        return value
    return ("text", text_of(budget, value) if cls is int else dump_json(budget, value))


def unique(budget: Budget, value: Any, case_sensitive: bool = False, attribute: Any = None) -> list[Any]:
    """`list | unique(attribute)`: the first of equal items stays."""
    read = _same if attribute is None else reader(attribute)
    chosen: dict[Any, Any] = {}
    for item in walk(budget, value):
        key = read(item)
        if type(key) is str:
            budget.pay(len(key))
        chosen.setdefault(identity(budget, key, case_sensitive), item)
    return list(chosen.values())


def groupby(budget: Budget, value: Any, attribute: Any, default: Any = None, case_sensitive: bool = False) -> list[Any]:
    """`[[key, [items]], ...]`, ordered by key."""
    items = list(walk(budget, value))
    read = reader(attribute)

    def grouper(item: Any) -> Any:
        try:
            return read(item)
        except AbsentError:
            if default is None:
                raise
            return default

    originals = [grouper(item) for item in items]
    keys = _sorting(budget, originals, None, case_sensitive)
    order = sorted(range(len(items)), key=keys.__getitem__)
    groups = (list(group) for _, group in runs(order, key=keys.__getitem__))
    return [[originals[group[0]], [items[index] for index in group]] for group in groups]


def total(budget: Budget, value: Any, attribute: Any = None, start: Any = 0) -> Any:
    """`list | sum(attribute, start)`."""
    read = _same if attribute is None else reader(attribute)
    for item in walk(budget, value):
        number = read(item)
        if type(number) not in NUMBERS or type(start) not in NUMBERS:
            raise misfit(f"`sum` adds numbers, not {kind(number)}.")
        start = add(budget, start, number)
    return start


def length(budget: Budget, value: Any) -> int:
    """`value | length`."""
    return len(listing(value))


def first(budget: Budget, value: Any) -> Any:
    """`value | first`. Raises AbsentError when there is none."""
    for item in listing(value):
        return item
    raise AbsentError("the first item of an empty list")


def last(budget: Budget, value: Any) -> Any:
    """`value | last`. Raises AbsentError when there is none."""
    for item in reversed(listing(value)):
        return item
    raise AbsentError("the last item of an empty list")


def as_list(budget: Budget, value: Any) -> list[Any]:
    """`value | list`."""
    return list(walk(budget, value))


def reverse(budget: Budget, value: Any) -> Any:
    """`value | reverse`, of a list or a text."""
    if type(value) is str:
        budget.make(len(value))
        return value[::-1]
    return list(reversed(walk(budget, value)))


def items(budget: Budget, value: Any) -> list[Any]:
    """`[[key, value], ...]` in the object's order."""
    return [[key, part] for key, part in object_of(budget, value).items()]


def keys(budget: Budget, value: Any) -> list[Any]:
    """`object | keys`."""
    return list(object_of(budget, value))


def values(budget: Budget, value: Any) -> list[Any]:
    """`object | values`."""
    return list(object_of(budget, value).values())


def dictsort(
    budget: Budget, value: Any, case_sensitive: bool = False, by: str = "key", reverse: bool = False
) -> list[Any]:
    """`object | dictsort(case_sensitive, by, reverse)`: pairs, by key or by value."""
    if by not in ("key", "value"):
        raise misfit("`dictsort` sorts by 'key' or by 'value'.")
    pairs = [[key, part] for key, part in object_of(budget, value, turns=0).items()]
    return sort(budget, pairs, reverse, case_sensitive, 0 if by == "key" else 1)


def object_of(budget: Budget, value: Any, turns: int = 1) -> dict[str, Any]:
    """The value as an object, its length paid as loop turns. Raises TemplateError for anything else."""
    if type(value) is not dict:
        raise misfit(f"An object is needed here, this is {kind(value)}.")
    budget.turn(turns * len(value))
    return value


def _count(value: Any, name: str, most: int = 10_000) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise misfit(f"`{name}` is a whole number from 1 to {most:,}.")
    return value


def batch(budget: Budget, value: Any, linecount: int, fill_with: Any = None) -> list[Any]:
    """Lists of `linecount` items; the last one is filled up when `fill_with` is given."""
    size = _count(linecount, "linecount")
    parts = list(walk(budget, value))
    rows = [parts[start : start + size] for start in range(0, len(parts), size)]
    if rows and fill_with is not None:
        budget.turn(size)
        rows[-1] += [fill_with] * (size - len(rows[-1]))
    return rows


def slices(budget: Budget, value: Any, slices: int, fill_with: Any = None) -> list[Any]:
    """`slices` lists of nearly equal length, in order."""
    count = _count(slices, "slices")
    parts = list(walk(budget, value))
    budget.turn(count)
    size, rest = divmod(len(parts), count)
    rows, start = [], 0
    for number in range(count):
        end = start + size + (number < rest)
        filler = [fill_with] if fill_with is not None and rest and number >= rest else []
        rows.append(parts[start:end] + filler)
        start = end
    return rows


# --- numbers -------------------------------------------------------------------------------------------------------


def absolute(budget: Budget, value: Any) -> Any:
    """`number | abs`."""
    return abs(_number(value))


def _number(value: Any) -> Any:
    if type(value) not in NUMBERS:
        raise misfit(f"A number is needed here, this is {kind(value)}.")
    return value


def rounded(budget: Budget, value: Any, precision: int = 0, method: str = "common") -> Any:
    """As Jinja: a float, also with precision 0."""
    if type(precision) is not int or not -30 <= precision <= 30:
        raise misfit("`precision` is a whole number from -30 to 30.")
    if type(value) is int and abs(value) > MAX_EXACT:
        raise misfit("`round` gives a decimal, which has not the digits of so large a number.")
    if method == "common":
        return bounded(round(float(_number(value)), precision))
    if method not in ("ceil", "floor"):
        raise misfit("`method` is 'common', 'ceil' or 'floor'.")
    scale = 10.0**precision
    return bounded((math.ceil if method == "ceil" else math.floor)(_number(value) * scale) / scale)


def integer(budget: Budget, value: Any, default: Any = 0, base: int = 10) -> Any:
    """As Jinja: what is no number gives `default`."""
    if type(base) is not int or not (base == 0 or 2 <= base <= 36):
        raise misfit("`base` is a whole number from 2 to 36.")
    try:
        if type(value) is str:
            return _parsed(budget, value, base)
        return bounded(int(_number(value)))
    except TemplateError as error:
        if error.budget:
            raise
        return default
    except (ValueError, OverflowError):
        return default


def _parsed(budget: Budget, text: str, base: int) -> int:
    # Reading digits takes quadratic time.
    if len(text) > MAX_DIGITS:
        raise _too_large(budget, text)
    try:
        return bounded(int(text, base))  # type: ignore[no-any-return]
    except ValueError:
        return _whole_part(budget, text)


def _whole_part(budget: Budget, text: str) -> int:
    """Of a decimal, with every digit that is written. Raises ValueError, OverflowError as `int(float(text))` does."""
    number = float(text)
    if not math.isfinite(number):
        raise _too_large(budget, text)
    return int(number) if abs(number) < MAX_EXACT else int(Decimal(text.strip()))


def _too_large(budget: Budget, text: str) -> Exception:
    """A number that cannot be kept is an error; words, as `inf` and `nan` are, are no numbers."""
    budget.scan(len(text))
    return exceeded("A number in a text is too large.") if _NUMBER.fullmatch(text) else ValueError(text[:20])


def floating(budget: Budget, value: Any, default: Any = 0.0) -> Any:
    """As Jinja: what is no number gives `default`."""
    try:
        if type(value) is str:
            return _decimal(budget, value)
        return float(_number(value))
    except OverflowError:
        raise exceeded("A whole number is too large for a decimal.") from None
    except TemplateError as error:
        if error.budget:
            raise
        return default
    except ValueError:
        return default


def _decimal(budget: Budget, text: str) -> float:
    number = math.inf if len(text) > MAX_DIGITS else float(text)
    if not math.isfinite(number):
        raise _too_large(budget, text)
    return number


LIST_FILTERS: Mapping[str, Callable[..., Any]] = {
    "abs": absolute,
    "batch": batch,
    "count": length,
    "dictsort": dictsort,
    "first": first,
    "float": floating,
    "groupby": groupby,
    "int": integer,
    "items": items,
    "keys": keys,
    "last": last,
    "length": length,
    "list": as_list,
    "max": maximum,
    "min": minimum,
    "reverse": reverse,
    "round": rounded,
    "slice": slices,
    "sort": sort,
    "sum": total,
    "unique": unique,
    "values": values,
}
