"""Holds a rehearsal against what a case expects. Every difference is told, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automata.sandbox.matching import MISSING, compile_request, shown, subset_misses
from automata.sandbox.mocks import Sent
from automata.sandbox.rehearsal import Rehearsal, StepRecord


@dataclass(frozen=True, slots=True)
class Mismatch:
    """`where` as in `steps.fetch.attempts`; a sentence says the rest. `step` names whose it is, when one's.

    `expected` and `actual` are the values that were held against each other, whole; MISSING where there is none.
    """

    where: str
    message: str
    step: str | None = None
    expected: Any = MISSING
    actual: Any = MISSING


def mismatches(expect: Mapping[str, Any], run: Rehearsal, sent: Sequence[Sent]) -> list[Mismatch]:
    """All of them. A case that names no status expects SUCCEEDED, or FAILED when it expects an error."""
    return [
        *_status(expect, run),
        *_error(expect.get("error", {}), run),
        *_outputs("outputs", expect.get("outputs"), run.outputs, None),
        *_steps(expect.get("steps", {}), run),
        *_requests(expect.get("requests", ()), sent),
        *_order(expect.get("order", ()), run),
        *_elapsed(expect.get("elapsed_sec", {}), run),
    ]


def _status(expect: Mapping[str, Any], run: Rehearsal) -> Iterator[Mismatch]:
    expected = expect.get("status", "FAILED" if "error" in expect else "SUCCEEDED")
    if run.status != expected:
        error = run.error or {}
        why = f": {error.get('step') or 'the run'}: {error.get('message')}" if error else ""
        text = f"expected {expected}, the run {run.status}{why}"
        yield Mismatch("status", text, error.get("step"), expected, run.status)


def _error(expected: Mapping[str, Any], run: Rehearsal) -> Iterator[Mismatch]:
    error = run.error or {}
    for key in ("step", "code"):
        if key in expected and not _names(error.get(key), expected[key]):
            text = f"expected {shown(expected[key])}, it is {shown(error.get(key))}"
            yield Mismatch(f"error.{key}", text, error.get("step"), expected[key], error.get(key, MISSING))
    message = str(error.get("message", ""))
    if "contains" in expected and expected["contains"] not in message:
        text = f"{shown(expected['contains'])} is not in the message {shown(error.get('message'))}"
        yield Mismatch("error.contains", text, error.get("step"), expected["contains"], message)


def _names(code_or_name: Any, expected: str) -> bool:
    """Steps may be named by their short id."""
    return isinstance(code_or_name, str) and expected in (code_or_name, code_or_name.rpartition(".")[2])


def _outputs(where: str, expected: Mapping[str, Any] | None, outputs: Any, step: str | None) -> Iterator[Mismatch]:
    if expected is not None:
        for miss in subset_misses({} if outputs is None else outputs, expected, "outputs"):
            yield Mismatch(where, miss, step, expected, outputs)


def _steps(expected: Mapping[str, Any], run: Rehearsal) -> Iterator[Mismatch]:
    for name, entry in expected.items():
        record = find_step(name, run.steps)
        if record is None:
            yield Mismatch(f"steps.{name}", "there is no such step, or it was never decided", name, entry)
            continue
        yield from _step(name, {"status": entry} if isinstance(entry, str) else entry, record)


def _step(name: str, expected: Mapping[str, Any], record: StepRecord) -> Iterator[Mismatch]:
    where = f"steps.{name}"
    status, attempts = expected.get("status", record.status), expected.get("attempts", record.attempts)
    if status != record.status:
        why = f" ({record.error['message']})" if record.error else ""
        text = f"expected {status}, it is {record.status}{why}"
        yield Mismatch(f"{where}.status", text, name, status, record.status)
    if attempts != record.attempts:
        text = f"expected {attempts}, there were {record.attempts}"
        yield Mismatch(f"{where}.attempts", text, name, attempts, record.attempts)
    yield from _outputs(f"{where}.outputs", expected.get("outputs"), record.outputs, name)
    error, actual = expected.get("error", {}), record.error or {}
    message = str(actual.get("message", ""))
    if error.get("contains", "") not in message:
        text = f"{shown(error['contains'])} is not in the message {shown(message)}"
        yield Mismatch(f"{where}.error", text, name, error["contains"], message)
    code = actual.get("code")
    if error.get("code", code) != code:
        text = f"expected the code {shown(error['code'])}, it is {shown(code)}"
        yield Mismatch(f"{where}.error", text, name, error["code"], code)


def find_step(name: str, steps: Mapping[str, StepRecord]) -> StepRecord | None:
    """By full id, else by short id."""
    if name in steps:
        return steps[name]
    return next((record for step, record in steps.items() if step.rpartition(".")[2] == name), None)


def _requests(expected: Sequence[Mapping[str, Any]], sent: Sequence[Sent]) -> Iterator[Mismatch]:
    """Each entry takes the first request that fits and was not taken: an entry twice wants two requests."""
    left = list(sent)
    for index, entry in enumerate(expected):
        rule = compile_request(entry)
        candidates = [request for request in left if entry.get("mock", request.mock) == request.mock]
        fitting = next((request for request in candidates if not rule(request.seen).misses), None)
        if fitting:
            left.remove(fitting)
            continue
        whose = f" of the mock `{entry['mock']}`" if "mock" in entry else ""
        if not candidates:
            yield Mismatch(f"requests[{index}]", f"there is no (further) request{whose}", None, entry)
            continue
        nearest = min(candidates, key=lambda request: len(rule(request.seen).misses))
        text = f"no request{whose} fits: {'; '.join(rule(nearest.seen).misses)}"
        yield Mismatch(f"requests[{index}]", text, nearest.seen.step, entry, _shape(nearest))


def _shape(request: Sent) -> dict[str, Any]:
    """A request in the words in which a case expects one."""
    shape = {"method": request.seen.method, "url": str(request.seen.url)}
    if request.seen.json is not MISSING:
        return {**shape, "json": request.seen.json}
    return {**shape, "body": request.seen.text} if request.seen.text else shape


def _order(expected: Sequence[str], run: Rehearsal) -> Iterator[Mismatch]:
    short = {step.rpartition(".")[2]: step for step in run.order}
    places = []
    for name in expected:
        step = name if name in run.order else short.get(name)
        if step is None:
            yield Mismatch("order", f"`{name}` never ran", name, list(expected), _ended(expected, run))
            return
        places.append(run.order.index(step))
    if places != sorted(places):
        ended = _ended(expected, run)
        text = f"expected {' → '.join(expected)}, they ended as {' → '.join(ended)}"
        yield Mismatch("order", text, None, list(expected), ended)


def _ended(expected: Sequence[str], run: Rehearsal) -> list[str]:
    names = set(expected)
    return [step for step in run.order if step in names or step.rpartition(".")[2] in names]


_BOUNDS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "lt": (lambda value, bound: value < bound, "less than"),
    "lte": (lambda value, bound: value <= bound, "at most"),
    "gt": (lambda value, bound: value > bound, "more than"),
    "gte": (lambda value, bound: value >= bound, "at least"),
    "equals": (lambda value, bound: value == bound, "exactly"),
}


def _elapsed(expected: Mapping[str, float], run: Rehearsal) -> Iterator[Mismatch]:
    for name, bound in expected.items():
        holds, words = _BOUNDS[name]
        if not holds(run.elapsed_sec, bound):
            text = f"expected {words} {bound:g} s, it took {run.elapsed_sec:g} s"
            yield Mismatch("elapsed_sec", text, None, f"{words} {bound:g}", run.elapsed_sec)
