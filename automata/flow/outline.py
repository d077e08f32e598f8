"""A flow's steps as a flat list that survives broken files: who is inside whom, who waits for whom, what is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automata.flow.findings import child
from automata.flow.steptypes import STEP_TYPES


@dataclass(slots=True)
class Node:
    """One step as written. Its descendants are the nodes from `index + 1` to `end` (exclusive)."""

    index: int
    short: str
    full: str
    spec: Mapping[str, Any]
    pointer: str
    parent: int | None = None
    previous: int | None = None
    end: int = 0
    failure: bool = False
    depends_on: list[tuple[str, str]] = field(default_factory=list)
    waits: list[tuple[int, str]] = field(default_factory=list)
    branches: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The type as written; "" when it is no text."""
        kind = self.spec.get("type")
        return kind if isinstance(kind, str) else ""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Steps that wait for each other, the first one again at the end; `pointer` is a `depends_on` that closes it."""

    path: tuple[str, ...]
    pointer: str


class Outline:
    """`nodes` in file order, parents first, `on_failure` last; parts that are no steps are left out."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self.nodes: list[Node] = []
        self.names: dict[str, int] = {}
        self._add_steps(spec.get("steps"), "/steps", "", None)
        self.first_failure = len(self.nodes)
        if isinstance(step := spec.get("on_failure"), dict):
            self._add(step, "/on_failure", "", None, failure=True)
        self._resolve()

    def find(self, name: str) -> Node | None:
        """By short or full id."""
        index = self.names.get(name)
        return None if index is None else self.nodes[index]

    def outputs(self, node: Node) -> Sequence[str] | None:
        """The names that a step's outputs have; None when nothing is known about them."""
        declared = node.spec.get("outputs")
        if declared is not None:
            return list(declared) if isinstance(declared, dict) else None
        row = STEP_TYPES.get(node.type)
        if row is None:
            return None
        if row.kind == "group":
            return list(node.branches)
        if row.outputs_key is None:
            return row.outputs
        config = node.spec.get("config")
        values = config.get(row.outputs_key) if isinstance(config, dict) else None
        return list(values) if isinstance(values, dict) else None

    def _add_steps(self, steps: Any, pointer: str, prefix: str, parent: int | None) -> dict[str, int]:
        members: dict[str, int] = {}
        previous = None
        for position, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                node = self._add(step, child(pointer, position), prefix, parent)
                node.previous = previous if parent is not None else None
                previous = node.index
                members.setdefault(node.short, node.index)
        return members

    def _add(
        self, step: Mapping[str, Any], pointer: str, prefix: str, parent: int | None, *, failure: bool = False
    ) -> Node:
        short = step.get("id")
        short = short if isinstance(short, str) else ""
        failure = failure or (parent is not None and self.nodes[parent].failure)
        node = Node(len(self.nodes), short, prefix + short, step, pointer, parent, failure=failure)
        self.nodes.append(node)
        if short:
            self.names.setdefault(short, node.index)
        self._add_branches(node)
        node.end = len(self.nodes)
        return node

    def _add_branches(self, node: Node) -> None:
        branches = node.spec.get("branches")
        for position, branch in enumerate(branches if isinstance(branches, list) else ()):
            if isinstance(branch, dict):
                name = branch.get("id") if isinstance(branch.get("id"), str) else ""
                pointer = f"{node.pointer}/branches/{position}/steps"
                members = self._add_steps(branch.get("steps"), pointer, f"{node.full}.{name}.", node.index)
                node.branches.setdefault(str(name), members)

    def _resolve(self) -> None:
        for node in self.nodes:
            self.names.setdefault(node.full, node.index)
        for node in self.nodes:
            depends_on = node.spec.get("depends_on")
            for position, name in enumerate(depends_on if isinstance(depends_on, list) else ()):
                if isinstance(name, str):
                    pointer = f"{node.pointer}/depends_on/{position}"
                    node.depends_on.append((name, pointer))
                    target = self.names.get(name)
                    if target is not None and target != node.index:
                        node.waits.append((target, pointer))


