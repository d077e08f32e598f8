"""Which flows a flow calls by name, where it says so, and whether flows call each other in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from automata.flow.lexing import has_template
from automata.flow.steptypes import STEP_TYPES


def called_flows(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, JSON pointer) of each `flow` step; names that a template computes are known only when it runs."""
    calls = list(_calls(spec.get("steps"), "/steps"))
    failure = spec.get("on_failure")
    if isinstance(failure, dict):
        calls += _call(failure, "/on_failure")
    return calls


def _calls(steps: Any, pointer: str) -> Iterator[tuple[str, str]]:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict):
            yield from _call(step, f"{pointer}/{index}")


def _call(step: Mapping[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    config = step.get("config")
    row = STEP_TYPES.get(str(step.get("type")))
    key = None if row is None else row.flow_key
    name = config.get(key) if key and isinstance(config, dict) else None
    if isinstance(name, str) and not has_template(name):
        yield name, f"{pointer}/config/{key}"
    for index, branch in enumerate(step.get("branches") or ()):
        if isinstance(branch, dict):
            yield from _calls(branch.get("steps"), f"{pointer}/branches/{index}/steps")


def circles(calls: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Each circle once, as the flows on it in the order of calling, the first in the alphabet first."""
    by_members: dict[frozenset[str], list[str]] = {}
    done: set[str] = set()
    for start in sorted(calls):
        _search(start, calls, done, by_members)
    return list(by_members.values())


def _search(
    start: str, calls: Mapping[str, Sequence[str]], done: set[str], by_members: dict[frozenset[str], list[str]]
) -> None:
    """Depth first, with a stack of our own: a repository may chain thousands of flows."""
    path: list[str] = []
    stack: list[tuple[str, bool]] = [(start, True)]
    while stack:
        name, entering = stack.pop()
        if not entering:
            path.pop()
            done.add(name)
        elif name in path:
            circle = path[path.index(name) :]
            least = circle.index(min(circle))
            by_members.setdefault(frozenset(circle), circle[least:] + circle[:least])
        elif name not in done:
            path.append(name)
            stack.append((name, False))
            stack += [(other, True) for other in reversed(calls.get(name, ()))]
