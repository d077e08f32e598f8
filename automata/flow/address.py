"""The address of a request: what the flow wrote is its structure, and a value from outside stays inside its part.

Without this, `/orders/{{ inputs.order }}` with `../users/1` is a request for another resource, with the credentials of
the step. What was written in the flow, and the values of `vars`, may hold anything. A value from anywhere else may be

- the whole address, or its beginning: it says where to go, and `validate` warns of it. Not where a filter made it of
  written text and values, as `['https://a.test', inputs.path] | join('/')` does: nobody can tell its parts then;
- the name of a scheme or a host, or the digits of a port;
- part of one segment of the path, which then is neither empty nor `.` nor `..`;
- part of the query without `&`, unless `urlencode` made it.

What does not fit is refused (`AF220`) before anything is sent; it is never encoded in secret, since nobody can tell
whether it is encoded already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from automata.flow.budget import AbsentError, Budget, TemplateError
from automata.flow.lexing import Source
from automata.flow.origins import Origin, Piece, Value, compile_pieces, values_of
from automata.flow.scope import Reference, Scope, explain, quoting
from automata.flow.statements import tree

UNSAFE_VALUE = "AF220"
Part = Literal["start", "scheme", "host", "port", "path", "query", "fragment"]

MAX_HEAD = 4_096  # characters before the path
_ENDS_PATH = re.compile(r"[?#]")
_ENDS_SEGMENT = re.compile(r"[/?#\\\x00-\x1f\x7f]")
_ENDS_QUERY = re.compile(r"[#\\\x00-\x1f\x7f]")
_ENDS_PARAMETER = re.compile(r"[&#\\\x00-\x1f\x7f]")
_ENDS_AUTHORITY = re.compile(r"[/?#@\\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
# A user's name before an `@` stands in the same place, hence the escapes; no host may hold one.
_HOST = re.compile(r"[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\]")
_PORT = re.compile(r"[0-9]{1,5}")
_SEPARATORS = re.compile(r"[/\\]")


class Address:
    """A checked template of an address. Immutable, shared by threads, as `Template` is."""

    __slots__ = ("_program", "references", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._program = compile_pieces(Source(text))
        self.references: tuple[Reference, ...] = self._program.references

    def render(self, context: Mapping[str, Any], budget: Budget | None = None) -> str:
        """The address, or TemplateError: `AF220` for a value that would leave its part."""
        program = self._program
        try:
            pieces = program.run(Scope(context, budget or Budget(), program.slots))
            return assemble(pieces)
        except AbsentError as absent:
            raise explain(absent, program.source) from None
        except TemplateError as error:
            raise quoting(error, program.source) from None


def is_one_value(text: str) -> bool:
    """Whether the whole address is what one expression gives, so that there is no part to stay in."""
    values = [value for value in values_of(tree(Source(text))) if isinstance(value, Value) or value.strip()]
    return len(values) < 2 and not any(isinstance(value, Value) and value.origin == "mixed" for value in values)


def assemble(pieces: Sequence[Piece]) -> str:
    """The text of an address. Raises TemplateError `AF220` for a value that would leave its part.

    Every character is looked at a few times, however many pieces there are.
    """
    writer = _Writer()
    for index, piece in enumerate(pieces):
        if piece.origin != "written":
            if writer.part != "start":
                _CHECKS[writer.part](piece)
            elif piece.text:
                _check_start(piece, _start_of(pieces, index + 1))
            writer.insert(piece)
        else:
            writer.write(piece.text)
    text = "".join(writer.texts)
    _check_segments(text, writer.in_path)
    if pieces and pieces[-1].origin != "written":
        # Blanks around an address are dropped where it is parsed; those of a value belong to the value.
        kept = text.rstrip(" ")
        text = kept + "%20" * (len(text) - len(kept))
    return text


class _Writer:
    """An address as it grows, and the part in which what comes next will stand."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.part: Part = "start"
        self.in_path: list[tuple[int, int, Piece]] = []  # (start, end) of the values there
        self._length = 0
        self._head = ""  # all before the path

    def insert(self, piece: Piece) -> None:
        """Write a value."""
        if self.part == "path":
            self.in_path.append((self._length, self._length + len(piece.text), piece))
        self.write(piece.text)

    def write(self, text: str) -> None:
        """Write what the flow has written."""
        if not text:
            return
        self.texts.append(text)
        self._length += len(text)
        if self.part in ("start", "scheme", "host", "port"):
            self._head += text
            if len(self._head) > MAX_HEAD and "/" not in text:
                raise TemplateError("The address has a host that is too long.", code=UNSAFE_VALUE)
            self.part = part_after(self._head)
        elif self.part == "path" and (mark := _ENDS_PATH.search(text)):
            self.part = "query" if mark[0] == "?" and "#" not in text[mark.end() :] else "fragment"
        elif self.part == "query" and "#" in text:
            self.part = "fragment"


