"""The closed template language: text with `{{ expression }}`, `{% if %}` and `{% for %}` over JSON data.

`{{ expression }}` alone keeps its type. Mixed with text, a string stands as it is and everything else as compact
JSON: `true`, `null`, `1.5`, `["a"]`. Data is looked up, never executed, never changed, and never read as a template.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from automata.flow.address import Address, is_one_value
from automata.flow.budget import CODES, AbsentError, Budget, TemplateError
from automata.flow.filters import FILTER_NAMES, FUNCTION_NAMES, TEST_NAMES
from automata.flow.lexing import Source, has_template
from automata.flow.scope import AMBIENT_KEY, ROOTS, Ambient, Reference, Scope, absence, explain, quoting
from automata.flow.statements import Program, parse
from automata.flow.values import not_data, weigh

__all__ = [
    "AMBIENT_KEY",
    "CODES",
    "FILTERS",
    "FUNCTIONS",
    "MAX_TEMPLATE",
    "ROOTS",
    "TESTS",
    "Ambient",
    "Budget",
    "CompiledTemplate",
    "Reference",
    "Template",
    "TemplateError",
    "compile_condition",
    "compile_config",
    "compile_foreach",
    "compile_template",
    "compile_value",
]

FILTERS = FILTER_NAMES
FUNCTIONS = FUNCTION_NAMES
TESTS = TEST_NAMES

MAX_TEMPLATE = 16 * 1024
# A tree with more templates than this is measured as a whole: each may repeat the same large value.
_UNMEASURED = 8

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PLAIN_PATH = re.compile(rf"\s*\{{\{{\s*\.?({_NAME}(?:\.{_NAME})*)\s*\}}\}}\s*", re.ASCII)
_JSON = frozenset({dict, list, str, int, bool, type(None)})


class Template:
    """One checked template text. Immutable, shared by threads; `references` are its reads of the context."""

    __slots__ = ("_path", "_program", "_start", "constant", "references", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.constant = not has_template(text)
        self.references: tuple[Reference, ...] = ()
        self._path: tuple[str, ...] = ()
        self._start = 0
        self._program: Program | None = None
        if not self.constant:
            self._compile(text)

    def _compile(self, text: str) -> None:
        if len(text) > MAX_TEMPLATE:
            message = f"A template has at most {MAX_TEMPLATE:,} characters, this one has {len(text):,}."
            raise TemplateError(message, code="AF201", position=MAX_TEMPLATE)
        plain = _PLAIN_PATH.fullmatch(text)
        path = tuple(plain[1].split(".")) if plain else ()
        if plain and path[0] in ROOTS and (len(path) > 1 or path[0] not in ("steps", "secrets")):
            self._path, self._start = path, plain.start(1)
            self.references = (Reference(path[0], path[1:], self._start),)
            return
        self._program = parse(Source(text))
        self.references = self._program.references

    def render(self, context: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The value (JSON data; parts of the context are handed on, not copied) or TemplateError.

        `budget` is shared by the templates of one render; without it, this template has one of its own.
        """
        if self._path:
            return self._read(context)
        if self._program is None:
            return self.text
        return self._run(self._program, context, budget or Budget())

    def _read(self, context: Mapping[str, Any]) -> Any:
        value: Any = context
        try:
            for key in self._path:
                value = value[key]
        except (KeyError, TypeError, IndexError):
            absent = absence(context, self._path, 0, self._start)
            raise explain(absent, self._noted()) from None
        return value if type(value) in _JSON else _finished(value)

    def _run(self, program: Program, context: Mapping[str, Any], budget: Budget) -> Any:
        try:
            value = program.run(Scope(context, budget, program.slots))
            if program.builds and type(value) in (dict, list):
                weigh(budget, value)
        except AbsentError as absent:
            raise explain(absent, program.source) from None
        except TemplateError as error:
            raise quoting(error, program.source) from None
        except RecursionError:
            raise TemplateError("The data is nested too deeply.", code="AF213") from None
        return value if type(value) in _JSON else _finished(value)

    def _noted(self) -> Source:
        source = Source(self.text)
        source.note(self.text.index("{{"), self.text.rindex("}}") + 2)
        return source


def _finished(value: Any) -> Any:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is tuple:
        return list(value)
    raise not_data()


def compile_template(text: str) -> Template:
    """Raises TemplateError with `position` for syntax, unknown names, forbidden constructs and too long text."""
    return _remembered(text) if len(text) <= _REMEMBERED else Template(text)


# A flow is compiled when it is checked and again when it is planned; short texts repeat within and across flows.
_REMEMBERED = 512
_remembered = lru_cache(maxsize=1024)(Template)


# --- trees ---------------------------------------------------------------------------------------------------------

Render = Callable[[Mapping[str, Any], Budget], Any]


