"""What differs between two rehearsals of the same run, and which of it is noise.

Order of what is looked at: status and error, outputs, requests that write (and flows that are started), requests that
read, the path through the steps and their attempts. `place` names where a difference is, the same way in every run:
differences of many runs are told together by it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from automata.errors import Invalid
from automata.flow.exact_json import dumps, loads
from automata.sandbox.answers import Request
from automata.sandbox.json_paths import find, locate
from automata.sandbox.rehearsal import Rehearsal

DifferenceKind = Literal["status", "error", "outputs", "write", "read", "step"]
DIFFERENCE_KINDS: tuple[DifferenceKind, ...] = ("status", "error", "outputs", "write", "read", "step")
MAX_DIFFERENCES = 200  # of one run; what else there is would be told no better
NOTHING = "(nothing)"
IGNORED = "(ignored)"


@dataclass(frozen=True, slots=True)
class Difference:
    """`place`: a JSONPath, or the request and step; `before` and `after` are JSON values."""

    kind: DifferenceKind
    place: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class PlayedRun:
    """One rehearsal of a recorded run. `writes` holds flows that were started too, with the method RUN."""

    run: Rehearsal
    writes: Sequence[Request]
    reads: Sequence[Request]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What the project's policy does not call a difference.

    `ignore`: JSONPaths in outputs and bodies; `unordered`: JSONPaths of lists whose order means nothing, and `$writes`
    for the order of requests; `number`: how far numbers may be apart, as a share of the larger.
    """

    ignore: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    number: float = 0.0

    def tidy(self, value: Any) -> Any:
        """`value` with what is ignored blanked out, and with unordered lists sorted."""
        if not (self.ignore or self.unordered) or not isinstance(value, (dict, list)):
            return value
        value = loads(dumps(value))
        for path in self.ignore:
            for parts in locate(path)(value):
                _put(value, parts, IGNORED)
        for path in self.unordered:
            for items in find(path)(value) if path != WRITES else ():
                if isinstance(items, list):
                    items.sort(key=lambda item: dumps(item, option=orjson.OPT_SORT_KEYS))
        return value


def _put(value: Any, parts: Sequence[int | str], new: Any) -> None:
    for part in parts[:-1]:
        value = value[part]
    if parts:
        value[parts[-1]] = new


WRITES = "$writes"


def differences(before: PlayedRun, after: PlayedRun, tolerance: Tolerance) -> list[Difference]:
    """The differences, the gravest kind first."""
    first, second = before.run, after.run
    found_differences: list[Difference] = []
    if first.status != second.status:
        found_differences.append(Difference("status", "status", first.status, second.status))
    found_differences += _trees("error", "$", _told(first.error), _told(second.error), tolerance)
    found_differences += _trees("outputs", "$", first.outputs, second.outputs, tolerance)
    found_differences += _writes(before.writes, after.writes, tolerance)
    found_differences += _reads(before.reads, after.reads)
    found_differences += _steps(first, second)
    return found_differences[:MAX_DIFFERENCES]


def noise(first: Iterable[Difference]) -> frozenset[tuple[str, str]]:
    """The places at which two rehearsals of the same flow differ: nothing there says anything about a change."""
    return frozenset((difference.kind, difference.place) for difference in first)


def _told(error: Mapping[str, Any] | None) -> Any:
    """What of an error is compared: messages hold times and ids, and follow from the rest."""
    return None if error is None else {name: error.get(name) for name in ("step", "code")}


# --- JSON data -----------------------------------------------------------------------------------------------------


def _trees(kind: DifferenceKind, path: str, before: Any, after: Any, tolerance: Tolerance) -> Iterator[Difference]:
    before, after = tolerance.tidy(before), tolerance.tidy(after)
    yield from _walk(kind, path, before, after, tolerance)