def part_after(text: str) -> Part:
    """The part of an address in which a value stands that follows `text`."""
    text = text.lstrip()
    if not text:
        return "start"
    scheme, found, rest = text.partition("://")
    if not found or not _SCHEME.fullmatch(scheme):
        return "scheme"
    for mark, part in _MARKS:
        if mark in rest:
            return part
    name = rest.rpartition("@")[2].rpartition("]")[2]
    return "port" if ":" in name else "host"


_MARKS: tuple[tuple[str, Part], ...] = (("#", "fragment"), ("?", "query"), ("/", "path"))


def _start_of(pieces: Sequence[Piece], index: int) -> str:
    """How the text goes on from a piece."""
    text = ""
    while index < len(pieces) and len(text) < 3:
        text += pieces[index].text[:3]
        index += 1
    return text[:3]


# --- what may stand where ------------------------------------------------------------------------------------------


def _unsafe(piece: Piece, what: str, hint: str) -> TemplateError:
    return TemplateError(f"The value {what}", code=UNSAFE_VALUE, hint=hint, position=piece.position)


def _check_start(piece: Piece, following: str) -> None:
    """A value that says where to go may not swallow what is written after it, nor be half written, half data."""
    if piece.origin == "mixed":
        raise _unsafe(
            piece,
            "is put together of what is written and of values, so that nobody can tell where a part of it ends.",
            "Put values into the address with `{{ }}` or `~`: each stays inside its part.",
        )
    if not following:
        return
    if following.startswith("://"):
        _check_scheme(piece)
    elif "#" in piece.text or ("?" in piece.text and following[0] not in "&#"):
        raise _unsafe(
            piece,
            "holds `?` or `#`, so that what is written after it would be no path.",
            "Give the address without its query, and the query in `query`.",
        )


def _check_scheme(piece: Piece) -> None:
    if not re.fullmatch(r"[A-Za-z0-9+.-]*", piece.text):
        raise _unsafe(piece, "stands where `http` or `https` does and is more than that.", "Write the scheme.")


def _check_host(piece: Piece) -> None:
    if piece.origin == "secret":
        if _ENDS_AUTHORITY.search(piece.text):
            raise _unsafe(piece, "would end the host's part of the address.", "Put credentials into `auth`.")
    elif not _HOST.fullmatch(piece.text):
        raise _unsafe(
            piece,
            "stands in the place of a host and is not the name of one.",
            "A whole address goes to the beginning of `url`, a port has its own place: `https://HOST:PORT/`.",
        )


def _check_port(piece: Piece) -> None:
    # Before an `@` this is the place of a password.
    if piece.origin == "secret":
        _check_host(piece)
    elif not _PORT.fullmatch(piece.text):
        raise _unsafe(piece, "stands in the place of a port and is no number.", "A port is up to five digits.")