class CompiledTemplate:
    """A configuration tree: templates at any depth of objects and lists. Constant parts are shared, not copied."""

    __slots__ = ("_count", "_render", "_value", "references")

    def __init__(self, value: Any) -> None:
        references: list[Reference] = []
        self._value = value
        self._count = 0
        self._render = self._node(value, references)
        self.references = tuple(references)

    @property
    def constant(self) -> bool:
        return self._render is None

    def render(self, context: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The tree with its templates rendered under one budget; TemplateError carries the `pointer` into it."""
        if self._render is None:
            return self._value
        budget = budget or Budget()
        value = self._render(context, budget)
        if self._count > _UNMEASURED:
            weigh(budget, value)
        return value

    def _node(self, value: Any, references: list[Reference]) -> Render | None:
        if type(value) is str:
            return self._leaf(value, references)
        if isinstance(value, dict):
            return _object(value, self._parts(value.items(), references))
        if isinstance(value, list | tuple):
            return _list(value, self._parts(enumerate(value), references))
        return None

    def _leaf(self, text: str, references: list[Reference]) -> Render | None:
        template = compile_template(text)
        if template.constant:
            return None
        self._count += 1
        references.extend(template.references)
        return template.render

    def _parts(self, pairs: Any, references: list[Reference]) -> list[tuple[Any, Render]]:
        parts = []
        for key, value in pairs:
            try:
                node = self._node(value, references)
            except TemplateError as error:
                raise _placed(error, key) from None
            if node is not None:
                parts.append((key, node))
        return parts


def _object(value: dict[str, Any], parts: list[tuple[Any, Render]]) -> Render | None:
    return _tree(value.copy, parts) if parts else None


def _list(value: list[Any] | tuple[Any, ...], parts: list[tuple[Any, Render]]) -> Render | None:
    return _tree(lambda: list(value), parts) if parts else None


def _tree(copy: Callable[[], Any], parts: list[tuple[Any, Render]]) -> Render:
    def render(context: Mapping[str, Any], budget: Budget) -> Any:
        copied = copy()
        for key, part in parts:
            try:
                copied[key] = part(context, budget)
            except TemplateError as error:
                raise _placed(error, key) from None
        return copied

    return render


def _placed(error: TemplateError, key: Any) -> TemplateError:
    """Put one level in front of the error's JSON pointer."""
    name = str(key).replace("~", "~0").replace("/", "~1")
    error.pointer = f"/{name}{error.pointer or ''}"
    return error


def compile_value(value: Any) -> CompiledTemplate:
    """Compile every template in a tree of JSON data; TemplateError has `pointer` and `position` of the first error."""
    return CompiledTemplate(value)


# --- a config with an address ----------------------------------------------------------------------------------------


class _Addressed(CompiledTemplate):
    """A config of which one text is the address of a request: values stay inside their parts of it."""

    __slots__ = ()

    def __init__(self, config: Mapping[str, Any], key: str) -> None:
        references: list[Reference] = []
        self._value = config
        self._count = 1
        rest = [(name, value) for name, value in config.items() if name != key]
        address = _address(config[key], key)
        parts = [*self._parts(rest, references), (key, address.render)]
        self._render = _object(dict(config), parts)
        self.references = (*address.references, *references)


def compile_config(config: Mapping[str, Any], address_key: str | None) -> CompiledTemplate:
    """Like `compile_value`; `address_key` is the key of the text that is the address of a request, if there is one."""
    text = config.get(address_key) if address_key is not None and isinstance(config, Mapping) else None
    if address_key is None or not isinstance(text, str) or not has_template(text):
        return CompiledTemplate(config)
    return _Addressed(config, address_key)


def _address(text: str, key: str) -> Address | Template:
    try:
        plain = compile_template(text)
        return plain if is_one_value(text) else Address(text)
    except TemplateError as error:
        raise _placed(error, key) from None


# --- conditions ----------------------------------------------------------------------------------------------------


class _Condition(CompiledTemplate):
    """Renders to true or false. Text counts as it reads: `false` and nothing are false."""

    __slots__ = ()

    def render(self, context: Mapping[str, Any], budget: Budget | None = None) -> bool:
        value = super().render(context, budget)
        return value.strip().lower() not in ("", "false") if type(value) is str else bool(value)


def compile_condition(condition: str | bool) -> CompiledTemplate:
    """A step's `condition`: true, false, a template, or a bare expression (`inputs.amount > 100`).

    A bare expression is compiled in braces: the offsets of its references count the three characters before it, the
    `position` of an error does not.
    """
    if isinstance(condition, bool):
        return _Condition(condition)
    return _bare(condition, _Condition, "A condition")


def compile_foreach(items: Any) -> CompiledTemplate:
    """A step's `foreach`: a list with templates in it, a template, or a bare expression, as in a condition."""
    return _bare(items, CompiledTemplate, "A `foreach`") if isinstance(items, str) else CompiledTemplate(items)


def _bare(text: str, kind: type[CompiledTemplate], what: str) -> CompiledTemplate:
    if has_template(text):
        return kind(text)
    if "}}" in text or "%}" in text:
        raise TemplateError(f"{what} that is not one expression is written as a template: `{{{{ ... }}}}`.")
    try:
        return kind("{{ " + text + " }}")
    except TemplateError as error:
        error.position = max((error.position or 0) - 3, 0)
        raise
