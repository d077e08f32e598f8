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
    wanted = expect.get("status", "FAILED" if "error" in expect else "SUCCEEDED")
    if run.status != wanted:
        error = run.error or {}
        why = f": {error.get('step') or 'the run'}: {error.get('message')}" if error else ""
        told = f"expected {wanted}, the run {run.status}{why}"
        yield Mismatch("status", told, error.get("step"), wanted, run.status)


def _error(wanted: Mapping[str, Any], run: Rehearsal) -> Iterator[Mismatch]:
    error = run.error or {}
    for key in ("step", "code"):
        if key in wanted and not _names(error.get(key), wanted[key]):
            told = f"expected {shown(wanted[key])}, it is {shown(error.get(key))}"
            yield Mismatch(f"error.{key}", told, error.get("step"), wanted[key], error.get(key, MISSING))
    message = str(error.get("message", ""))
    if "contains" in wanted and wanted["contains"] not in message:
        told = f"{shown(wanted['contains'])} is not in the message {shown(error.get('message'))}"
        yield Mismatch("error.contains", told, error.get("step"), wanted["contains"], message)


def _names(given: Any, wanted: str) -> bool:
    """Steps may be named by their short id."""
    return isinstance(given, str) and wanted in (given, given.rpartition(".")[2])


def _outputs(where: str, wanted: Mapping[str, Any] | None, outputs: Any, step: str | None) -> Iterator[Mismatch]:
    if wanted is not None:
        for miss in subset_misses({} if outputs is None else outputs, wanted, "outputs"):
            yield Mismatch(where, miss, step, wanted, outputs)


def _steps(wanted: Mapping[str, Any], run: Rehearsal) -> Iterator[Mismatch]:
    for name, entry in wanted.items():
        record = find_step(name, run.steps)
        if record is None:
            yield Mismatch(f"steps.{name}", "there is no such step, or it was never decided", name, entry)
            continue
        yield from _step(name, {"status": entry} if isinstance(entry, str) else entry, record)


def _step(name: str, wanted: Mapping[str, Any], record: StepRecord) -> Iterator[Mismatch]:
    where = f"steps.{name}"
    status, attempts = wanted.get("status", record.status), wanted.get("attempts", record.attempts)
    if status != record.status:
        why = f" ({record.error['message']})" if record.error else ""
        told = f"expected {status}, it is {record.status}{why}"
        yield Mismatch(f"{where}.status", told, name, status, record.status)
    if attempts != record.attempts:
        told = f"expected {attempts}, there were {record.attempts}"
        yield Mismatch(f"{where}.attempts", told, name, attempts, record.attempts)
    yield from _outputs(f"{where}.outputs", wanted.get("outputs"), record.outputs, name)
    error, found = wanted.get("error", {}), record.error or {}
    message = str(found.get("message", ""))
    if error.get("contains", "") not in message:
        told = f"{shown(error['contains'])} is not in the message {shown(message)}"
        yield Mismatch(f"{where}.error", told, name, error["contains"], message)
    code = found.get("code")
    if error.get("code", code) != code:
        told = f"expected the code {shown(error['code'])}, it is {shown(code)}"
        yield Mismatch(f"{where}.error", told, name, error["code"], code)


def find_step(name: str, steps: Mapping[str, StepRecord]) -> StepRecord | None:
    """By full id, else by short id."""
    if name in steps:
        return steps[name]
    return next((record for step, record in steps.items() if step.rpartition(".")[2] == name), None)


def _requests(wanted: Sequence[Mapping[str, Any]], sent: Sequence[Sent]) -> Iterator[Mismatch]:
    """Each entry takes the first request that fits and was not taken: an entry twice wants two requests."""
    left = list(sent)
    for index, entry in enumerate(wanted):
        rule = compile_request(entry)
        candidates = [one for one in left if entry.get("mock", one.mock) == one.mock]
        fitting = next((one for one in candidates if not rule(one.seen).misses), None)
        if fitting:
            left.remove(fitting)
            continue
        whose = f" of the mock `{entry['mock']}`" if "mock" in entry else ""
        if not candidates:
            yield Mismatch(f"requests[{index}]", f"there is no (further) request{whose}", None, entry)
            continue
        nearest = min(candidates, key=lambda one: len(rule(one.seen).misses))
        told = f"no request{whose} fits: {'; '.join(rule(nearest.seen).misses)}"
        yield Mismatch(f"requests[{index}]", told, nearest.seen.step, entry, _shape(nearest))


def _shape(one: Sent) -> dict[str, Any]:
    """A request in the words in which a case expects one."""
    said = {"method": one.seen.method, "url": str(one.seen.url)}
    if one.seen.json is not MISSING:
        return {**said, "json": one.seen.json}
    return {**said, "body": one.seen.text} if one.seen.text else said


def _order(wanted: Sequence[str], run: Rehearsal) -> Iterator[Mismatch]:
    short = {step.rpartition(".")[2]: step for step in run.order}
    places = []
    for name in wanted:
        step = name if name in run.order else short.get(name)
        if step is None:
            yield Mismatch("order", f"`{name}` never ran", name, list(wanted), _ended(wanted, run))
            return
        places.append(run.order.index(step))
    if places != sorted(places):
        ended = _ended(wanted, run)
        told = f"expected {' → '.join(wanted)}, they ended as {' → '.join(ended)}"
        yield Mismatch("order", told, None, list(wanted), ended)


def _ended(wanted: Sequence[str], run: Rehearsal) -> list[str]:
    names = set(wanted)
    return [step for step in run.order if step in names or step.rpartition(".")[2] in names]


_BOUNDS: Mapping[str, tuple[Callable[[float, float], bool], str]] = {
    "lt": (lambda value, bound: value < bound, "less than"),
    "lte": (lambda value, bound: value <= bound, "at most"),
    "gt": (lambda value, bound: value > bound, "more than"),
    "gte": (lambda value, bound: value >= bound, "at least"),
    "equals": (lambda value, bound: value == bound, "exactly"),
}


def _elapsed(wanted: Mapping[str, float], run: Rehearsal) -> Iterator[Mismatch]:
    for name, bound in wanted.items():
        holds, words = _BOUNDS[name]
        if not holds(run.elapsed_sec, bound):
            told = f"expected {words} {bound:g} s, it took {run.elapsed_sec:g} s"
            yield Mismatch("elapsed_sec", told, None, f"{words} {bound:g}", run.elapsed_sec)
