"""Template text -> Jinja's tokens, each carrying its character offset where Jinja keeps a line number.

An own scanner, because the language differs from Jinja's before its grammar starts: a dot may lead an operand,
`null` is a constant, and a step id may hold hyphens (`steps.fetch-orders`).
"""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Iterator
from typing import Any

from jinja2.lexer import Token, operators

from automata.flow.budget import MAX_INT_BITS, TemplateError

MAX_BRACKETS = 24
TAGS = frozenset({"if", "elif", "else", "endif", "for", "endfor"})
_KEYWORDS = frozenset({"and", "or", "not", "in", "is", "if", "else", "elif", "for", "recursive"})
_OPERAND_ENDS = frozenset({"string", "integer", "float", "rparen", "rbracket", "rbrace"})
_CLOSERS = {"rparen": "lparen", "rbracket": "lbracket", "rbrace": "lbrace"}

_OPEN = re.compile(r"\{([{%#])([-+]?)")
_RAW = re.compile(r"\s*raw\s*(-?)%\}")
_END_RAW = re.compile(r"\{%([-+]?)\s*endraw\s*(-?)%\}")
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<float>(?<!\.)\d[\d_]*(?:\.\d[\d_]*(?:[eE][+-]?\d+)?|[eE][+-]?\d+))
    | (?P<integer>0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*)
    | (?P<name>[^\W\d]\w*)
    | (?P<string>'[^'\\]*(?:\\.[^'\\]*)*'|"[^"\\]*(?:\\.[^"\\]*)*")
    | (?P<operator>\*\*|//|==|!=|<=|>=|[-+*/%~\[\](){}<>=.:|,;])
    """,
    re.VERBOSE | re.DOTALL,
)
# Other backslashes stay, so that regular expressions (`\d`, `\b`, `\1`) can be written as they are.
_ESCAPE = re.compile(r"\\(?:([\\'\"nrt])|x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8}))")
_PLAIN_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}
_STEP_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-+[A-Za-z0-9_]+)+", re.ASCII)


def has_template(text: str) -> bool:
    """Whether the text is a template at all; without `{{` and `{%` it is data."""
    return "{{" in text or "{%" in text


class Source:
    """One template's text and the offsets of its `{{ }}` and `{% %}` parts, for errors that quote them."""

    __slots__ = ("_begins", "_ends", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._begins: list[int] = []
        self._ends: list[int] = []

    def note(self, begin: int, end: int) -> None:
        self._begins.append(begin)
        self._ends.append(end)

    def excerpt(self, position: int) -> str:
        """The part around an offset, as it was written, at most 120 characters of it."""
        index = bisect.bisect_right(self._begins, position) - 1
        if index < 0:
            return ""
        part = self.text[self._begins[index] : self._ends[index]]
        return part if len(part) <= 120 else part[:117] + "..."

    def error(self, message: str, position: int, code: str = "AF200", hint: str | None = None) -> TemplateError:
        """An error at an offset of the text; the caller raises it."""
        # A name may be as long as the template.
        message = message if len(message) <= 400 else f"{message[:300]} ... {message[-50:]}"
        return TemplateError(message, code=code, hint=hint, position=position)


def tokenize(source: Source) -> list[Token]:
    """Raises TemplateError for text that ends inside a part, unknown characters and tags outside the language."""
    return list(_Scanner(source).scan())


class _Scanner:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.tokens: list[Token] = []
        self.position = 0
        self.trim = False

    def scan(self) -> list[Token]:
        while (opening := _OPEN.search(self.text, self.position)) is not None:
            self._data(opening.start(), strip_end=opening[2] == "-")
            self.position = opening.end()
            self._part(opening)
        self._data(len(self.text))
        return self.tokens

    def _data(self, end: int, strip_end: bool = False) -> None:
        data = self.text[self.position : end]
        if self.trim:
            data = data.lstrip()
        if strip_end:
            data = data.rstrip()
        if data:
            self.tokens.append(Token(self.position, "data", data))
        self.trim = False

    def _part(self, opening: re.Match[str]) -> None:
        kind = opening[1]
        if kind == "#":
            self._comment(opening.start())
        elif kind == "%" and (raw := _RAW.match(self.text, self.position)):
            self._raw(opening.start(), raw)
        else:
            self._code(opening.start(), "variable" if kind == "{" else "block")

    def _comment(self, begin: int) -> None:
        end = self.text.find("#}", self.position)
        if end < 0:
            raise self.source.error("The comment `{#` is never closed with `#}`.", begin)
        self.trim = self.text[end - 1] == "-"
        self.position = end + 2

    def _raw(self, begin: int, raw: re.Match[str]) -> None:
        end = _END_RAW.search(self.text, raw.end())
        if end is None:
            raise self.source.error("`{% raw %}` is never closed with `{% endraw %}`.", begin)
        self.position, self.trim = raw.end(), raw[1] == "-"
        self._data(end.start(), strip_end=end[1] == "-")
        self.position, self.trim = end.end(), end[2] == "-"

    def _code(self, begin: int, kind: str) -> None:
        closer = "}}" if kind == "variable" else "%}"
        self.tokens.append(Token(begin, f"{kind}_begin", ""))
        first = len(self.tokens)
        for token in self._inside(begin, closer):
            self.tokens.append(token)
        self.source.note(begin, self.position)
        self.tokens.append(Token(self.position - 2, f"{kind}_end", ""))
        if kind == "block":
            self._check_tag(self.tokens[first], begin)

    def _check_tag(self, token: Token, begin: int) -> None:
        if token.type != "name" or token.value in TAGS:
            return
        raise self.source.error(
            f"`{{% {token.value} %}}` is not part of the template language: templates are data, not programs.",
            begin,
            code="AF203",
            hint="Statements are `if` and `for`.",
        )

    def _inside(self, begin: int, closer: str) -> Iterator[Token]:
        brackets: list[str] = []
        while True:
            if not brackets and self._closed(closer):
                return
            match = _TOKEN.match(self.text, self.position)
            if match is None:
                raise self._unreadable(begin, closer)
            if match.lastgroup != "space" and (token := self._token(match)) is not None:
                self._balance(brackets, token)
                yield token
            self.position = max(self.position, match.end())

    def _closed(self, closer: str) -> bool:
        text, position = self.text, self.position
        self.trim = text.startswith("-" + closer, position)
        if self.trim or text.startswith("+" + closer, position):
            position += 1
        elif not text.startswith(closer, position):
            return False
        self.position = position + 2
        return True

    def _unreadable(self, begin: int, closer: str) -> TemplateError:
        if self.position >= len(self.text):
            return self.source.error(f"The template ends before `{closer}`.", begin)
        character = self.text[self.position]
        if character in "'\"":
            return self.source.error("A string is never closed.", self.position)
        return self.source.error(f"Unexpected character {character!r}.", self.position)

    def _balance(self, brackets: list[str], token: Token) -> None:
        if token.type in _CLOSERS.values():
            brackets.append(token.type)
            if len(brackets) > MAX_BRACKETS:
                raise self.source.error(
                    f"More than {MAX_BRACKETS} brackets inside each other.", token.lineno, code="AF202"
                )
        elif token.type in _CLOSERS and (not brackets or brackets.pop() != _CLOSERS[token.type]):
            raise self.source.error("A bracket, such as `}`, is closed that was not opened.", token.lineno)

    def _token(self, match: re.Match[str]) -> Token | None:
        kind, text, position = match.lastgroup, match[0], match.start()
        if kind == "name":
            return self._name(text, position)
        if kind == "operator":
            if text == "." and self._leads(match.end()):
                return None
            return Token(position, operators[text], text)
        assert kind is not None
        return Token(position, kind, self._constant(kind, text, position))

    def _name(self, text: str, position: int) -> Token:
        after_dot = self._last(1) == "dot"
        if after_dot and self._last(2) == "name" and self.tokens[-2].value == "steps":
            longer = _STEP_ID.match(self.text, position)
            if longer is not None:
                text = longer[0]
                self.position = longer.end()
        return Token(position, "name", "none" if text == "null" and not after_dot else text)

    def _last(self, back: int) -> str:
        return self.tokens[-back].type if len(self.tokens) >= back else ""

    def _leads(self, end: int) -> bool:
        """Whether this dot starts an operand: a name follows and none of its like came before."""
        if not (end < len(self.text) and (self.text[end].isalpha() or self.text[end] == "_")):
            return False
        last = self._last(1)
        if last == "name":
            return self.tokens[-1].value in _KEYWORDS and self._last(2) not in ("dot", "pipe")
        return last not in _OPERAND_ENDS

    def _constant(self, kind: str, text: str, position: int) -> Any:
        if kind == "string":
            return self._string(text[1:-1], position)
        try:
            number = float(text.replace("_", "")) if kind == "float" else int(text.replace("_", ""), 0)
        except ValueError:
            raise self.source.error("This number cannot be read.", position) from None
        if not math.isfinite(number) if kind == "float" else int(number).bit_length() > MAX_INT_BITS:
            raise self.source.error("This number is too large.", position)
        return number

    def _string(self, text: str, position: int) -> str:
        if "\\" not in text:
            return text
        try:
            value = _ESCAPE.sub(_unescaped, text)
            value.encode()
        except (ValueError, OverflowError):
            raise self.source.error("This string holds an escape that is no character.", position) from None
        return value


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1] is not None:
        return _PLAIN_ESCAPES.get(escape[1], escape[1])
    return chr(int(escape[2] or escape[3] or escape[4], 16))
