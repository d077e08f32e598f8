"""CSV in and out, as RFC 4180 has it. Every value that comes in is text: what a number is, the flow says."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from automata.flow.budget import MAX_TEXT, Budget, TemplateError, misfit
from automata.flow.listfilters import object_of, walk
from automata.flow.values import kind, text_of

MAX_COLUMNS = 1_000
FORMULAS = frozenset({"keep", "quote"})
# What spreadsheets take for the start of a formula, in a field of whoever filled in a form.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def from_csv(budget: Budget, value: Any, delimiter: str = ",", header: Any = True) -> list[Any]:
    """Objects with the names of the first line; lists with `header=false`; or `header` is the list of names.

    Lines that are empty are left out. A line with more or fewer fields than there are names is refused.
    """
    rows = _rows(budget, value, delimiter)
    if header is False:
        return [row for _, row in rows]
    names = next(rows, (0, []))[1] if header is True else header
    _check_names(names)
    return [dict(zip(names, _fitting(row, names, line), strict=True)) for line, row in rows]


def _rows(budget: Budget, value: Any, delimiter: Any) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of every line that is not empty."""
    if type(value) is not str:
        raise misfit(f"`from_csv` reads text, this is {kind(value)}.")
    if len(value) > MAX_TEXT:
        raise misfit(f"`from_csv` reads at most {MAX_TEXT:,} characters.")
    budget.make(len(value))
    text = io.StringIO(value.removeprefix("\ufeff"), newline="")
    reader = csv.reader(text, delimiter=_checked(delimiter), strict=True)
    try:
        for row in reader:
            budget.turn()
            budget.grow(len(row))
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise misfit(f"`from_csv` cannot read line {reader.line_num}: {error}.") from None


def _check_names(names: Any) -> None:
    if type(names) is not list or any(type(name) is not str for name in names):
        raise misfit("`header` is true, false, or the list of the columns' names.")
    if len(names) > MAX_COLUMNS:
        raise misfit(f"A table has at most {MAX_COLUMNS:,} columns.")
    if len(set(names)) < len(names):
        raise misfit("Two columns have one name.", "Name them with `header=[...]`, or take lists with `header=false`.")


def _fitting(row: list[str], names: list[str], line: int) -> list[str]:
    if len(row) != len(names):
        raise misfit(f"The row that ends in line {line} has {len(row)} fields, and there are {len(names)} columns.")
    return row


def _checked(delimiter: Any) -> str:
    if type(delimiter) is not str or len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise misfit("`delimiter` is one character, such as ',', ';' or '\\t'.")
    return delimiter


def to_csv(
    budget: Budget, value: Any, columns: Any = None, delimiter: str = ",", header: bool = True, formulas: str = "keep"
) -> str:
    """A table of objects or of lists; lines end with CR LF, null is an empty field.

    `columns` names the fields and their order; without it they are those of the first object, and every object has
    these. `formulas='quote'` puts `'` before a text that a spreadsheet would take for a formula.
    """
    if formulas not in FORMULAS:
        raise misfit("`formulas` is 'keep' or 'quote'.")
    rows = walk(budget, value)
    if type(rows) is not list:
        raise misfit(f"A list is needed here, this is {kind(value)}.")
    names = _columns(rows, columns)
    table = [] if names is None or not header else [list(names)]
    table += [_fields(budget, row, names, columns is None) for row in rows]
    return _written(budget, table, _checked(delimiter), formulas == "quote")


def _columns(rows: list[Any], columns: Any) -> list[str] | None:
    """The names, or None where the rows are lists."""
    if columns is None and not (rows and type(rows[0]) is dict):
        return None
    names = list(rows[0]) if columns is None else columns
    _check_names(names)
    return names


def _fields(budget: Budget, row: Any, names: list[str] | None, strict: bool) -> list[Any]:
    if names is None:
        if type(row) is not list:
            raise misfit(f"The rows are lists or objects, all alike; one is {kind(row)}.")
        budget.grow(len(row))
        return row
    fields = object_of(budget, row, turns=0)
    budget.grow(len(names))
    if strict and (len(fields) != len(names) or any(name not in fields for name in names)):
        raise misfit("The objects have not all the same fields.", "`columns=[...]` says which ones the table has.")
    return [fields.get(name) for name in names]


def _written(budget: Budget, table: list[list[Any]], delimiter: str, quoted: bool) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n", strict=True)
    for row in table:
        fields = [_field(budget, part, quoted) for part in row]
        budget.emit(sum(map(len, fields)) + len(fields) + 2)
        writer.writerow(fields)
    text = out.getvalue()
    budget.make(len(text))
    return text


def _field(budget: Budget, value: Any, quoted: bool) -> str:
    if value is None:
        return ""
    if type(value) in (list, dict, tuple):
        raise _no_field(value)
    text = text_of(budget, value)
    budget.pay(len(text))
    return f"'{text}" if quoted and type(value) is str and text.startswith(_FORMULA_STARTS) else text


def _no_field(value: Any) -> TemplateError:
    return misfit(f"A field holds text, a number, true, false or null, not {kind(value)}.", "`| json` gives its text.")


CSV_FILTERS: Mapping[str, Callable[..., Any]] = {"from_csv": from_csv, "to_csv": to_csv}