class Order:
    """Which steps are upstream of which, and the cycles that make it impossible.

    A step has two moments, its start (2·index) and its end (2·index + 1): a nested step starts after its parent has
    started, and the parent ends after all of its nested steps have.
    """

    def __init__(self, outline: Outline) -> None:
        self.nodes = outline.nodes
        self.after: list[list[int]] = [[] for _ in range(2 * len(self.nodes))]
        for node in self.nodes:
            self._wire(node)
        self.upstream = [0] * len(self.after)
        self.unordered = self._sort(set(range(len(self.after))))

    def is_upstream(self, node: Node, of: Node) -> bool:
        """Whether `node` is over before `of` starts. Inside a cycle nobody can tell, and the answer is yes."""
        start = 2 * of.index
        return start in self.unordered or bool(self.upstream[start] >> node.index & 1)

    def cycles(self) -> Iterator[Cycle]:
        """Every step that is in a cycle is in one of these."""
        left = set(self.unordered)
        while left:
            moments = self._shortest(self._inside(left), left)
            yield self._cycle(moments)
            left -= set(moments)
            left = self._sort(left, spread=False)

    def _wire(self, node: Node) -> None:
        start, end = 2 * node.index, 2 * node.index + 1
        self.after[end].append(start)
        if node.parent is not None:
            self.after[start].append(2 * node.parent)
            self.after[2 * node.parent + 1].append(end)
        if node.previous is not None:
            self.after[start].append(2 * node.previous + 1)
        self.after[start].extend(2 * target + 1 for target, _ in node.waits)

    def _sort(self, moments: set[int], *, spread: bool = True) -> set[int]:
        """Take away what waits for nothing among `moments`, again and again; what stays is in or behind a cycle."""
        waiting = {moment: sum(before in moments for before in self.after[moment]) for moment in moments}
        followers: dict[int, list[int]] = {moment: [] for moment in moments}
        for moment in moments:
            for before in self.after[moment]:
                if before in followers:
                    followers[before].append(moment)
        ready = deque(moment for moment, count in waiting.items() if not count)
        while ready:
            moment = ready.popleft()
            del waiting[moment]
            if spread:
                self._spread(moment)
            for follower in followers[moment]:
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.append(follower)
        return set(waiting)

    def _spread(self, moment: int) -> None:
        mask = 1 << (moment >> 1) if moment & 1 else 0
        for before in self.after[moment]:
            mask |= self.upstream[before]
        self.upstream[moment] = mask

    def _inside(self, left: set[int]) -> int:
        """A moment on a cycle: going back among `left` never ends, so it comes round."""
        moment, seen = min(left), set()
        while moment not in seen:
            seen.add(moment)
            moment = next(before for before in self.after[moment] if before in left)
        return moment

    def _shortest(self, start: int, left: set[int]) -> list[int]:
        came: dict[int, int] = {}
        queue = deque([start])
        while start not in came:
            moment = queue.popleft()
            for before in self.after[moment]:
                if before in left and before not in came:
                    came[before] = moment
                    queue.append(before)
        path = [start]
        while (previous := came[path[-1]]) != start:
            path.append(previous)
        return [start, *reversed(path[1:])]

    def _cycle(self, moments: list[int]) -> Cycle:
        steps = [moment >> 1 for moment in moments]
        steps = [step for position, step in enumerate(steps) if step != steps[position - 1]] or steps[:1]
        lowest = steps.index(min(steps))
        steps = [*steps[lowest:], *steps[:lowest]]
        edges = set(zip(steps, [*steps[1:], steps[0]], strict=True))
        pointers = [pointer for step in steps for target, pointer in self.nodes[step].waits if (step, target) in edges]
        path = [self.nodes[step].short or "?" for step in [*steps, steps[0]]]
        return Cycle(tuple(path), pointers[0] if pointers else self.nodes[steps[0]].pointer)
