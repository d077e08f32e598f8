"""Where the order of keys is part of what a flow means: in all that may be sent, since signatures are over bytes.

Nobody reads more into `steps` before `inputs` than into `inputs` before `steps`. But `form: {zeta: 1, a: 2}` is another
request than `form: {a: 2, zeta: 1}`, and so are the outputs, defaults and variables that a body is made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from automata.flow.findings import child

_Placed = Iterator[tuple[str, Any]]


def key_orders(spec: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> dict[str, list[str]]:
    """JSON pointer -> keys, of each mapping whose order counts and is not the one in which PostgreSQL would keep it.

    That one (short keys first) is left out because versions were stored so once: a flow that is written in it has the
    content that it always had.
    """
    orders: dict[str, list[str]] = {}
    for pointer, value in _sent(spec):
        orders.update(_orders(pointer, value))
    for name, value in (variables or {}).items():
        orders.update(_orders(child("/vars", name), value))
    return orders


def _sent(spec: Mapping[str, Any]) -> _Placed:
    for name, declared in _members(spec.get("inputs")):
        if isinstance(declared, Mapping):
            yield child("/inputs", name) + "/default", declared.get("default")
    yield from _steps(spec.get("steps"), "/steps")
    yield from _step(spec.get("on_failure"), "/on_failure")
    yield "/outputs", spec.get("outputs")
    for key in ("schedules", "webhooks"):
        for index, item in enumerate(spec.get(key) or ()):
            if isinstance(item, Mapping):
                yield f"/{key}/{index}/inputs", item.get("inputs")


def _steps(steps: Any, pointer: str) -> _Placed:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        yield from _step(step, f"{pointer}/{index}")


def _step(step: Any, pointer: str) -> _Placed:
    if not isinstance(step, Mapping):
        return
    # The keys of a config are named one by one by the type of the step; what stands under them is data.
    for name, value in _members(step.get("config")):
        yield child(f"{pointer}/config", name), value
    yield f"{pointer}/outputs", step.get("outputs")
    yield f"{pointer}/foreach", step.get("foreach")
    for index, branch in enumerate(step.get("branches") or ()):
        if isinstance(branch, Mapping):
            yield from _steps(branch.get("steps"), f"{pointer}/branches/{index}/steps")


def _members(value: Any) -> _Placed:
    yield from value.items() if isinstance(value, Mapping) else ()


def _orders(pointer: str, value: Any) -> Iterator[tuple[str, list[str]]]:
    if isinstance(value, Mapping):
        keys = list(value)
        if keys != sorted(keys, key=_stored_order):
            yield pointer, keys
        for key, item in value.items():
            yield from _orders(child(pointer, key), item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _orders(f"{pointer}/{index}", item)


def _stored_order(key: str) -> tuple[int, bytes]:
    """How `jsonb` sorts keys."""
    data = key.encode("utf-8", "surrogatepass")
    return len(data), data
