"""A template's text, `if` and `for` -> a Program. Loops pay for each turn before they take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateSyntaxError, nodes
from jinja2.lexer import TokenStream
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from automata.flow.budget import NODE_COST, TemplateError, misfit
from automata.flow.expression import ExpressionCompiler
from automata.flow.lexing import Source, tokenize
from automata.flow.scope import Expr, Reference, Scope
from automata.flow.values import kind, listing, text_of

Statement = Callable[[Scope, list[str]], None]

# The parser asks it for extensions only; it never compiles, and nothing it knows can be reached.
_ENVIRONMENT = ImmutableSandboxedEnvironment()


@dataclass(frozen=True, slots=True)
class Program:
    source: Source
    references: tuple[Reference, ...]
    slots: int
    builds: bool
    run: Expr


def parse(source: Source, kind: type[StatementCompiler] | None = None) -> Program:
    """Raises TemplateError, with the offset, for everything that is not in the language."""
    compiler = (kind or StatementCompiler)(source)
    try:
        body = tree(source)
        run = compiler.program(body)
    except TemplateSyntaxError as error:
        raise source.error(_sentence(error.message or ""), error.lineno) from None
    except RecursionError:
        raise source.error("The template is nested too deeply.", 0, "AF202") from None
    return Program(source, tuple(compiler.references), compiler.slots, compiler.builds, run)


def tree(source: Source) -> list[nodes.Node]:
    """Jinja's tree of a text; each node has its offset for a line number. Raises TemplateSyntaxError, TemplateError."""
    parser = Parser(_ENVIRONMENT, "")
    parser.stream = TokenStream(tokenize(source), None, None)
    return parser.subparse()


_WORDS = {
    "end of print statement": "}}",
    "end of statement block": "%}",
    "Jinja was looking for the following tags:": "Expected is",
    "Jinja is expecting this tag, but currently looking for": "Expected is now",
}


def _sentence(message: str) -> str:
    """Jinja's messages as sentences in this language's words."""
    for jinja, words in _WORDS.items():
        message = message.replace(jinja, words)
    message = message[:1].upper() + message[1:]
    return message if message.endswith(".") else message + "."


class StatementCompiler(ExpressionCompiler):
    """Compiles text, `if` and `for` around expressions; `program` says what comes out of all of it."""

    def program(self, body: list[nodes.Node]) -> Expr:
        """A single expression in nothing but blanks keeps its type; everything else is text."""
        alone = _alone(body)
        if alone is not None:
            return self.compile(alone)
        self.builds = False
        block = self.block(body)

        def run(scope: Scope) -> str:
            out: list[str] = []
            block(scope, out)
            return "".join(out)

        return run

    def block(self, body: list[nodes.Node]) -> Statement:
        """Statements one after the other."""
        parts = [part for node in body for part in self.statement(node)]
        if len(parts) == 1:
            return parts[0]

        def run(scope: Scope, out: list[str]) -> None:
            for part in parts:
                part(scope, out)

        return run

    def statement(self, node: nodes.Node) -> list[Statement]:
        """One node of Jinja's tree that is no expression. Raises TemplateError for what is not of the language."""
        if isinstance(node, nodes.Output):
            return [self.output(part) for part in node.nodes]
        with self.deeper(node):
            if isinstance(node, nodes.If):
                return [self.branch(node)]
            if isinstance(node, nodes.For):
                return [self.loop(node)]
        raise self.error("AF203", f"`{type(node).__name__.lower()}` is not part of the template language.", node)

    def output(self, node: nodes.Node) -> Statement:
        """Text, or an expression in `{{ }}`."""
        if isinstance(node, nodes.TemplateData):
            return _text(node.data)
        part = self.compile(node)

        def write(scope: Scope, out: list[str]) -> None:
            text = text_of(scope.budget, part(scope))
            scope.budget.emit(len(text))
            out.append(text)

        return self.guard_output(write, node)

    def guard_output(self, write: Statement, node: nodes.Node) -> Statement:
        """Give errors of a statement the place of a node."""

        def run(scope: Scope, out: list[str]) -> None:
            try:
                write(scope, out)
            except TemplateError as error:
                if error.position is None:
                    error.position = node.lineno
                raise

        return run

    def branch(self, node: nodes.If) -> Statement:
        """`{% if %}`, `{% elif %}` and `{% else %}`."""
        cases = [(self.compile(case.test), self.block(case.body)) for case in (node, *node.elif_)]
        otherwise = self.block(node.else_)

        def run(scope: Scope, out: list[str]) -> None:
            for test, body in cases:
                if test(scope):
                    return body(scope, out)
            return otherwise(scope, out)

        return run

    def loop(self, node: nodes.For) -> Statement:
        """`{% for %}`."""
        if node.recursive:
            raise self.error("AF203", "`recursive` loops are not part of the template language.", node)
        source = self.compile(node.iter)
        # A turn pays for what it runs: the nodes of its own test and body, not those around it.
        around, self.cost = self.cost, 1
        slots = {name: self.new_slot() for name in self.targets(node)}
        store = _storing(list(slots.values()), isinstance(node.target, nodes.Name))
        self.names.append(slots)
        keep = None if node.test is None else self.compile(node.test)
        facts = self.new_slot()
        self.names[-1] = {**slots, "loop": facts}
        body = self.block(node.body)
        self.names.pop()
        cost, self.cost = self.cost * NODE_COST, around
        loop = _Loop(source, keep, store, body, cost, facts if facts in self.used else None)
        return self.guard_output(loop.running(self.block(node.else_)), node.iter)

    def new_slot(self) -> int:
        """The place of one more variable."""
        self.slots += 1
        return self.slots - 1

    def targets(self, node: nodes.For) -> list[str]:
        """The names that a loop binds."""
        target = node.target
        parts = target.items if isinstance(target, nodes.Tuple) else [target]
        names = [part.name for part in parts if isinstance(part, nodes.Name)]
        if len(names) != len(parts) or len(set(names)) != len(names) or "loop" in names:
            message = "A loop binds one name, or several different ones: `for key, value in ...`."
            raise self.error("AF203", message, node)
        return names