def _walk(kind: DifferenceKind, path: str, before: Any, after: Any, tolerance: Tolerance) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in [*before, *(key for key in after if key not in before)]:
            place = f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"
            yield from _walk(kind, place, before.get(key, NOTHING), after.get(key, NOTHING), tolerance)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (left, right) in enumerate(zip(before, after, strict=True)):
            yield from _walk(kind, f"{path}[{index}]", left, right, tolerance)
    elif not _alike(before, after, tolerance.number):
        yield Difference(kind, path, before, after)


def _alike(before: Any, after: Any, share: float) -> bool:
    if type(before) is bool or type(after) is bool:
        return before is after
    if isinstance(before, (int, float)) and isinstance(after, (int, float)):
        return before == after or _near(before, after, share)
    return bool(before == after)


def _near(before: float, after: float, share: float) -> bool:
    try:
        return abs(before - after) <= share * max(abs(before), abs(after))
    except OverflowError:  # a whole number beyond what a decimal can be: a share of it is none
        return False


# --- requests ------------------------------------------------------------------------------------------------------


def _line(request: Request) -> str:
    return f"{request.method} {request.url}"


def _writes(before: Sequence[Request], after: Sequence[Request], tolerance: Tolerance) -> Iterator[Difference]:
    """The n-th request to an address is held to the n-th before: what is left over is new, or gone."""
    pairs, gone, come = _paired(before, after)
    for request, other in pairs:
        place = f"{_line(request)} (step {request.step})"
        yield from _trees("write", f"{place} $", request.body, other.body, tolerance)
    yield from (
        Difference("write", f"{_line(request)} (step {request.step})", _shown(request), NOTHING) for request in gone
    )
    yield from (
        Difference("write", f"{_line(request)} (step {request.step})", NOTHING, _shown(request)) for request in come
    )
    lines = [_line(request) for request in before], [_line(request) for request in after]
    if not gone and not come and lines[0] != lines[1] and WRITES not in tolerance.unordered:
        yield Difference("write", "order of requests", lines[0], lines[1])


def _shown(request: Request) -> Any:
    return request.body if request.body is not None else "(no body)"


def _reads(before: Sequence[Request], after: Sequence[Request]) -> Iterator[Difference]:
    _, gone, come = _paired(before, after)
    yield from (Difference("read", f"{_line(request)} (step {request.step})", "sent", NOTHING) for request in gone)
    yield from (Difference("read", f"{_line(request)} (step {request.step})", NOTHING, "sent") for request in come)


def _paired(
    before: Sequence[Request], after: Sequence[Request]
) -> tuple[list[tuple[Request, Request]], list[Request], list[Request]]:
    """(pairs, only before, only after). The same body is paired first, so that one new request shifts no other."""
    left, come, pairs = list(before), [], []
    for other in after:
        alike = [candidate for candidate in left if _line(candidate) == _line(other)]
        if not alike:
            come.append(other)
            continue
        best = max(alike, key=lambda candidate: (candidate.step == other.step) * 2 + (candidate.body == other.body))
        left.remove(best)
        pairs.append((best, other))
    return pairs, left, come


# --- steps ---------------------------------------------------------------------------------------------------------


def _steps(before: Rehearsal, after: Rehearsal) -> Iterator[Difference]:
    names = [*before.steps, *(name for name in after.steps if name not in before.steps)]
    for name in names:
        old, new = before.steps.get(name), after.steps.get(name)
        states = tuple(record.status if record else NOTHING for record in (old, new))
        if states[0] != states[1]:
            yield Difference("step", name, *states)
        elif old and new and old.attempts != new.attempts:
            yield Difference("step", f"{name} attempts", old.attempts, new.attempts)


def check_tolerance(tolerance: Tolerance) -> None:
    """Raises Invalid for a path that is no JSONPath."""
    for path in (*tolerance.ignore, *tolerance.unordered):
        if path != WRITES:
            try:
                find(path)
            except Invalid as error:
                raise Invalid(f"checks.replay: {error.message}", code="bad_path", hint=error.hint) from error
