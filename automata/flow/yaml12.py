"""Reads YAML 1.2 (and JSON, its subset) into plain values with the place of every node, all errors in one go.

PyYAML gives the events (through libyaml where it is built in); what a plain word means is decided here, because
PyYAML resolves by YAML 1.1. Events rather than PyYAML's nodes: limits hold while reading, not afterwards.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import yaml

from automata.errors import Diagnostic
from automata.flow.budget import MAX_INT_BITS
from automata.flow.findings import Findings, Positions, child

MAX_BYTES = 256 * 1024
MAX_NESTING = 50
MAX_NODES = 10_000
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
MAX_LONG_CHARS = len(str(1 << MAX_INT_BITS)) - 1  # so many digits always fit

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONSTANTS = dict.fromkeys(("", "~", "null", "Null", "NULL"))
_CONSTANTS |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)
# Digits after a leading zero stay text, so that 0755 or a zip code arrives as it was written.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_JSON_WORD = re.compile(r"(true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?)\Z")
_JSON_NOT_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
# JSON writes a character beyond U+FFFF as two escapes, which libyaml refuses; YAML has one escape for it.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(frozen=True, slots=True)
class Room:
    """How much of a file is read. `words`: every plain key is text, as `200:` is in documents of others.

    `long`: a whole number may have up to MAX_INT_BITS, as services give them; else it must fit 64 bits.
    """

    bytes: int = MAX_BYTES
    nodes: int = MAX_NODES
    words: bool = False
    long: bool = False


FLOW = Room()
CASES = Room(long=True)  # what a run is given and what comes of it, not what is stored as a flow


class _StopError(Exception):
    """Reading cannot go on; the reason is already among the findings."""


def parse_yaml(text: bytes | str, file: str = "", room: Room = FLOW) -> tuple[Any, Positions, tuple[Diagnostic, ...]]:
    """The value of the only document, the places of its nodes, and what is wrong with it.

    The value is None when nothing could be read; with errors that allowed reading on, it holds what was read.
    """
    findings = Findings(file, Positions())
    value = None
    try:
        decoded = _decode(text, findings, room.bytes)
        value = _Reader(decoded, file.lower().endswith(".json"), findings, room).document()
    except _StopError:
        pass
    return value, findings.positions, findings.done()


def _decode(text: bytes | str, findings: Findings, most: int) -> str:
    try:
        data = text.encode() if isinstance(text, str) else text
        if len(data) > most:
            findings.add("AF003", f"the file is larger than {most:,} bytes", "")
            raise _StopError
        return data.decode("utf-8-sig")
    except UnicodeError as error:
        findings.add("AF002", f"the file is not UTF-8 text (byte {getattr(error, 'start', 0)})", "")
        raise _StopError from error


def _one_escape(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"


class _Reader:
    def __init__(self, text: str, json: bool, findings: Findings, room: Room) -> None:
        self.text = text
        self.room = room
        self.json = json or text.lstrip()[:1] == "{"
        self.strict = json
        self.findings = findings
        self.places = findings.positions
        self.nodes = 0

    def document(self) -> Any:
        try:
            source = _PAIR.sub(_one_escape, self.text) if self.json else self.text
            self.next = _Loader(source).get_event
            return self._stream()
        except yaml.MarkedYAMLError as error:
            self._broken(error, error.problem_mark or error.context_mark)
        except yaml.YAMLError as error:
            self._unreadable(error)
        raise _StopError

    def _stream(self) -> Any:
        self.next()
        event = self.next()
        if isinstance(event, yaml.StreamEndEvent):
            self._add("AF011", "the file is empty", "", event)
            raise _StopError
        if event.version and event.version != (1, 2):
            self._add("AF008", "the file is read as YAML 1.2; another `%YAML` version is not supported", "", event)
        value = self._node(self.next(), "", 1)
        self.next()
        event = self.next()
        if not isinstance(event, yaml.StreamEndEvent):
            hint = "put each document into a file of its own"
            self._add("AF010", "several documents in one file are not supported", "", event, hint)
        return value

    def _node(self, event: Any, pointer: str, depth: int) -> Any:
        mark = event.start_mark
        self.places[pointer] = (mark.line + 1, mark.column + 1)
        self._refuse(event, pointer)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, pointer)
        if isinstance(event, yaml.AliasEvent):
            return None
        if depth > MAX_NESTING:
            self._add("AF004", f"the file nests deeper than {MAX_NESTING} levels", pointer, event)
            raise _StopError
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(pointer, depth)
        return self._mapping(pointer, depth)

    def _refuse(self, event: Any, pointer: str) -> None:
        """Count a node, and refuse what YAML allows and a flow file does not."""
        self.nodes += 1
        if self.nodes > self.room.nodes:
            self._add("AF005", f"the file has more than {self.room.nodes:,} nodes", pointer, event)
            raise _StopError
        if isinstance(event, yaml.AliasEvent):
            hint = "write the value out"
            self._add("AF006", f"aliases (`*{event.anchor}`) are not supported", pointer, event, hint)
            return
        if event.anchor is not None:
            self._add("AF006", f"anchors (`&{event.anchor}`) are not supported", pointer, event, "remove it")
        if event.tag is not None:
            hint = "remove it; quote a value to make it text"
            self._add("AF008", f"tags (`{_tag(event.tag)}`) are not supported", pointer, event, hint)

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self.next(), yaml.SequenceEndEvent):
            items.append(self._node(event, f"{pointer}/{len(items)}", depth + 1))
        return items

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            key = self._key(event, pointer, depth)
            if key is None:
                self._skip(self.next(), pointer, depth)
                continue
            place = child(pointer, key)
            if key in members:
                line = self.places.names[place][0]
                self._add("AF009", f"the key `{key}` is already given in line {line}", place, event)
                self._skip(self.next(), place, depth)
                continue
            self.places.names[place] = (event.start_mark.line + 1, event.start_mark.column + 1)
            members[key] = self._node(self.next(), place, depth + 1)
        return members

    def _skip(self, event: Any, pointer: str, depth: int) -> None:
        """Read on past a node that has no place in the result; `pointer` keeps pointing where it did."""
        kept = self.places.get(pointer)
        self._node(event, pointer, depth + 1)
        if kept:
            self.places[pointer] = kept

    def _key(self, event: Any, pointer: str, depth: int) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            hint = 'quote templates: `"{{ … }}"`' if isinstance(event, yaml.MappingStartEvent) else None
            self._add("AF012", "a key must be text", pointer, event, hint)
            self._skip(event, pointer, depth)
            return None
        self._refuse(event, pointer)
        if not event.implicit[0]:
            return self._quoted(event, pointer)
        if event.value == "<<":
            self._add("AF007", "merge keys (`<<`) are not supported", pointer, event, "write the keys out")
            return None
        key = event.value if self.room.words else self._word(event.value, pointer, event)
        if isinstance(key, str):
            return key
        shown = _short(event.value)
        self._add("AF012", f"a key must be text, not `{shown}`", pointer, event, f'quote it: `"{shown}"`')
        return None

    def _scalar(self, event: Any, pointer: str) -> Any:
        start, end = event.start_mark, event.end_mark
        plain = event.implicit[0]
        value = self._word(event.value, pointer, event) if plain else self._quoted(event, pointer)
        # The characters of a text stand in the file one for one if it takes just its length there.
        if isinstance(value, str) and start.line == end.line:
            quotes = end.column - start.column - len(value)
            if quotes == (0 if plain else 2):
                self.places.insets[pointer] = quotes // 2
        return value

    def _quoted(self, event: Any, pointer: str) -> str:
        text: str = event.value
        if "\0" in text:
            self._add("AF015", "the text holds the character U+0000, which cannot be stored", pointer, event)
        return text

    def _word(self, text: str, pointer: str, event: Any) -> Any:
        """What a word without quotes means (YAML 1.2, core schema)."""
        if self.strict and not _JSON_WORD.match(text):
            return self._not_json(text, pointer, event)
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _INT.match(text):
            return self._integer(text, 10, pointer, event)
        if _BASED.match(text):
            return self._integer(text, 0, pointer, event)
        if _FLOAT.match(text):
            return self._float(text, pointer, event)
        if _NOT_FINITE.match(text):
            self._add("AF013", f"`{text}` is not a number that JSON can hold", pointer, event)
        return text

    def _integer(self, text: str, base: int, pointer: str, event: Any) -> int:
        # 2**63 has 19 digits, or 22 in octal; longer ones are not even converted.
        value = int(text, base) if len(text) <= (MAX_LONG_CHARS if self.room.long else 25) else INT_MAX + 1
        if INT_MIN <= value <= INT_MAX or (self.room.long and len(text) <= MAX_LONG_CHARS):
            return value
        bits = f"{MAX_INT_BITS:,}" if self.room.long else "64"
        message = f"the number {_short(text)} does not fit {bits} bits"
        self._add("AF013", message, pointer, event, "quote it to keep its digits as text")
        return 0

    def _float(self, text: str, pointer: str, event: Any) -> float:
        value = float(text)
        if math.isfinite(value):
            return value
        self._add("AF013", f"the number {_short(text)} is too large", pointer, event)
        return 0.0

    def _not_json(self, text: str, pointer: str, event: Any) -> None:
        if text in _JSON_NOT_FINITE:
            self._add("AF013", f"`{text}` is not a number that JSON can hold", pointer, event)
        else:
            reason = f"unexpected `{_short(text)}`" if text else "a value is missing"
            self._add("AF001", f"not valid JSON: {reason}", pointer, event)

    def _add(self, code: str, message: str, pointer: str, event: Any, hint: str | None = None) -> None:
        mark = event.start_mark
        self._at(code, message, pointer, mark.line + 1, mark.column + 1, hint)

    def _at(self, code: str, message: str, pointer: str, line: int, column: int, hint: str | None) -> None:
        diagnostic = Diagnostic(code, message, self.findings.file, line, column, pointer, hint)
        self.findings.found.append(diagnostic)

    def _broken(self, error: yaml.MarkedYAMLError, mark: Any) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        kind = "JSON" if self.strict else "YAML"
        message = f"not valid {kind}: {error.problem or error.context}"
        self._at("AF001", message, "", line, column, self._advice(str(error.problem), line))

    def _unreadable(self, error: yaml.YAMLError) -> None:
        place = getattr(error, "position", None)
        before = self.text[:place] if isinstance(place, int) else ""
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        reason = getattr(error, "reason", "it cannot be read")
        self._at("AF002", f"the file holds a character that YAML does not allow: {reason}", "", line, column, None)

    def _advice(self, problem: str, line: int) -> str | None:
        source = "".join(self.text.split("\n")[line - 1 : line])
        if "cannot start any token" in problem and "\t" in source:
            return "indent with spaces, not tabs"
        if "{{" in source and not self.strict:
            return 'quote templates: `"{{ … }}"`'
        if "mapping values are not allowed" in problem:
            return "quote a text that holds `: `"
        return None


def _tag(tag: str) -> str:
    return "!!" + tag.removeprefix("tag:yaml.org,2002:") if tag.startswith("tag:yaml.org") else _short(tag)


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "…"


def is_number(text: str) -> bool:
    """Whether YAML 1.2 reads a plain scalar as a number."""
    return any(rule.match(text) for rule in (_INT, _BASED, _FLOAT, _NOT_FINITE))
