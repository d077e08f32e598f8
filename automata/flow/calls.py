"""Compiles filters, tests and function calls: names from the allowlist, arguments checked before any data exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from jinja2 import nodes

from automata.flow.budget import AbsentError, TemplateError, misfit
from automata.flow.filters import (
    AMBIENT,
    FILTER_NAMES,
    FILTERS,
    FUNCTION_NAMES,
    FUNCTIONS,
    LENIENT,
    MAPPING,
    PRESENCE,
    TEST_NAMES,
    TESTS,
    Tool,
    nearest,
    truthy,
)
from automata.flow.listfilters import reader, walk
from automata.flow.scope import AMBIENT_KEY, Ambient, Expr, Scope
from automata.flow.timefilters import iso

Called = nodes.Filter | nodes.Test | nodes.Call
Operand = nodes.Node | None
Change = Callable[[Scope, Any], list[Any]]


class Compiler(Protocol):
    """What a call needs of the compiler of the expression it is in (automata/flow/expression.py).

    `cost` counts the nodes of the expression; `builds` says that it may build a value larger than the data.
    """

    cost: int
    builds: bool

    def compile(self, node: nodes.Node) -> Expr: ...
    def lenient(self, node: nodes.Node) -> Expr: ...
    def slot(self, name: str) -> int | None: ...
    def error(self, code: str, message: str, node: nodes.Node, hint: str | None = None) -> TemplateError: ...
    def guard(self, name: str, position: int, run: Expr) -> Expr: ...


# What a call costs in nodes: the dearest ones (hashes, times) take a few microseconds.
CALL_NODES = 8
# Filters that hand on a part of what they got; everything else may build a value larger than the data.
_HANDING_ON = frozenset({"default", "d", "coalesce", "first", "last", "min", "max"})


def compile_filter(compiler: Compiler, node: nodes.Filter) -> Expr:
    """`value | name(...)`. Raises TemplateError for an unknown name or arguments that do not fit."""
    _check_name(compiler, "filter", "AF205", node.name, FILTER_NAMES, node)
    if node.node is None:
        raise compiler.error("AF203", "A filter needs a value before it.", node)
    compiler.builds = compiler.builds or node.name not in _HANDING_ON
    if node.name in MAPPING:
        return _over_list(compiler, node)
    if node.name == "coalesce":
        return _coalesce(compiler, [node.node, *node.args], node)
    if node.name in LENIENT:
        return _default(compiler, node)
    return _apply(compiler, FILTERS[node.name], [node.node, *node.args], node)


def compile_test(compiler: Compiler, node: nodes.Test) -> Expr:
    """`value is name(...)`. Raises TemplateError for an unknown name or arguments that do not fit."""
    _check_name(compiler, "test", "AF206", node.name, TEST_NAMES, node)
    if node.name in PRESENCE:
        return _presence(compiler, node)
    return _apply(compiler, TESTS[node.name], [node.node, *node.args], node)


def compile_call(compiler: Compiler, node: nodes.Call) -> Expr:
    """`name(...)`. Raises TemplateError for what is no function, or arguments that do not fit."""
    name = _callee(compiler, node)
    _check_name(compiler, "function", "AF207", name, FUNCTION_NAMES, node)
    if name == "coalesce":
        return _coalesce(compiler, node.args, node)
    if name in AMBIENT:
        return _ambient(compiler, name, node)
    compiler.builds = True
    return _apply(compiler, FUNCTIONS[name], node.args, node)


def _callee(compiler: Compiler, node: nodes.Call) -> str:
    callee = node.node
    if isinstance(callee, nodes.Name) and compiler.slot(callee.name) is None:
        return callee.name
    hint = "Functions are " + ", ".join(f"`{name}()`" for name in sorted(FUNCTION_NAMES)) + "."
    if isinstance(callee, nodes.Getattr) and callee.attr in FILTER_NAMES:
        hint = f"Values have no methods; write `... | {callee.attr}`."
    raise compiler.error("AF203", "Only the functions of the template language can be called.", node, hint)


def _check_name(compiler: Compiler, what: str, code: str, name: str, known: frozenset[str], node: Called) -> None:
    compiler.cost += CALL_NODES
    if name not in known:
        hint = nearest(name, known)
        if what == "function" and name in FILTER_NAMES:
            hint = f"`{name}` is a filter: `value | {name}`."
        raise compiler.error(code, f"Unknown {what} `{name}`.", node, hint)
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise compiler.error("AF203", "`*` and `**` are not part of the template language.", node)


def _check_arguments(compiler: Compiler, tool: Tool, operands: Sequence[Operand], node: Called) -> None:
    """`operands` begin with the value; None stands for one that is nowhere written."""
    named = {str(pair.key): pair.value for pair in node.kwargs}
    problem = tool.mismatch(len(operands), named)
    if problem is not None:
        raise compiler.error("AF209", f"`{tool.name}` is called wrongly: {problem}.", node)
    if not tool.checks:
        return
    given = tool.signature.bind(None, *operands, **named).arguments
    for name, check in tool.checks.items():
        operand = given.get(name)
        negative = isinstance(operand, nodes.Neg)
        constant = operand.node if isinstance(operand, nodes.Neg) else operand
        if isinstance(constant, nodes.Const):
            problem = check(-constant.value if negative and type(constant.value) in (int, float) else constant.value)
        elif operand is not None and name in tool.written_out:
            problem = f"`{name}` is written out, so that no data becomes a program"
        if problem is not None:
            raise compiler.error("AF209", f"`{tool.name}` is called wrongly: {problem}.", node)


def _apply(compiler: Compiler, tool: Tool, operands: Sequence[nodes.Node], node: Called) -> Expr:
    _check_arguments(compiler, tool, operands, node)
    function = tool.call
    parts = [compiler.compile(operand) for operand in operands]
    named = [(str(pair.key), compiler.compile(pair.value)) for pair in node.kwargs]
    if not named and len(parts) == 1:
        only = parts[0]
        return compiler.guard(tool.name, node.lineno, lambda scope: function(scope.budget, only(scope)))

    def run(scope: Scope) -> Any:
        values = [part(scope) for part in parts]
        return function(scope.budget, *values, **{key: part(scope) for key, part in named})

    return compiler.guard(tool.name, node.lineno, run)


# --- what may be undefined -----------------------------------------------------------------------------------------


def _default(compiler: Compiler, node: nodes.Filter) -> Expr:
    options = {"default_value": None, "boolean": None} | {pair.key: pair.value for pair in node.kwargs}
    options |= dict(zip(options, node.args, strict=False))
    if len(options) > 2 or len(node.args) > 2 or options["default_value"] is None or node.node is None:
        raise compiler.error("AF209", "`default` takes a value, and `true` to replace empty values too.", node)
    value, fallback = compiler.lenient(node.node), compiler.compile(options["default_value"])
    empty_too = None if options["boolean"] is None else compiler.compile(options["boolean"])

    def choose(scope: Scope) -> Any:
        try:
            present = value(scope)
        except AbsentError:
            return fallback(scope)
        return fallback(scope) if empty_too is not None and not present and empty_too(scope) else present

    return choose


def _coalesce(compiler: Compiler, operands: Sequence[nodes.Node], node: Called) -> Expr:
    if node.kwargs or not operands:
        raise compiler.error("AF209", "`coalesce` takes one value or more.", node)
    parts = [compiler.lenient(operand) for operand in operands]

    def choose(scope: Scope) -> Any:
        for part in parts:
            try:
                value = part(scope)
            except AbsentError:
                continue
            if value is not None:
                return value
        return None

    return choose


def _presence(compiler: Compiler, node: nodes.Test) -> Expr:
    if node.args or node.kwargs:
        raise compiler.error("AF209", f"`is {node.name}` takes no arguments.", node)
    value, defined = compiler.lenient(node.node), node.name == "defined"

    def check(scope: Scope) -> bool:
        try:
            value(scope)
        except AbsentError:
            return not defined
        return defined

    return check


def _ambient(compiler: Compiler, name: str, node: nodes.Call) -> Expr:
    if node.args or node.kwargs:
        raise compiler.error("AF209", f"`{name}()` takes no arguments.", node)

    def ask(scope: Scope) -> str:
        ambient = scope.context.get(AMBIENT_KEY)
        if not isinstance(ambient, Ambient):
            raise misfit(f"`{name}()` is not available here.")
        return iso(ambient.now()) if name == "now" else ambient.uuid()

    return compiler.guard(name, node.lineno, ask)


# --- map, select, reject -------------------------------------------------------------------------------------------


def _over_list(compiler: Compiler, node: nodes.Filter) -> Expr:
    assert node.node is not None
    source = compiler.compile(node.node)
    change = _mapper(compiler, node) if node.name == "map" else _selector(compiler, node)

    def run(scope: Scope) -> list[Any]:
        items = walk(scope.budget, source(scope))
        scope.budget.pay(CALL_NODES * 4 * len(items))
        return change(scope, items)

    return compiler.guard(node.name, node.lineno, run)


def _mapper(compiler: Compiler, node: nodes.Filter) -> Change:
    options = {str(pair.key): compiler.compile(pair.value) for pair in node.kwargs}
    if "attribute" not in options:
        return _filter_mapper(compiler, node, options)
    attribute, default = options.pop("attribute"), options.pop("default", None)
    if options or node.args:
        raise compiler.error("AF209", "`map` takes `attribute` and `default`, or the name of a filter.", node)

    def change(scope: Scope, items: Any) -> list[Any]:
        read = reader(attribute(scope))
        if default is None:
            return [read(item) for item in items]
        fallback = default(scope)
        return [_read_or(read, item, fallback) for item in items]

    return change


def _filter_mapper(compiler: Compiler, node: nodes.Filter, options: Mapping[str, Expr]) -> Change:
    tool = _named_tool(compiler, node, 0, FILTERS, "filter", "AF205")
    _check_arguments(compiler, tool, [None, *node.args[1:]], node)
    parts = [compiler.compile(part) for part in node.args[1:]]

    def change(scope: Scope, items: Any) -> list[Any]:
        arguments = [part(scope) for part in parts]
        named = {key: part(scope) for key, part in options.items()}
        return [tool.call(scope.budget, item, *arguments, **named) for item in items]

    return change


def _selector(compiler: Compiler, node: nodes.Filter) -> Change:
    keeps, at = node.name.startswith("select"), int(node.name.endswith("attr"))
    if node.kwargs or len(node.args) < at:
        raise compiler.error("AF209", f"`{node.name}` takes {'an attribute, ' * at}a test and its arguments.", node)
    attribute = compiler.compile(node.args[0]) if at else None
    choose = _presence_choice(node, at, keeps) or _test_choice(compiler, node, at, keeps)

    def change(scope: Scope, items: Any) -> list[Any]:
        read = _same if attribute is None else reader(attribute(scope))
        return choose(scope, items, read)

    return change


Choice = Callable[[Scope, Any, Callable[[Any], Any]], list[Any]]


def _presence_choice(node: nodes.Filter, at: int, keeps: bool) -> Choice | None:
    """`selectattr('id', 'defined')`: the one test that an absent attribute passes or fails instead of breaking."""
    named = node.args[at] if len(node.args) == at + 1 else None
    if not isinstance(named, nodes.Const) or named.value not in ("defined", "undefined"):
        return None
    expected = keeps == (named.value == "defined")
    return lambda scope, items, read: [item for item in items if _has(read, item) == expected]


def _test_choice(compiler: Compiler, node: nodes.Filter, at: int, keeps: bool) -> Choice:
    call: Callable[..., Any] = truthy
    parts: list[Expr] = []
    if len(node.args) > at:
        tool = _named_tool(compiler, node, at, TESTS, "test", "AF206")
        _check_arguments(compiler, tool, [None, *node.args[at + 1 :]], node)
        call, parts = tool.call, [compiler.compile(part) for part in node.args[at + 1 :]]

    def choose(scope: Scope, items: Any, read: Callable[[Any], Any]) -> list[Any]:
        arguments, budget = [part(scope) for part in parts], scope.budget
        return [item for item in items if call(budget, read(item), *arguments) == keeps]

    return choose


def _named_tool(
    compiler: Compiler, node: nodes.Filter, at: int, tools: Mapping[str, Tool], what: str, code: str
) -> Tool:
    named = node.args[at] if len(node.args) > at else None
    if not isinstance(named, nodes.Const) or not isinstance(named.value, str):
        raise compiler.error("AF209", f"`{node.name}` names a {what} as a constant string.", node)
    if named.value not in tools:
        hint = nearest(named.value, tools)
        raise compiler.error(code, f"Unknown {what} `{named.value}` in `{node.name}`.", named, hint)
    return tools[named.value]


def _same(item: Any) -> Any:
    return item


def _read_or(read: Callable[[Any], Any], item: Any, fallback: Any) -> Any:
    try:
        return read(item)
    except AbsentError:
        return fallback


def _has(read: Callable[[Any], Any], item: Any) -> bool:
    try:
        read(item)
    except AbsentError:
        return False
    return True
