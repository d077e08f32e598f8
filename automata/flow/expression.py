"""Jinja's expression tree -> Python closures. No code is generated, and a node that is not listed here is refused.

A closure takes the Scope of one render and returns JSON data; it raises TemplateError, or AbsentError for
what is undefined. All checks that need no data (names, filters, arguments, depth) happen while compiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jinja2 import nodes

from automata.flow.budget import AbsentError, TemplateError, misfit
from automata.flow.calls import compile_call, compile_filter, compile_test
from automata.flow.filters import FUNCTION_NAMES, nearest
from automata.flow.lexing import Source
from automata.flow.scope import (
    ROOTS,
    Expr,
    Reference,
    Scope,
    constant_key,
    root_path,
    slot_path,
    walk_on,
)
from automata.flow.values import OPERATIONS, bounded, contains, equal, kind, lookup, ordered, text_of

MAX_NODES_DEEP = 64
# Reading all of these, or one by a computed name, would hide what a template depends on.
_NAMED_ONLY = frozenset({"steps", "secrets"})


class ExpressionCompiler:
    """Compiles the expressions of one template; collects its references and what a loop turn costs."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.references: list[Reference] = []
        self.names: list[dict[str, int]] = []
        self.slots = 0
        self.used: set[int] = set()
        self.cost = 0
        self.builds = False
        self._depth = 0
        self._lenient = 0

    # --- walking the tree ------------------------------------------------------------------------------------------

    def compile(self, node: nodes.Node) -> Expr:
        """One node of Jinja's tree as a function of a Scope. Raises TemplateError for what is not of the language."""
        method = _METHODS.get(type(node))
        if method is None:
            raise self.error("AF203", f"`{type(node).__name__.lower()}` is not part of the template language.", node)
        self.cost += 1
        with self.deeper(node):
            return method(self, node)

    @contextmanager
    def deeper(self, node: nodes.Node) -> Iterator[None]:
        """Bound how deep nodes nest. Raises TemplateError beyond MAX_NODES_DEEP."""
        self._depth += 1
        if self._depth > MAX_NODES_DEEP:
            raise self.error("AF202", f"The template is nested more than {MAX_NODES_DEEP} levels deep.", node)
        yield
        self._depth -= 1

    def error(self, code: str, message: str, node: nodes.Node, hint: str | None = None) -> TemplateError:
        """An error with the place of a node; the caller raises it."""
        return self.source.error(message, node.lineno, code, hint)

    def lenient(self, node: nodes.Node) -> Expr:
        """Compile what may be undefined; the caller catches AbsentError."""
        self._lenient += 1
        try:
            return self.compile(node)
        finally:
            self._lenient -= 1

    def _all(self, parts: Sequence[nodes.Node]) -> tuple[Expr, ...]:
        return tuple(self.compile(part) for part in parts)

    # --- names and paths -------------------------------------------------------------------------------------------

    def slot(self, name: str) -> int | None:
        """Where the value of a loop variable or of `set` is at run time; None for another name."""
        for names in reversed(self.names):
            if name in names:
                self.used.add(names[name])
                return names[name]
        return None

    def path(self, node: nodes.Node) -> Expr:
        """`name.key[0]`: a name of the context or a variable, and the way into it."""
        keys: list[Any] = []
        base = node
        while (key := constant_key(base)) is not None:
            keys.append(key)
            assert isinstance(base, nodes.Getattr | nodes.Getitem)
            base = base.node
        keys.reverse()
        if isinstance(base, nodes.Name):
            return self._named_path(base, keys, node)
        if isinstance(base, nodes.Getitem) and base is node:
            return self._dynamic(base)
        return walk_on(self.compile(base), keys, node.lineno)

    def _named_path(self, name: nodes.Name, keys: list[Any], node: nodes.Node) -> Expr:
        slot = self.slot(name.name)
        if slot is not None:
            return slot_path(slot, [name.name, *keys], name.lineno)
        self._check_root(name)
        if name.name in _NAMED_ONLY and not (keys and isinstance(keys[0], str)):
            raise self.error(
                "AF208",
                f"`{name.name}` is read by a constant name: what a template reads must be known.",
                name,
                f"Write `{name.name}.<name>`.",
            )
        path = tuple(str(key) for key in keys)
        self.references.append(Reference(name.name, path, name.lineno, self._lenient > 0))
        return root_path((name.name, *keys), name.lineno)

    def _check_root(self, node: nodes.Name) -> None:
        name = node.name
        if name in ROOTS:
            return
        text, offset = self.source.text, node.lineno
        if name in FUNCTION_NAMES:
            hint: str | None = f"`{name}()` calls it."
        elif name == "loop":
            hint = "`loop` exists inside `{% for %}`."
        elif offset > 1 and text[offset - 1] == "-" and text[offset - 2].isalnum():
            hint = "A name with a hyphen is written in brackets: `['order-id']`."
        else:
            known = [*ROOTS, *(known for names in self.names for known in names)]
            hint = nearest(name, known) or f"The names are {', '.join(ROOTS)}."
        raise self.error("AF204", f"Unknown name `{name}`.", node, hint)

    def _dynamic(self, node: nodes.Getitem) -> Expr:
        if isinstance(node.arg, nodes.Slice):
            return self._slice(node)
        base, key, position = self.compile(node.node), self.compile(node.arg), node.lineno

        def index(scope: Scope) -> Any:
            try:
                return lookup(base(scope), key(scope))
            except AbsentError as error:
                error.position = position if error.position is None else error.position
                error.what = error.what or (f"the key `{error.key}`" if type(error.key) is int else "the key")
                raise

        return index

    def _slice(self, node: nodes.Getitem) -> Expr:
        assert isinstance(node.arg, nodes.Slice)
        base = self.compile(node.node)
        bounds = [
            None if bound is None else self.compile(bound) for bound in (node.arg.start, node.arg.stop, node.arg.step)
        ]

        def cut(scope: Scope) -> Any:
            value = base(scope)
            part = slice(*(None if bound is None else bound(scope) for bound in bounds))
            if type(value) is str:
                scope.budget.make(len(range(*part.indices(len(value)))))
            elif type(value) is list:
                scope.budget.turn(len(range(*part.indices(len(value)))))
            else:
                raise misfit(f"A part can be cut from a string or a list, not from {kind(value)}.")
            return value[part]

        return self.guard("[:]", node.lineno, cut)

    def guard(self, name: str, position: int, run: Expr) -> Expr:
        """Give errors their place, and turn what Python says about values into an error of the template."""

        def guarded(scope: Scope) -> Any:
            try:
                return run(scope)
            except (TemplateError, AbsentError) as error:
                if error.position is None:
                    error.position = position
                raise
            except ZeroDivisionError:
                raise self.source.error("Division by zero.", position, "AF211") from None
            except (ArithmeticError, LookupError, TypeError, ValueError):
                raise self.source.error(f"`{name}` does not fit these values.", position, "AF211") from None

        return guarded

    # --- literals and operators ------------------------------------------------------------------------------------

    def constant(self, node: nodes.Const) -> Expr:
        """A literal."""
        value = node.value
        return lambda scope: value

    def array(self, node: nodes.List | nodes.Tuple) -> Expr:
        """`[a, b]`."""
        self.builds = True
        parts = self._all(node.items)
        return lambda scope: [part(scope) for part in parts]

    def mapping(self, node: nodes.Dict) -> Expr:
        """`{'a': b}`; keys must come out as strings."""
        self.builds = True
        pairs = [(self.compile(pair.key), self.compile(pair.value)) for pair in node.items]

        def build(scope: Scope) -> dict[str, Any]:
            result = {}
            for key, value in pairs:
                name = key(scope)
                if type(name) is not str:
                    raise misfit(f"A key of an object is a string, not {kind(name)}.")
                result[name] = value(scope)
            return result

        return self.guard("{}", node.lineno, build)

    def binary(self, node: nodes.BinExpr) -> Expr:
        """Arithmetic of two values."""
        self.builds = True
        operation = OPERATIONS[type(node).__name__]
        left, right = self.compile(node.left), self.compile(node.right)
        symbol = node.operator or ""
        return self.guard(symbol, node.lineno, lambda scope: operation(scope.budget, left(scope), right(scope)))

    def both(self, node: nodes.And) -> Expr:
        """`a and b`; like Python's, it gives one of the two."""
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda scope: left(scope) and right(scope)

    def either(self, node: nodes.Or) -> Expr:
        """`a or b`; like Python's, it gives one of the two."""
        left, right = self.compile(node.left), self.compile(node.right)
        return lambda scope: left(scope) or right(scope)

    def negation(self, node: nodes.Not) -> Expr:
        """`not a`."""
        operand = self.compile(node.node)
        return lambda scope: not operand(scope)

    def sign(self, node: nodes.UnaryExpr) -> Expr:
        """`-a` and `+a`, of numbers alone."""
        operand, negative = self.compile(node.node), isinstance(node, nodes.Neg)

        def apply(scope: Scope) -> Any:
            value = operand(scope)
            if type(value) not in (int, float):
                raise misfit(f"A sign belongs to a number, not to {kind(value)}.")
            return bounded(-value if negative else value)

        return self.guard("-", node.lineno, apply)

    def concat(self, node: nodes.Concat) -> Expr:
        """`a ~ b`, as text."""
        parts = self._all(node.nodes)

        def join(scope: Scope) -> str:
            texts = [text_of(scope.budget, part(scope)) for part in parts]
            scope.budget.make(sum(map(len, texts)))
            return "".join(texts)

        return self.guard("~", node.lineno, join)

    def compare(self, node: nodes.Compare) -> Expr:
        """`a < b <= c`: each pair must hold."""
        first = self.compile(node.expr)
        rest = [(operand.op, self.compile(operand.expr)) for operand in node.ops]

        def check(scope: Scope) -> bool:
            left = first(scope)
            for op, part in rest:
                right = part(scope)
                if not _compared(scope, op, left, right):
                    return False
                left = right
            return True

        return self.guard(rest[0][0], node.lineno, check)

    def conditional(self, node: nodes.CondExpr) -> Expr:
        """`a if b else c`; without `else` the value may be absent."""
        test, yes = self.compile(node.test), self.compile(node.expr1)
        if node.expr2 is not None:
            no = self.compile(node.expr2)
            return lambda scope: yes(scope) if test(scope) else no(scope)
        position = node.lineno

        def choose(scope: Scope) -> Any:
            if test(scope):
                return yes(scope)
            raise AbsentError("an `if` without `else`", position=position)

        return choose


