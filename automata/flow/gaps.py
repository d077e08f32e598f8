"""Outputs of a flow that read a step which may have none: it was skipped, or it has failed and the run went on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from automata.flow.findings import Findings
from automata.flow.outline import Node, Outline
from automata.flow.steptypes import kind_of
from automata.flow.template import Reference, TemplateError, compile_condition

_HINT = "`| default(...)` gives a value for it; `steps.ID.status` tells whether there is one"


def warn_of_gaps(references: Sequence[Reference], pointer: str, outline: Outline, findings: Findings) -> None:
    """Warn (AF117) of what one template among the outputs reads without a default.

    A template that asks for the status of the step is taken to know what it does.
    """
    asked = {node.index for node, rest in _step_reads(references, outline) if rest[:1] == ("status",)}
    for reference in references:
        for node, rest in _step_reads((reference,), outline):
            if reference.defaulted or rest[:1] != ("outputs",) or node.index in asked:
                continue
            if reason := _gap(_source(node, rest[1:], outline), outline):
                path = ".".join(("steps", *reference.path))
                message = f"this output reads `{path}`, and {reason}: the run fails then, as its outputs cannot be made"
                findings.add("AF117", message, pointer, _HINT, offset=max(reference.offset, 0), severity="warning")


def _step_reads(references: Sequence[Reference], outline: Outline) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """The steps that are read, each with the path behind its id."""
    for reference in references:
        if reference.root == "steps" and reference.path and (node := outline.find(reference.path[0])):
            yield node, reference.path[1:]


def _source(node: Node, path: tuple[str, ...], outline: Outline) -> Node:
    """Whose outputs these are: those of a `parallel` that declares none are those of its steps."""
    while len(path) > 1 and kind_of(node.type) == "group" and node.spec.get("outputs") is None:
        inner = node.branches.get(path[0], {}).get(path[1])
        if inner is None:
            break
        node, path = outline.nodes[inner], path[2:]
    return node


def _gap(node: Node, outline: Outline) -> str | None:
    """Why the step may have no outputs; what stands around it counts too."""
    around: Node | None = node
    while around is not None:
        if "condition" in around.spec and not _is_of_items(around):
            return f"`{around.short}` is skipped when its `condition` is false"
        # With `foreach` the items are what may fail; the step itself goes on with null for them.
        if around.spec.get("continue_on_error") is True and "foreach" not in around.spec:
            return f"`{around.short}` may fail and the run goes on (`continue_on_error`)"
        around = None if around.parent is None else outline.nodes[around.parent]
    return None


def _is_of_items(node: Node) -> bool:
    """Whether a condition is asked for each item of a `foreach`: the list has null for one that is skipped."""
    text = node.spec["condition"]
    if "foreach" not in node.spec or not isinstance(text, str):
        return False
    try:
        return any(reference.root in ("item", "index") for reference in compile_condition(text).references)
    except TemplateError:
        return True  # it is told elsewhere