def _check_path(piece: Piece) -> None:
    if piece.origin == "secret" or piece.origin == "safe":
        return
    if match := _ENDS_SEGMENT.search(piece.text):
        raise _unsafe(piece, f"holds {_named(match[0])}, which would lead to another path.", _SEGMENT_HINT)
    if _has_dots(piece.text):
        raise _unsafe(piece, "holds `.` or `..` as a segment, which would lead to another path.", _SEGMENT_HINT)


def _check_query(piece: Piece) -> None:
    forbidden = _ENDS_QUERY if piece.origin == "encoded" else _ENDS_PARAMETER
    if piece.origin != "secret" and (match := forbidden.search(piece.text)):
        raise _unsafe(
            piece, f"holds {_named(match[0])}, which would end its parameter.", "Put it into `query`, which encodes it."
        )


def _check_fragment(piece: Piece) -> None:
    """A fragment is not sent, whatever it holds."""


_CHECKS: Mapping[Part, Callable[[Piece], None]] = {
    "scheme": _check_scheme,
    "host": _check_host,
    "port": _check_port,
    "path": _check_path,
    "query": _check_query,
    "fragment": _check_fragment,
}

_SEGMENT_HINT = "`| segment` makes one path segment of a value."


def _check_segments(text: str, values: Sequence[tuple[int, int, Piece]]) -> None:
    """The segments in which values stand: with what is written beside them, they are neither nothing nor dots."""
    before, after = -1, -1
    for start, end, piece in values:
        if piece.origin not in ("data", "mixed", "encoded") or before <= start <= after:
            continue
        before = text.rfind("/", 0, start) + 1
        ending = _ENDS_SEGMENT.search(text, end)
        after = ending.start() if ending else len(text)
        if before == after:
            raise _unsafe(piece, "is empty, so that its path segment would be missing.", _SEGMENT_HINT)
        if _has_dots(text[before:after]):
            raise _unsafe(piece, "makes its path segment `.` or `..`, which leads to another path.", _SEGMENT_HINT)


def _has_dots(text: str) -> bool:
    """Whether a segment of it is `.` or `..` to somebody on the way."""
    if "%" in text:
        text = unquote(unquote(text))  # twice: what stands behind a proxy may decode once more
    # Some servers take `..;x` for `..`.
    return "." in text and any(part.partition(";")[0].strip() in (".", "..") for part in _SEPARATORS.split(text))


def _named(character: str) -> str:
    return "a control character" if character < " " or character == "\x7f" else f"`{character}`"


# --- what can be said before there are values -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RawValue:
    """A value from outside that stands in the path or the host as it is, and where in the template."""

    part: Literal["host", "path"]
    value: Value
    expression: str


def raw_values(text: str) -> Iterator[RawValue]:
    """The values of an address that a wrong input could make fail, or lead elsewhere. Raises TemplateError."""
    Address(text)  # what cannot be compiled is not looked into
    source = Source(text)
    written = ""
    values = list(values_of(tree(source)))
    for index, value in enumerate(values):
        if isinstance(value, str):
            written += value
            continue
        part = part_after(written)
        if value.origin in ("data", "mixed", "encoded") and part in _WARNED:
            yield RawValue(_WARNED[part], value, _expression(source, value))
        written += _stand_in(part, value.origin, values[index + 1 :])


_WARNED: Mapping[Part, Literal["host", "path"]] = {"start": "host", "host": "host", "path": "path"}


def _stand_in(part: Part, origin: Origin, rest: Sequence[str | Value]) -> str:
    """A text that stands for a value, so that what follows it is found in its part."""
    if part == "port":
        return "1"
    following = rest[0] if rest and isinstance(rest[0], str) else ""
    if part != "start" or following.startswith("://"):
        return "x"
    return "http://x"


def _expression(source: Source, value: Value) -> str:
    return source.excerpt(value.position).removeprefix("{{").removesuffix("}}").strip("- \n\t")