def _compared(scope: Scope, op: str, left: Any, right: Any) -> bool:
    if op == "eq":
        return equal(scope.budget, left, right)
    if op == "ne":
        return not equal(scope.budget, left, right)
    if op in ("in", "notin"):
        return contains(scope.budget, right, left) == (op == "in")
    return ordered(scope.budget, op, left, right)


_METHODS: dict[type[nodes.Node], Callable[[ExpressionCompiler, Any], Expr]] = {
    nodes.Add: ExpressionCompiler.binary,
    nodes.And: ExpressionCompiler.both,
    nodes.Call: compile_call,
    nodes.Compare: ExpressionCompiler.compare,
    nodes.Concat: ExpressionCompiler.concat,
    nodes.CondExpr: ExpressionCompiler.conditional,
    nodes.Const: ExpressionCompiler.constant,
    nodes.Dict: ExpressionCompiler.mapping,
    nodes.Div: ExpressionCompiler.binary,
    nodes.Filter: compile_filter,
    nodes.FloorDiv: ExpressionCompiler.binary,
    nodes.Getattr: ExpressionCompiler.path,
    nodes.Getitem: ExpressionCompiler.path,
    nodes.List: ExpressionCompiler.array,
    nodes.Mod: ExpressionCompiler.binary,
    nodes.Mul: ExpressionCompiler.binary,
    nodes.Name: ExpressionCompiler.path,
    nodes.Neg: ExpressionCompiler.sign,
    nodes.Not: ExpressionCompiler.negation,
    nodes.Or: ExpressionCompiler.either,
    nodes.Pos: ExpressionCompiler.sign,
    nodes.Pow: ExpressionCompiler.binary,
    nodes.Sub: ExpressionCompiler.binary,
    nodes.Test: compile_test,
    nodes.Tuple: ExpressionCompiler.array,
}
