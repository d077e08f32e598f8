"""Filters that give lists and objects another shape: grouped, joined, cut, put together.

Nothing is lost on the way: where two items would take the same place, or two lists do not fit, the filter says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from automata.flow.budget import MAX_DEPTH, MAX_TURNS, AbsentError, Budget, TemplateError, misfit
from automata.flow.listfilters import Reader, identity, object_of, reader, walk
from automata.flow.values import kind, text_of

MAX_CHUNK = 10_000
MAX_KEYS = 10
JOINS = frozenset({"inner", "left"})

_MISSING = object()


def group_by(budget: Budget, value: Any, attribute: Any, default: Any = None) -> dict[str, list[Any]]:
    """`{key: [items]}` in the order in which the keys come first; `default` is the key of an item without one."""
    groups: dict[str, list[Any]] = {}
    for key, item in _keyed(budget, value, attribute, default):
        groups.setdefault(key, []).append(item)
    return groups


def index_by(budget: Budget, value: Any, attribute: Any) -> dict[str, Any]:
    """`{key: item}`; two items with one key are refused."""
    index: dict[str, Any] = {}
    for key, item in _keyed(budget, value, attribute, None):
        if key in index:
            raise misfit("`index_by` finds two items with one key.", "`group_by` keeps all of them.")
        index[key] = item
    return index


def _keyed(budget: Budget, value: Any, attribute: Any, default: Any) -> Iterator[tuple[str, Any]]:
    read, kinds = reader(attribute), set()
    for item in walk(budget, value):
        try:
            key = read(item)
        except AbsentError:
            if default is None:
                raise
            key = default
        if type(key) not in (str, int, bool):
            raise misfit(f"A key is text, a whole number, true or false, not {kind(key)}.")
        kinds.add(type(key))
        if len(kinds) > 1:
            raise misfit("The keys are of several kinds, which would read alike in an object.")
        text = text_of(budget, key)
        budget.pay(len(text))
        yield text, item


# --- two lists ------------------------------------------------------------------------------------------------------


def join_on(
    budget: Budget, value: Any, other: Any, left: Any, right: Any = None, how: str = "inner", under: Any = None
) -> list[Any]:
    """The objects of two lists that have the same key, as one object each; null is the key of nothing.

    `how='left'` keeps what has no match. A field that is in both with another value is refused, unless `under` names
    the field that holds the other object.
    """
    if how not in JOINS:
        raise misfit("`how` is 'inner' or 'left'.")
    if under is not None and type(under) is not str:
        raise misfit("`under` is the name of a field.")
    ours, theirs = _readers(left), _readers(left if right is None else right)
    if len(ours) != len(theirs):
        raise misfit("Both sides of `join_on` have as many keys.")
    matches: dict[Any, list[Any]] = {}
    for item in walk(budget, other):
        matches.setdefault(_join_key(budget, item, theirs), []).append(item)
    matches.pop(None, None)
    rows = []
    for item in walk(budget, value):
        found = matches.get(_join_key(budget, item, ours), ())
        budget.turn(len(found))
        rows += [_joined(budget, item, match, under) for match in found]
        if not found and how == "left":
            rows.append(_joined(budget, item, None, under))
    return rows


def _join_key(budget: Budget, item: Any, readers: list[Reader]) -> Any:
    """A key to look up; None when a part of it is null."""
    parts = tuple(_part(budget, read, item) for read in readers)
    return None if None in parts else parts


def _part(budget: Budget, read: Reader, item: Any) -> Any:
    part = read(item)
    if type(part) is str:
        budget.pay(len(part))
    return None if part is None else identity(budget, part, True)


def _readers(names: Any) -> list[Reader]:
    listed = list(names) if type(names) is list else [names]
    if not 1 <= len(listed) <= MAX_KEYS:
        raise misfit(f"A join has 1 to {MAX_KEYS} keys.")
    return [reader(name) for name in listed]


def _joined(budget: Budget, item: Any, match: Any, under: str | None) -> dict[str, Any]:
    row = dict(_grown(budget, item))
    if under is not None:
        if under in row:
            raise _both(under)
        row[under] = match
    elif match is not None:
        for name, part in _grown(budget, match).items():
            # Parts of one value are the same thing; other values are looked at only where they are cheap.
            if name in row and row[name] is not part and not _same_scalar(row[name], part):
                raise _both(name)
            row[name] = part
    return row


def _same_scalar(one: Any, other: Any) -> bool:
    plain = (str, int, float, bool, type(None))
    return type(one) in plain and type(one) is type(other) and bool(one == other)


def _both(name: str) -> TemplateError:
    shown = name if len(name) <= 64 else name[:63] + "…"
    return misfit(f"Both sides of `join_on` have a field `{shown}`.", "`under='name'` keeps the other side apart.")


def zip_lists(budget: Budget, value: Any, *others: Any, longest: bool = False) -> list[Any]:
    """`[[a, b, ...], ...]` of lists of one length; `longest=true` fills up with null."""
    lists = [list(walk(budget, part)) for part in (value, *others)]
    most = max(map(len, lists))
    if not longest and min(map(len, lists)) != most:
        raise misfit("`zip` needs lists of one length.", "`longest=true` fills up with null.")
    budget.turn(most)
    budget.grow(most * len(lists))
    return [[part[index] if index < len(part) else None for part in lists] for index in range(most)]


def flatten(budget: Budget, value: Any, depth: int = 1) -> list[Any]:
    """A list with the items of the lists in it, `depth` levels down."""
    if type(value) is not list:
        raise misfit(f"A list is needed here, this is {kind(value)}.")
    items = value
    for _ in range(_whole("depth", depth, MAX_DEPTH)):
        if not any(type(item) is list for item in walk(budget, items)):
            break
        flat: list[Any] = []
        for item in items:
            budget.turn(len(item) if type(item) is list else 1)
            flat.extend(item) if type(item) is list else flat.append(item)
        items = flat
    return list(items)


def chunk(budget: Budget, value: Any, size: int) -> list[Any]:
    """Parts of `size` items, or of so many characters; the last may be shorter."""
    step = _whole("size", size, MAX_CHUNK)
    if type(value) is str:
        budget.make(len(value))
        budget.turn(-(-len(value) // step))
        return [value[start : start + step] for start in range(0, len(value), step)]
    items = list(walk(budget, value))
    return [items[start : start + step] for start in range(0, len(items), step)]


def _whole(name: str, value: Any, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise misfit(f"`{name}` is a whole number from 1 to {most:,}.")
    return value


# --- objects --------------------------------------------------------------------------------------------------------


def merge(budget: Budget, value: Any, *others: Any, deep: bool = False) -> dict[str, Any]:
    """One object of several; the later ones win. `deep=true` merges the objects inside them too, lists are replaced."""
    merged = dict(object_of(budget, value))
    for other in others:
        if deep:
            merged = _deep(budget, merged, other, 0)
        else:
            merged.update(object_of(budget, other))
    return merged


def _deep(budget: Budget, left: dict[str, Any], right: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise TemplateError(f"The value is nested more than {MAX_DEPTH} levels deep.", code="AF213")
    budget.turn(len(left))
    merged = dict(left)
    for name, part in object_of(budget, right).items():
        old = merged.get(name, _MISSING)
        both = type(old) is dict and type(part) is dict
        merged[name] = _deep(budget, old, part, depth + 1) if both else part
    return merged


def pick(budget: Budget, value: Any, *names: Any) -> dict[str, Any]:
    """The object with these fields alone; one that it does not have is left out."""
    wanted = _fields(budget, names)
    return {name: part for name, part in _grown(budget, value).items() if name in wanted}


def omit(budget: Budget, value: Any, *names: Any) -> dict[str, Any]:
    """The object without these fields."""
    unwanted = _fields(budget, names)
    return {name: part for name, part in _grown(budget, value).items() if name not in unwanted}


def _grown(budget: Budget, value: Any) -> dict[str, Any]:
    """An object that is about to be copied. Its fields are items, not turns: most lists have many objects with many."""
    fields = object_of(budget, value, turns=0)
    budget.grow(len(fields))
    return fields


def _fields(budget: Budget, names: tuple[Any, ...]) -> set[str]:
    """Names one by one, or one list of them."""
    listed = names[0] if len(names) == 1 and type(names[0]) is list else list(names)
    budget.turn(min(len(listed), MAX_TURNS + 1))
    if not listed or any(type(name) is not str for name in listed):
        raise misfit("The names of fields are text, one or more.")
    return set(listed)


SHAPE_FILTERS: Mapping[str, Callable[..., Any]] = {
    "chunk": chunk,
    "flatten": flatten,
    "group_by": group_by,
    "index_by": index_by,
    "join_on": join_on,
    "merge": merge,
    "omit": omit,
    "pick": pick,
    "zip": zip_lists,
}
