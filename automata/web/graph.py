"""A flow as the graph that graph.js lays out: steps, what each waits for, and groups around branches and items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from automata.flow.compile import compile_flow
from automata.flow.model import Flow

MAX_NODES = 300  # laid out in well under a second; the list of steps shows every one
_BRANCHES = "\0"  # no step's id has one: keeps a group's id apart from the id of its step


def picture(spec: Mapping[str, Any], states: Mapping[str, str] | None = None, link: str = "") -> dict[str, Any] | None:
    """`{nodes, groups, edges}`, or None where there are too many to read. `link` is put before a step's anchor."""
    flow = Flow.from_spec(spec)
    plan = compile_flow(flow)
    if len(plan.steps) > MAX_NODES:
        return None
    states = states or {}
    steps = dict(flow.walk())
    groups = _groups(flow)
    nodes = [
        {
            "id": full,
            "label": step.name or step.id,
            "type": f"{step.type}, each item" if step.foreach is not None else step.type,
            "parent": _around(full, groups),
            "state": states.get(full, "none"),
            "href": f"{link}#step-{quote(full)}",
        }
        for full, step in steps.items()
    ]
    edges = [[before, full] for full, step in plan.steps.items() for before in step.deps if before in steps]
    edges += [[step.parent, full] for full, step in plan.steps.items() if step.parent in steps and not step.deps]
    return {"nodes": nodes, "groups": list(groups.values()), "edges": _unique(edges)}


def compared_picture(compared: Mapping[str, Any]) -> dict[str, Any] | None:
    """The same of a graph that says what is new, changed and gone (automata.report.graph); such steps lead nowhere."""
    nodes = compared["nodes"]
    if len(nodes) > MAX_NODES:
        return None
    groups: dict[str, dict[str, Any]] = {}
    for node in nodes:
        parts = node["id"].split(".")
        for end in range(2, len(parts), 2):  # a step, a branch of it, a step in that, ...
            prefix, around = ".".join(parts[:end]) + ".", ".".join(parts[: end - 2]) + "."
            groups[prefix] = {
                "id": _BRANCHES + prefix,
                "label": parts[end - 1],
                "parent": _BRANCHES + around if end > 2 else None,
            }
    shown = [
        {
            "id": node["id"],
            "label": node["id"].rpartition(".")[2],
            "type": node["type"],
            "parent": _around(node["id"], groups),
            "state": "none" if node["state"] == "same" else node["state"],
            "href": "",
        }
        for node in nodes
    ]
    return {"nodes": shown, "groups": list(groups.values()), "edges": _unique(compared["edges"])}


def _groups(flow: Flow) -> dict[str, dict[str, Any]]:
    """Prefix of full ids -> the group of a branch."""
    groups: dict[str, dict[str, Any]] = {}
    for full, step in flow.walk():
        for branch in step.branches:
            prefix = f"{full}.{branch.id}."
            groups[prefix] = {"id": _BRANCHES + prefix, "label": branch.id, "parent": _around(full, groups)}
    return groups


def _around(full: str, groups: Mapping[str, Mapping[str, Any]]) -> str | None:
    inside = [prefix for prefix in groups if full.startswith(prefix)]
    return str(groups[max(inside, key=len)]["id"]) if inside else None


def _unique(edges: list[list[str]]) -> list[list[str]]:
    return [list(edge) for edge in dict.fromkeys(map(tuple, edges))]
