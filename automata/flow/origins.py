"""Which characters of a rendered text were written in the flow, and which are data: for the texts where it matters.

A URL is such a text. `base ~ '/orders/' ~ inputs.id` is written but for the value of `inputs.id`; the values of
`vars` were written too, in the environment's file. What a filter makes of data is data, unless the filter is one whose
result stays where it is put.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jinja2 import nodes

from automata.flow.budget import AbsentError
from automata.flow.filters import AMBIENT
from automata.flow.scope import Scope
from automata.flow.statements import Statement, StatementCompiler, parse
from automata.flow.values import OPERATIONS, text_of

# In the order of trust. `safe`: made of data, and no character of it can be structure, as of `| segment`.
# `encoded`: made by `urlencode`, so that it may be a whole query, but not a path.
# `mixed`: put together of what was written and of data, where nobody can tell any more which is which.
Origin = Literal["written", "safe", "encoded", "secret", "data", "mixed"]
_TRUST: Sequence[Origin] = ("written", "safe", "encoded", "secret", "data", "mixed")

# Their results are numbers or hex digits, or encoded as one path segment.
_SAFE = frozenset({"abs", "count", "float", "hmac_sha256", "int", "length", "round", "segment", "sha256", "wordcount"})
_ROOTS: dict[str, Origin] = {"vars": "written", "secrets": "secret"}


class Piece(NamedTuple):
    """Part of a rendered text. `position` is where in the template the expression that gave it stands."""

    text: str
    origin: Origin
    position: int


class _Inserted(str):
    """A text among those of a template that did not come from the template itself."""

    __slots__ = ("origin", "position")
    origin: Origin
    position: int


_Value = tuple[Any, Origin]
_Parts = Callable[[Scope], list[_Value]]


@dataclass(frozen=True, slots=True)
class Value:
    """What one `{{ }}` (or one operand of its `~`) puts into the text, before anything is rendered.

    `name` is the path that it reads, such as (inputs, order), with nothing done to it; empty for anything else.
    """

    origin: Origin
    position: int
    filter: str = ""
    name: tuple[str, ...] = ()


def compile_pieces(source: Any) -> Any:
    """The program of a text whose result is the list of its pieces. Raises TemplateError as `parse` does."""
    return parse(source, _PieceCompiler)


class _PieceCompiler(StatementCompiler):
    def program(self, body: list[nodes.Node]) -> Callable[[Scope], list[Piece]]:
        self.builds = False
        block = self.block(body)

        def run(scope: Scope) -> list[Piece]:
            out: list[str] = []
            block(scope, out)
            return [_piece(text) for text in out]

        return run

    def output(self, node: nodes.Node) -> Statement:
        if isinstance(node, nodes.TemplateData):
            return super().output(node)
        parts, position = self.parts(node), node.lineno

        def write(scope: Scope, out: list[str]) -> None:
            for value, origin in parts(scope):
                text = text_of(scope.budget, value)
                scope.budget.emit(len(text))
                out.append(_inserted(text, origin, position))

        return self.guard_output(write, node)

    def parts(self, node: nodes.Node) -> _Parts:
        """The values that an expression joins, each with its origin; most expressions give one."""
        with self.deeper(node):
            match node:
                case nodes.Concat():
                    return self._concat(node)
                case nodes.Add():
                    return self._add(node)
                case nodes.CondExpr(expr2=nodes.Node()):
                    return self._choice(node)
                case nodes.Filter(name="default" | "d") if len(node.args) == 1 and not node.kwargs:
                    return self._default(node)
        value, origin = self.compile(node), origin_of(node)
        return lambda scope: [(value(scope), origin)]

    def _concat(self, node: nodes.Concat) -> _Parts:
        operands = [self.parts(part) for part in node.nodes]

        def join(scope: Scope) -> list[_Value]:
            values = [value for operand in operands for value in operand(scope)]
            return [(text_of(scope.budget, value), origin) for value, origin in values]

        return join

    def _add(self, node: nodes.Add) -> _Parts:
        left, right = self.parts(node.left), self.parts(node.right)

        def add(scope: Scope) -> list[_Value]:
            lefts, rights = left(scope), right(scope)
            if all(type(value) is str for value, _ in (*lefts, *rights)):
                return lefts + rights
            operation = OPERATIONS["Add"]
            return [(operation(scope.budget, _whole(lefts), _whole(rights)), origin_of(node))]

        return self._guarded("+", node, add)

    def _choice(self, node: nodes.CondExpr) -> _Parts:
        assert node.expr2 is not None
        test, yes, no = self.compile(node.test), self.parts(node.expr1), self.parts(node.expr2)
        return lambda scope: yes(scope) if test(scope) else no(scope)

    def _default(self, node: nodes.Filter) -> _Parts:
        assert node.node is not None
        self._lenient += 1
        value = self.parts(node.node)
        self._lenient -= 1
        fallback = self.parts(node.args[0])

        def choose(scope: Scope) -> list[_Value]:
            try:
                return value(scope)
            except AbsentError:
                return fallback(scope)

        return choose

    def _guarded(self, name: str, node: nodes.Node, run: _Parts) -> _Parts:
        guarded: _Parts = self.guard(name, node.lineno, run)
        return guarded


def _whole(values: list[_Value]) -> Any:
    return values[0][0] if len(values) == 1 else "".join(str(value) for value, _ in values)


def _inserted(text: str, origin: Origin, position: int) -> str:
    if origin == "written":
        return text
    inserted = _Inserted(text)
    inserted.origin, inserted.position = origin, position
    return inserted


def _piece(text: str) -> Piece:
    if isinstance(text, _Inserted):
        return Piece(str(text), text.origin, text.position)
    return Piece(text, "written", 0)


def origin_of(node: nodes.Node) -> Origin:
    """The least trusted of what an expression is made of."""
    origin = _origin(node)
    return "mixed" if origin == "data" and {"written", "data"} <= _ingredients(node) else origin


def _origin(node: nodes.Node) -> Origin:
    match node:
        case nodes.Const():
            return "written"
        case nodes.Name():
            return _ROOTS.get(node.name, "data")
        case nodes.Getattr() | nodes.Getitem():
            # A key that is data chooses among values that were written.
            return _origin(node.node)
        case nodes.Test() | nodes.Compare() | nodes.Not():
            return "written"
        case nodes.Sub() | nodes.Div() | nodes.FloorDiv() | nodes.Mod() | nodes.Pow() | nodes.UnaryExpr():
            return "safe"
        case nodes.CondExpr():
            return _least([node.expr1, *([node.expr2] if node.expr2 is not None else [])])
        case nodes.Filter() | nodes.Call():
            return _called(node)
    return _least(node.iter_child_nodes())


def _called(node: nodes.Filter | nodes.Call) -> Origin:
    if isinstance(node, nodes.Call):
        name = node.node.name if isinstance(node.node, nodes.Name) else ""
        operands = [*node.args, *node.kwargs]
        rest = operands[1:]
    else:
        name, rest = node.name, [*node.args, *node.kwargs]
        operands = [*([node.node] if node.node is not None else []), *rest]
    if name in AMBIENT:
        return "written"
    origin = _least(operands)
    if origin != "written" and (name in _SAFE or _joins_segments(node)) and _least(rest) == "written":
        return "safe"
    if name == "urlencode" and origin != "written":
        return "encoded"
    return "data" if origin in ("safe", "encoded") else origin


def _joins_segments(node: nodes.Filter | nodes.Call) -> bool:
    """`list | map('segment') | join('/')`: several segments, each of which stays one."""
    if not isinstance(node, nodes.Filter) or node.name != "join" or not isinstance(node.node, nodes.Filter):
        return False
    first = node.node.args[0] if node.node.args else None
    return node.node.name == "map" and isinstance(first, nodes.Const) and first.value == "segment"


def _least(parts: Any) -> Origin:
    return max((_origin(part) for part in parts), key=_TRUST.index, default="written")


# One of their operands is the result.
_CHOOSING = frozenset({"coalesce", "default", "d"})
_NUMBERS = (nodes.Sub, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.UnaryExpr, nodes.Test, nodes.Compare)


def _ingredients(node: nodes.Node) -> frozenset[Origin]:
    """Of which texts a value is put together: of some that were written, of data, or of both.

    What a filter is told says how it goes about its subject: `inputs.url | replace('http:', 'https:')` is data still.
    Where the subject was written, as in `'https://a.test/ID' | replace('ID', inputs.id)`, it is filled in.
    """
    match node:
        case nodes.Const():
            return frozenset({"written"} if isinstance(node.value, str) and node.value else ())
        case nodes.Name():
            return frozenset({_ROOTS.get(node.name, "data")})
        case nodes.Getattr() | nodes.Getitem():
            return _ingredients(node.node)
        case nodes.Not():
            return frozenset()
        case nodes.CondExpr():
            return _chosen([node.expr1, *([node.expr2] if node.expr2 is not None else [])])
        case nodes.Call():
            name = node.node.name if isinstance(node.node, nodes.Name) else ""
            return (_chosen if name in _CHOOSING else _joined)([*node.args, *node.kwargs])
        case nodes.Filter(node=nodes.Node() as subject):
            rest = [*node.args, *node.kwargs]
            if node.name in _CHOOSING:
                return _chosen([subject, *rest])
            found = _ingredients(subject)
            return found | _joined(rest) if "written" in found else found
    return frozenset() if isinstance(node, _NUMBERS) else _joined(node.iter_child_nodes())


def _joined(parts: Iterable[nodes.Node]) -> frozenset[Origin]:
    return frozenset(origin for part in parts for origin in _ingredients(part))


def _chosen(parts: Iterable[nodes.Node]) -> frozenset[Origin]:
    """Those of the alternative that is put together of most."""
    return max((_ingredients(part) for part in parts), key=len, default=frozenset())


def values_of(body: Sequence[nodes.Node]) -> Iterator[str | Value]:
    """The text of a template as it is written: text, and a Value for each that is put in.

    Alternatives come one after the other, what a loop repeats comes once.
    """
    for node in body:
        match node:
            case nodes.Output():
                for part in node.nodes:
                    yield from _values(part)
            case nodes.If():
                yield from values_of(node.body)
                for branch in node.elif_:
                    yield from values_of(branch.body)
                yield from values_of(node.else_)
            case nodes.For():
                yield from values_of(node.body)


def _values(node: nodes.Node) -> Iterator[str | Value]:
    match node:
        case nodes.TemplateData():
            yield node.data
        case nodes.Const():
            yield str(node.value)
        case nodes.Concat():
            for part in node.nodes:
                yield from _values(part)
        case nodes.Add():
            yield from _values(node.left)
            yield from _values(node.right)
        case nodes.CondExpr(expr2=nodes.Node() as otherwise):
            yield from _values(node.expr1)
            yield from _values(otherwise)
        case nodes.Filter(name="default" | "d") if node.node is not None and len(node.args) == 1:
            yield from _values(node.node)
            yield from _values(node.args[0])
        case _:
            yield Value(origin_of(node), node.lineno, getattr(node, "name", "") if _filters(node) else "", _path(node))


def _filters(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Filter)


def _path(node: nodes.Node) -> tuple[str, ...]:
    match node:
        case nodes.Name():
            return (node.name,)
        case nodes.Getattr():
            above = _path(node.node)
            return (*above, node.attr) if above else ()
        case nodes.Getitem(arg=nodes.Const(value=key)):
            above = _path(node.node)
            return (*above, str(key)) if above else ()
    return ()
