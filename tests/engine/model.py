"""A naive model of a run, written from the language alone: one table of statuses, rules tried until none applies.

It knows nothing of plans, boards or incremental bookkeeping; every question is answered by looking at everything.
Flows come as `Node`s, whose templates are tuples that the model evaluates itself and `spec_of` writes as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

RUN = "(run)"
FINAL = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELLED")
ACTIVE = ("QUEUED", "RUNNING", "TIMER")

# What a template may say: ("const", x), ("status", step), ("output", step), ("output_or", step, x), ("broken",)
Expr = tuple[Any, ...]


class TemplateFails(Exception):
    """Reading what is not there."""


@dataclass
class Node:
    """`id` is the full one. `kind`: work, timer, instant or group. `deps`: full ids, the sibling in front included."""

    id: str
    kind: str
    parent: str | None = None
    deps: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    keeps_going: bool = False
    condition: Expr | None = None
    mappings: dict[str, Expr] = field(default_factory=dict)


@dataclass
class Model:
    """`order` of `nodes` is the order of the file. `handler` is the id of `on_failure`."""

    nodes: dict[str, Node]
    handler: str | None
    outputs: dict[str, Expr] | None
    status: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    result: tuple[str, Any] | None = None
    outputs_failed: bool = False

    # --- events ----------------------------------------------------------------------------------------------------

    def end(self, name: str, value: Any = None, failed: bool = False) -> None:
        """A worker handed in the last attempt of a step, or a timer rang."""
        self.status[name] = "FAILED" if failed else "SUCCEEDED"
        self.values[name] = value

    def cancel(self) -> None:
        begun = self.handler and any(name in self.status for name in self._within(self.handler))
        for name in self.nodes:
            unused = self.handler in self._up(name) and not begun
            if not unused and self.status.get(name) not in FINAL:
                self.status[name] = "CANCELLED"
        self.result = ("CANCELLED", None)

    def settle(self) -> None:
        """Until nothing moves: what may begin begins, what is over ends, what fails is cleared."""
        fresh: set[str] = set()
        while self._round(fresh) or self._clear(fresh) or self._fail_by_outputs():
            pass
        self._finish()

    # --- rules -----------------------------------------------------------------------------------------------------

    def _round(self, fresh: set[str]) -> bool:
        """Everything that may happen as things stand now happens at once."""
        failing = self.failing()
        over = [name for name in self.nodes if self._is_over(name)]
        ready = [name for name in self.nodes if self._may_begin(name) and not failing & set(self._scopes(name))]
        for name in over:
            self._end_group(name)
        for name in ready:
            self._begin(name, fresh)
        return bool(over or ready)

    def _may_begin(self, name: str) -> bool:
        node = self.nodes[name]
        if name in self.status:
            return False
        if name == self.handler:
            return False
        if node.parent and self.status.get(node.parent) != "RUNNING":
            return False
        return all(self._satisfied(dep, name) for dep in node.deps)

    def _satisfied(self, dep: str, reader: str) -> bool:
        status, node = self.status.get(dep), self.nodes[dep]
        if status in ("SUCCEEDED", "SKIPPED"):
            return True
        if status not in FINAL:
            return False
        if status == "FAILED" and node.keeps_going:
            return True
        # Its group contains it, if the reader stands outside and the group itself is satisfied.
        return bool(node.parent and node.parent not in self._up(reader) and self._satisfied(node.parent, reader))

    def _begin(self, name: str, fresh: set[str]) -> None:
        node = self.nodes[name]
        try:
            if node.condition is not None and not self._read(node.condition):
                for one in self._within(name):
                    self.status[one] = "SKIPPED"
                return
            if node.kind == "instant":
                self.values[name] = {key: self._read(expr) for key, expr in node.mappings.items()}
                self.status[name] = "SUCCEEDED"
                return
        except TemplateFails:
            for one in self._within(name):
                self.status[one] = "CANCELLED"
            self.status[name] = "FAILED"
            return
        self.status[name] = {"work": "QUEUED", "timer": "TIMER", "group": "RUNNING"}[node.kind]
        fresh.add(name)

    def _is_over(self, name: str) -> bool:
        node = self.nodes[name]
        running = node.kind == "group" and self.status.get(name) == "RUNNING"
        return running and all(self.status.get(child) in FINAL for child in node.children)

    def _end_group(self, name: str) -> None:
        children = [self.nodes[child] for child in self.nodes[name].children]
        if any(self.status[one.id] == "FAILED" and not one.keeps_going for one in children):
            self.status[name] = "FAILED"
        elif any(self.status[one.id] == "CANCELLED" for one in children):
            self.status[name] = "CANCELLED"
        else:
            self.status[name] = "SUCCEEDED"

    def failing(self) -> set[str]:
        """Scopes that a failure inside of them has reached."""
        found = {RUN} if self.outputs_failed else set()
        for name, status in self.status.items():
            node: Node | None = self.nodes[name]
            if status != "FAILED":
                continue
            while node and not node.keeps_going and node.id != self.handler:
                found.add(node.parent or RUN)
                node = self.nodes[node.parent] if node.parent else None
        return found

    def _clear(self, fresh: set[str]) -> bool:
        failing = self.failing()
        if not failing:
            return False
        for name in list(fresh):  # it was never more than an intention
            if self.nodes[name].kind != "group" and failing & set(self._scopes(name)):
                del self.status[name]
        fresh.clear()
        waiting = [name for name, status in self.status.items() if status in ("QUEUED", "TIMER")]
        taken_back = [name for name in waiting if failing & set(self._scopes(name))]
        for name in taken_back:
            self.status[name] = "CANCELLED"
        if taken_back:  # a group may be over by that
            return True
        busy = {
            scope
            for name, status in self.status.items()
            if status in ACTIVE and self.nodes[name].kind != "group"
            for scope in self._scopes(name)
        }
        return self._close(failing, busy)

    def _close(self, failing: set[str], busy: set[str]) -> bool:
        moved = False
        if RUN in failing and RUN not in busy:
            for name, node in self.nodes.items():
                if node.parent is None and name != self.handler:
                    moved |= self._close_step(name, failing)
            if self.handler and self.handler not in self.status:
                self._begin(self.handler, set())
                return True
            return moved
        for name in self.nodes:
            if name in failing and name not in busy and self.status.get(name) == "RUNNING":
                moved |= self._close_step(name, failing)
        return moved

    def _close_step(self, name: str, failing: set[str]) -> bool:
        if self.status.get(name) in FINAL:
            return False
        for child in self.nodes[name].children:
            self._close_step(child, failing)
        lost = any(
            self.status.get(child) == "FAILED" and not self.nodes[child].keeps_going
            for child in self.nodes[name].children
        )
        self.status[name] = "FAILED" if lost else "CANCELLED"
        return True

    def _fail_by_outputs(self) -> bool:
        """Outputs that cannot be made fail the run as a step would, once every step is over."""
        if RUN in self.failing() or not self._all_over():
            return False
        try:
            self._outputs()
        except TemplateFails:
            self.outputs_failed = True
        return self.outputs_failed

    def _all_over(self) -> bool:
        return all(self.status.get(name) in FINAL for name in self.nodes if self.handler not in self._up(name))

    def _outputs(self) -> dict[str, Any] | None:
        return self.outputs and {key: self._read(expr) for key, expr in self.outputs.items()}

    def _finish(self) -> None:
        if RUN in self.failing():
            handled = self.handler is None or self.status.get(self.handler) in FINAL
            if handled and not any(self.active()):
                self.result = ("FAILED", None)
        elif self._all_over():
            self.result = ("SUCCEEDED", self._outputs())

    # --- looking ---------------------------------------------------------------------------------------------------

    def active(self) -> Iterator[str]:
        for name, status in self.status.items():
            if status in ACTIVE and self.nodes[name].kind != "group":
                yield name

    def _up(self, name: str) -> list[str]:
        """The step and the groups around it."""
        found: list[str] = [name]
        while parent := self.nodes[found[-1]].parent:
            found.append(parent)
        return found

    def _scopes(self, name: str) -> list[str]:
        up = self._up(name)
        return up[1:] if up[-1] == self.handler else [*up[1:], RUN]

    def _within(self, name: str) -> list[str]:
        """The step and everything inside of it."""
        return [one for one in self.nodes if name in self._up(one)]

    def _read(self, expr: Expr) -> Any:
        match expr:
            case ("const", value):
                return value
            case ("status", step):
                if self.status.get(step) not in FINAL:
                    raise TemplateFails
                return self.status[step]
            case ("is", step, status):
                return self._read(("status", step)) == status
            case ("output", step):
                if self.status.get(step) != "SUCCEEDED":
                    raise TemplateFails
                return self.values[step]["n"]
            case ("output_or", step, value):
                return self.values[step]["n"] if self.status.get(step) == "SUCCEEDED" else value
        raise TemplateFails


def text_of(expr: Expr) -> Any:
    """The same in the template language."""
    match expr:
        case ("const", value):
            return value
        case ("status", step):
            return f"{{{{ steps['{step}'].status }}}}"
        case ("is", step, status):
            return f"{{{{ steps['{step}'].status == '{status}' }}}}"
        case ("output", step):
            return f"{{{{ steps['{step}'].outputs.n }}}}"
        case ("output_or", step, value):
            return f"{{{{ steps['{step}'].outputs.n | default({value}) }}}}"
    return "{{ inputs.nothing }}"