@dataclass(frozen=True, slots=True)
class _Loop:
    """`facts` is the slot of `loop`, None when the body never looks at it."""

    source: Expr
    keep: Expr | None
    store: Callable[[Scope, Any], None]
    body: Statement
    cost: int
    facts: int | None

    def running(self, otherwise: Statement) -> Statement:
        def run(scope: Scope, out: list[str]) -> None:
            items = self.items(scope)
            for index, item in enumerate(items):
                scope.budget.turn(1, self.cost)
                self.store(scope, item)
                if self.facts is not None:
                    scope.locals[self.facts] = _loop_facts(items, index)
                self.body(scope, out)
            if not items:
                otherwise(scope, out)

        return run

    def items(self, scope: Scope) -> Any:
        items = listing(self.source(scope))
        if self.keep is None:
            return items
        kept = []
        for item in items:
            scope.budget.turn(1, self.cost)
            self.store(scope, item)
            if self.keep(scope):
                kept.append(item)
        return kept


def _alone(body: list[nodes.Node]) -> nodes.Node | None:
    if len(body) != 1 or not isinstance(body[0], nodes.Output):
        return None
    parts = [part for part in body[0].nodes if not isinstance(part, nodes.TemplateData) or part.data.strip()]
    return parts[0] if len(parts) == 1 and not isinstance(parts[0], nodes.TemplateData) else None


def _text(data: str) -> Statement:
    size = len(data)

    def write(scope: Scope, out: list[str]) -> None:
        scope.budget.emit(size)
        out.append(data)

    return write


def _storing(slots: list[int], single: bool) -> Callable[[Scope, Any], None]:
    if single:
        slot = slots[0]

        def store(scope: Scope, item: Any) -> None:
            scope.locals[slot] = item

        return store

    def unpack(scope: Scope, item: Any) -> None:
        if type(item) not in (list, tuple) or len(item) != len(slots):
            raise misfit(f"The loop binds {len(slots)} names, an item is {kind(item)} of another length.")
        for slot, part in zip(slots, item, strict=True):
            scope.locals[slot] = part

    return unpack


def _loop_facts(items: Any, index: int) -> dict[str, Any]:
    count = len(items)
    facts = {
        "index": index + 1,
        "index0": index,
        "revindex": count - index,
        "revindex0": count - index - 1,
        "first": index == 0,
        "last": index == count - 1,
        "length": count,
    }
    if type(items) is not dict:
        if index:
            facts["previtem"] = items[index - 1]
        if index < count - 1:
            facts["nextitem"] = items[index + 1]
    return facts
