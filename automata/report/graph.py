"""A changed flow as a graph: its steps, what they wait for, and which of them are new, changed or gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.flow.changes import walk
from automata.flow.compile import compile_flow
from automata.flow.model import Flow

MAX_NODES = 60  # of a picture that anybody can read

Spec = Mapping[str, Any]


def graph(before: Spec | None, after: Spec | None) -> dict[str, Any]:
    """`{nodes: [{id, type, state}], edges: [[from, to]]}`; `state` is same, new, changed or gone."""
    old, new = _steps(before), _steps(after)
    shown = after or before
    edges = _edges(shown) if shown else []
    nodes = [
        {"id": name, "type": (new.get(name) or old[name])["type"], "state": _state(old.get(name), new.get(name))}
        for name in [*new, *(name for name in old if name not in new)]
    ]
    return {"nodes": nodes, "edges": [[source, target] for source, target in edges]}


def mermaid(picture: Mapping[str, Any]) -> str:
    """Text of a Mermaid flowchart, "" for a graph that is too large to read."""
    nodes = picture["nodes"]
    if not nodes or len(nodes) > MAX_NODES:
        return ""
    number = {node["id"]: f"n{index}" for index, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    lines += [f'  {number[node["id"]]}["{node["id"]}<br/>{node["type"]}"]:::{node["state"]}' for node in nodes]
    lines += [f"  {number[source]} --> {number[target]}" for source, target in picture["edges"]]
    lines += [f"  classDef {state} {style}" for state, style in _STYLES.items()]
    return "\n".join(lines)


_STYLES = {
    "same": "fill:#f6f8fa,stroke:#8c959f,color:#24292f",
    "new": "fill:#dafbe1,stroke:#1a7f37,color:#24292f",
    "changed": "fill:#fff8c5,stroke:#9a6700,color:#24292f",
    "gone": "fill:#ffebe9,stroke:#cf222e,color:#24292f,stroke-dasharray:4",
}


def _steps(spec: Spec | None) -> dict[str, Spec]:
    return dict(walk(spec)) if spec else {}


def _state(old: Spec | None, new: Spec | None) -> str:
    if old is None:
        return "new"
    if new is None:
        return "gone"
    return "same" if _own(old) == _own(new) else "changed"


def _own(step: Spec) -> dict[str, Any]:
    """A step without what is in its branches: those are nodes of their own."""
    return {name: value for name, value in step.items() if name != "branches"}


def _edges(spec: Spec) -> list[tuple[str, str]]:
    plan = compile_flow(Flow.from_spec(spec))
    edges = [(before, name) for name, step in plan.steps.items() for before in step.deps]
    edges += [(step.parent, name) for name, step in plan.steps.items() if step.parent and not step.deps]
    return edges
