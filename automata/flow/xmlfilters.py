"""XML in and out, as data of objects and lists.

An element without attributes and children is its text. Any other is an object: `@name` is an attribute, `name` a child
(a list where it is repeated), `#text` the text. What a document type could do (entities, files, defaults) is refused
with the document type itself, so no text grows and nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.parsers import expat

from automata.flow.budget import MAX_DEPTH, MAX_TEXT, Budget, TemplateError, misfit
from automata.flow.values import kind, text_of

MAX_XML_DEPTH = 100
_XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
_NAME = re.compile(r"[^\W\d][\w.\-\u00b7]*(?::[^\W\d][\w.\-\u00b7]*)?")
_NO_CHARACTER = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# A parser makes a blank of these where they stand as they are.
_TEXT_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_VALUE_ESCAPES = _TEXT_ESCAPES | str.maketrans({'"': "&quot;", "\n": "&#10;", "\t": "&#9;"})
_NODE_COST = 64


def from_xml(budget: Budget, value: Any, lists: Any = (), namespaces: Any = None) -> dict[str, Any]:
    """`{root: ...}` of an XML text. `lists` names the elements that are lists even when there is one.

    Names stand as they are written, `soap:Body`. With `namespaces`, an object of prefix to address, they have these
    prefixes whatever the sender calls them (the prefix '' is none), and `{address}name` for other namespaces.
    """
    if type(value) is not str:
        raise misfit(f"`from_xml` reads text, this is {kind(value)}.")
    if len(value) > MAX_TEXT:
        raise misfit(f"`from_xml` reads at most {MAX_TEXT:,} characters.")
    budget.make(len(value))
    if type(lists) not in (list, tuple) or any(type(name) is not str for name in lists):
        raise misfit("`lists` is a list of names of elements.")
    builder = _Builder(budget, frozenset(lists), _prefixes(namespaces))
    return builder.read(value.removeprefix("\ufeff"))


def _prefixes(namespaces: Any) -> dict[str, str] | None:
    if namespaces is None:
        return None
    if type(namespaces) is not dict or any(type(address) is not str for address in namespaces.values()):
        raise misfit("`namespaces` is an object of prefix to address.")
    return {address: prefix for prefix, address in namespaces.items()} | {_XML_NAMESPACE: "xml"}


class _Builder:
    """Builds the data while expat reads; the budget ends both."""

    def __init__(self, budget: Budget, lists: frozenset[str], prefixes: dict[str, str] | None) -> None:
        self._budget = budget
        self._lists = lists
        self._prefixes = prefixes
        self._open: list[tuple[dict[str, Any], list[str]]] = [({}, [])]

    def read(self, text: str) -> dict[str, Any]:
        # The text has been decoded, whatever its declaration says of bytes that once were.
        parser = expat.ParserCreate("utf-8", None if self._prefixes is None else " ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_document_type
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(text.encode(), True)
        except UnicodeEncodeError:
            raise misfit("`from_xml` cannot read this text: half of a surrogate pair is no character.") from None
        except expat.ExpatError as error:
            what = expat.errors.messages[error.code]
            place = f"line {error.lineno}, column {error.offset + 1}"
            raise misfit(f"`from_xml` cannot read this text: {what} at {place}.") from None
        return self._open[0][0]

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._budget.turn()
        self._budget.pay(_NODE_COST + len(name) + sum(len(key) + 16 for key in attributes))
        if len(self._open) > MAX_XML_DEPTH:
            raise misfit(f"`from_xml` reads at most {MAX_XML_DEPTH} levels of elements.")
        self._open.append(({f"@{self._name(key)}": value for key, value in attributes.items()}, []))

    def _text(self, text: str) -> None:
        self._budget.pay(len(text) + 16)
        self._open[-1][1].append(text)

    def _end(self, name: str) -> None:
        fields, texts = self._open.pop()
        self._put(self._open[-1][0], self._name(name), _content(fields, "".join(texts)))

    def _put(self, parent: dict[str, Any], name: str, content: Any) -> None:
        if name not in parent:
            parent[name] = [content] if name in self._lists else content
        elif type(parent[name]) is list:
            parent[name].append(content)
        else:
            parent[name] = [parent[name], content]

    def _name(self, name: str) -> str:
        address, blank, local = name.rpartition(" ")
        if self._prefixes is None or not blank:
            return name
        prefix = self._prefixes.get(address)
        if prefix is None:
            return f"{{{address}}}{local}"
        return f"{prefix}:{local}" if prefix else local


def _content(fields: dict[str, Any], text: str) -> Any:
    if not fields:
        return text
    if text.strip():
        fields["#text"] = text
    return fields


def _refuse_document_type(*_: Any) -> None:
    raise misfit("A document type (`<!DOCTYPE`) is not read: it could hold entities.")


# --- writing --------------------------------------------------------------------------------------------------------


def to_xml(budget: Budget, value: Any, declaration: bool = True) -> str:
    """The XML text of `{root: ...}`, in the form that `from_xml` gives. Null is an empty element, or no attribute."""
    if type(value) is not dict or len(value) != 1 or type(next(iter(value.values()))) is list:
        raise misfit("`to_xml` needs an object with one field, the root element.")
    name, content = next(iter(value.items()))
    pieces = ['<?xml version="1.0" encoding="UTF-8"?>\n'] if declaration else []
    pieces += _element(budget, name, content, 0, frozenset({"xml"}))
    text = "".join(pieces)
    budget.make(len(text))
    return text


def _element(budget: Budget, name: Any, content: Any, depth: int, known: frozenset[str]) -> Iterator[str]:
    if depth > MAX_XML_DEPTH:
        raise TemplateError(f"The value is nested more than {MAX_XML_DEPTH} levels deep.", code="AF213")
    budget.turn()
    budget.pay(_NODE_COST)
    fields = content if type(content) is dict else {"#text": content}
    attributes = {key[1:]: part for key, part in fields.items() if key.startswith("@") and part is not None}
    known = known | {key[6:] for key in attributes if key.startswith("xmlns:")}
    tag = _checked(name, known) + "".join(_attribute(budget, key, part, known) for key, part in attributes.items())
    budget.emit(2 * len(tag) + 5)
    inner = "".join(_inner(budget, fields, depth, known))
    yield f"<{tag}>{inner}</{name}>" if inner else f"<{tag}/>"


def _inner(budget: Budget, fields: dict[str, Any], depth: int, known: frozenset[str]) -> Iterator[str]:
    for key, part in fields.items():
        if key == "#text":
            yield _escaped(budget, part, _TEXT_ESCAPES)
        elif not key.startswith("@"):
            for item in part if type(part) is list else [part]:
                if type(item) is list:
                    raise misfit("A list in a list has no form in XML.")
                yield from _element(budget, key, item, depth + 1, known)


def _attribute(budget: Budget, name: str, value: Any, known: frozenset[str]) -> str:
    plain = name.removeprefix("xmlns:") if name.startswith("xmlns:") else name
    return f' {_checked(name, known | {"xmlns"}) if plain else name}="{_escaped(budget, value, _VALUE_ESCAPES)}"'


def _checked(name: Any, known: frozenset[str]) -> str:
    if type(name) is not str or len(name) > 256 or not _NAME.fullmatch(name):
        raise misfit("A field's name is no name of an XML element or attribute.")
    prefix, colon, _ = name.partition(":")
    if colon and prefix not in known:
        raise misfit(f"The prefix `{prefix[:64]}` is not declared.", f"`@xmlns:{prefix[:64]}` declares it.")
    return name


def _escaped(budget: Budget, value: Any, escapes: dict[int, str]) -> str:
    if value is None:
        return ""
    if type(value) in (list, dict, tuple):
        raise misfit(f"Text is needed here, this is {kind(value)}.", "`| json` gives its text.")
    text = text_of(budget, value)
    budget.emit(len(text))
    if _NO_CHARACTER.search(text):
        raise misfit("The text has a character that XML cannot hold.")
    return text.translate(escapes)


XML_FILTERS: Mapping[str, Callable[..., Any]] = {"from_xml": from_xml, "to_xml": to_xml}
assert MAX_XML_DEPTH * 2 <= MAX_DEPTH  # a level of elements is at most an object and a list
