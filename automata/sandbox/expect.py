"""Holds a rehearsal against what a case expects. Every difference is told, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automata.sandbox.matching import compile_request, shown, subset_misses
from automata.sandbox.mocks import Sent
from automata.sandbox.run import Rehearsal, StepRecord


@dataclass(frozen=True, slots=True)
class Difference:
    """`where` as in `steps.fetch.attempts`; a sentence says the rest. `step` names whose it is, when one's."""

    where: str
    message: str
    step: str | None = None


def differences(expect: Mapping[str, Any], run: Rehearsal, sent: Sequence[Sent]) -> list[Difference]:
    """All of them. A case that names no status expects SUCCEEDED, or FAILED when it expects an error."""
    return [
        *_status(expect, run),
        *_error(expect.get("error", {}), run),
        *(Difference("outputs", miss) for miss in _outputs(expect.get("outputs"), run.outputs)),
        *_steps(expect.get("steps", {}), run),
        *_requests(expect.get("requests", ()), sent),
        *_order(expect.get("order", ()), run),
        *_elapsed(expect.get("elapsed_sec", {}), run),
    ]


def _status(expect: Mapping[str, Any], run: Rehearsal) -> Iterator[Difference]:
    wanted = expect.get("status", "FAILED" if "error" in expect else "SUCCEEDED")
    if run.status != wanted:
        error = run.error or {}
        why = f": {error.get('step') or 'the run'}: {error.get('message')}" if error else ""
        yield Difference("status", f"expected {wanted}, the run {run.status}{why}", error.get("step"))


def _error(wanted: Mapping[str, Any], run: Rehearsal) -> Iterator[Difference]:
    error = run.error or {}
    for key in ("step", "code"):
        if key in wanted and not _names(error.get(key), wanted[key]):
            yield Difference(f"error.{key}", f"expected {shown(wanted[key])}, it is {shown(error.get(key))}")
    if "contains" in wanted and wanted["contains"] not in str(error.get("message", "")):
        yield Difference(
            "error.contains", f"{shown(wanted['contains'])} is not in the message {shown(error.get('message'))}"
        )


def _names(given: Any, wanted: str) -> bool:
    """Steps may be named by their short id."""
    return isinstance(given, str) and wanted in (given, given.rpartition(".")[2])


def _outputs(wanted: Mapping[str, Any] | None, outputs: Any) -> Iterator[str]:
    if wanted is not None:
        yield from subset_misses({} if outputs is None else outputs, wanted, "outputs")


def _steps(wanted: Mapping[str, Any], run: Rehearsal) -> Iterator[Difference]:
    for name, entry in wanted.items():
        record = find_step(name, run.steps)
        if record is None:
            yield Difference(f"steps.{name}", "there is no such step, or it was never decided", name)
            continue
        yield from _step(name, {"status": entry} if isinstance(entry, str) else entry, record)


def _step(name: str, wanted: Mapping[str, Any], record: StepRecord) -> Iterator[Difference]:
    where = f"steps.{name}"
    if wanted.get("status", record.status) != record.status:
        why = f" ({record.error['message']})" if record.error else ""
        yield Difference(f"{where}.status", f"expected {wanted['status']}, it is {record.status}{why}", name)
    if wanted.get("attempts", record.attempts) != record.attempts:
        yield Difference(f"{where}.attempts", f"expected {wanted['attempts']}, there were {record.attempts}", name)
    for miss in _outputs(wanted.get("outputs"), record.outputs):
        yield Difference(f"{where}.outputs", miss, name)
    error = wanted.get("error", {})
    message = str((record.error or {}).get("message", ""))
    if error.get("contains", "") not in message:
        yield Difference(f"{where}.error", f"{shown(error['contains'])} is not in the message {shown(message)}", name)
    code = (record.error or {}).get("code")
    if error.get("code", code) != code:
        yield Difference(f"{where}.error", f"expected the code {shown(error['code'])}, it is {shown(code)}", name)


def find_step(name: str, steps: Mapping[str, StepRecord]) -> StepRecord | None:
    """By full id, else by short id."""
    if name in steps:
        return steps[name]
    return next((record for step, record in steps.items() if step.rpartition(".")[2] == name), None)


def _requests(wanted: Sequence[Mapping[str, Any]], sent: Sequence[Sent]) -> Iterator[Difference]:
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
            yield Difference(f"requests[{index}]", f"there is no (further) request{whose}")
            continue
        nearest = min((rule(one.seen).misses for one in candidates), key=len)
        yield Difference(f"requests[{index}]", f"no request{whose} fits: {'; '.join(nearest)}")


def _order(wanted: Sequence[str], run: Rehearsal) -> Iterator[Difference]:
    short = {step.rpartition(".")[2]: step for step in run.order}
    places = []
    for name in wanted:
        step = name if name in run.order else short.get(name)
        if step is None:
            yield Difference("order", f"`{name}` never ran", name)
            return
        places.append(run.order.index(step))
    if places != sorted(places):
        yield Difference("order", f"expected {' → '.join(wanted)}, they ended as {' → '.join(_ended(wanted, run))}")


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


def _elapsed(wanted: Mapping[str, float], run: Rehearsal) -> Iterator[Difference]:
    for name, bound in wanted.items():
        holds, words = _BOUNDS[name]
        if not holds(run.elapsed_sec, bound):
            yield Difference("elapsed_sec", f"expected {words} {bound:g} s, it took {run.elapsed_sec:g} s")
