"""`jmespath`: the query language for what no other filter does. Every step of it is paid, as of a template."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jmespath import exceptions, functions, visitor
from jmespath.parser import Parser

from automata.flow.budget import ITEM_COST, Budget, misfit
from automata.flow.exact_json import loads
from automata.flow.listfilters import MAX_DIGITS
from automata.flow.values import dump_json, kind, weigh

MAX_EXPRESSION = 1_000
# Measured: a node takes a microsecond.
_NODE_COST = 16
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def jmespath(budget: Budget, value: Any, expression: Any) -> Any:
    """What the JMESPath expression finds in the value; null where there is nothing."""
    tree = _parsed(expression) if type(expression) is str else None
    if tree is None:
        raise misfit("This is no JMESPath expression.")
    try:
        return _Interpreter(budget).visit(tree, value)
    except exceptions.JMESPathTypeError as error:
        # The library's message quotes the value, which may be a secret.
        wanted = " or ".join(error.expected_types)
        raise misfit(f"`{error.function_name}()` of JMESPath needs {wanted}, not {error.actual_type}.") from None
    except exceptions.JMESPathError:
        raise misfit("The JMESPath expression does not fit these values.") from None
    except RecursionError:
        raise misfit("The JMESPath expression is nested too deeply.") from None


def problem_of(expression: Any) -> str | None:
    """What is wrong with an expression, found without data; None when it can be used."""
    if type(expression) is not str:
        return f"a JMESPath expression is text, not {kind(expression)}"
    if len(expression) > MAX_EXPRESSION:
        return f"a JMESPath expression has at most {MAX_EXPRESSION:,} characters"
    tree = _parsed(expression)
    if tree is None:
        return _syntax(expression)
    table = functions.Functions.FUNCTION_TABLE
    for name, count in _called(tree):
        if name not in table:
            return f"JMESPath has no function `{name}`"
        signature = table[name]["signature"]
        variadic = bool(signature) and bool(signature[-1].get("variadic"))
        if count < len(signature) or (count > len(signature) and not variadic):
            return f"`{name}()` of JMESPath takes {len(signature)} arguments, not {count}"
    return None


@lru_cache(maxsize=256)
def _parsed(expression: str) -> Any:
    if len(expression) > MAX_EXPRESSION:
        return None
    try:
        return Parser().parse(expression).parsed
    except (exceptions.JMESPathError, RecursionError, ValueError):
        return None


def _syntax(expression: str) -> str:
    try:
        Parser().parse(expression)
    except exceptions.ParseError as error:
        place = "at its end" if error.lex_position >= len(expression) else f"at character {error.lex_position + 1}"
        return f"the JMESPath expression cannot be read {place}"
    except (exceptions.JMESPathError, RecursionError, ValueError):
        pass
    return "the JMESPath expression cannot be read"


def _called(tree: Any) -> Iterator[tuple[str, int]]:
    """(name, number of arguments) of every function that the expression calls."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue  # the bounds of a slice
        if node.get("type") == "function_expression":
            yield node["value"], len(node["children"])
        waiting += node.get("children", ())


class _Functions(functions.Functions):  # type: ignore[misc]  # the library publishes no types
    """Where the library would do what this product does otherwise: digits, underscores, escapes."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_string(self, arg: Any) -> str:
        return arg if type(arg) is str else dump_json(self._budget, arg)

    @functions.signature({"types": []})  # type: ignore[untyped-decorator]
    def _func_to_number(self, arg: Any) -> Any:
        if type(arg) in (int, float):
            return arg
        if type(arg) is not str or len(arg) > MAX_DIGITS or not _NUMBER.fullmatch(arg):
            return None
        try:
            return loads(arg)
        except ValueError:
            return None

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._budget.make(len(separator) * len(array) + sum(map(len, array)))
        return separator.join(array)


class _Interpreter(visitor.TreeInterpreter):  # type: ignore[misc]
    """Pays for each node, and for what a node is about to walk or make, before it does."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(visitor.Options(custom_functions=_Functions(budget)))
        self._budget = budget

    def visit(self, node: Any, value: Any) -> Any:
        """One node on one value."""
        self._budget.pay(_NODE_COST)
        return super().visit(node, value)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """`[]`: the one node whose list may be many times larger than the lists that were paid."""
        base = self.visit(node["children"][0], value)
        if type(base) is not list:
            return None
        self._budget.grow(sum(len(part) if type(part) is list else 1 for part in base))
        return [item for part in base for item in (part if type(part) is list else (part,))]

    def visit_slice(self, node: Any, value: Any) -> Any:
        """`[a:b]`."""
        if type(value) is list:
            self._budget.grow(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """`==` and its like, of two values that are weighed first."""
        operands = [{"type": "literal", "value": self._weighed(self.visit(part, value))} for part in node["children"]]
        return super().visit_comparator({**node, "children": operands}, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """A function is linear, or nearly so, in the weight of its arguments."""
        arguments = [self._weighed(self.visit(child, value)) for child in node["children"]]
        return self._functions.call_function(node["value"], arguments)

    def _weighed(self, value: Any) -> Any:
        if type(value) in (dict, list, str):
            items, width = weigh(self._budget, value)
            self._budget.pay(ITEM_COST * items + (width >> 3))
        return value


JMES_FILTERS: Mapping[str, Callable[..., Any]] = {"jmespath": jmespath}
