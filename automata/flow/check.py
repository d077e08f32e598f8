"""The static checks of a flow whose text could be read: step types, dependencies, cycles, templates, inputs, schedules.

They work on the spec as written, so that a misspelt key in one step does not hide a cycle in another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from automata.errors import Diagnostic
from automata.flow.address_check import check_address
from automata.flow.declared import check_declared
from automata.flow.findings import Findings, in_order
from automata.flow.lexing import has_template
from automata.flow.outline import Node, Order, Outline
from automata.flow.parsed import ParsedFlow
from automata.flow.references import References
from automata.flow.shape import show
from automata.flow.steptypes import BUILTIN_TYPES, STEP_TYPES, kind_of
from automata.flow.userschema import Problem, SchemaBudget, SchemaError, compile_schema

Types = Mapping[str, Mapping[str, Any]]


def check_flow(loaded: ParsedFlow, types: Types | None = None) -> tuple[Diagnostic, ...]:
    """What is wrong beyond the shape; also for files whose shape is wrong, as far as they can be read.

    `types` are plugin step types, each with the JSON Schema of its config.
    """
    if loaded.spec is None:
        return ()
    findings = Findings(loaded.file, loaded.positions)
    outline = Outline(loaded.spec)
    order = Order(outline)
    _check_ids(outline, findings)
    _check_types(outline, types or {}, findings)
    _check_dependencies(outline, order, findings)
    for node in outline.nodes:
        _check_config(node, findings)
        _check_attempts(node, findings)
        check_address(node, loaded.spec.get("inputs"), findings)
    References(loaded.spec, outline, order, findings).check()
    check_declared(loaded.spec, findings)
    known = {(finding.pointer, finding.code) for finding in loaded.diagnostics}
    return in_order([finding for finding in findings.found if (finding.pointer, finding.code) not in known])


def _check_ids(outline: Outline, findings: Findings) -> None:
    for node in outline.nodes:
        first = outline.find(node.short) if node.short else None
        if first and first is not node:
            line = findings.positions.locate(f"{first.pointer}/id")[0]
            message = f"the id `{node.short}` is already given to the step in line {line}"
            findings.add("AF100", message, f"{node.pointer}/id", "ids are unique in the whole flow")
        _check_branch_ids(node, findings)


def _check_branch_ids(node: Node, findings: Findings) -> None:
    seen: set[str] = set()
    branches = node.spec.get("branches")
    for index, branch in enumerate(branches if isinstance(branches, list) else ()):
        name = branch.get("id") if isinstance(branch, dict) else None
        if isinstance(name, str):
            if name in seen:
                message = f"the branch `{name}` exists already in `{node.short}`"
                findings.add("AF113", message, f"{node.pointer}/branches/{index}/id")
            seen.add(name)


def _check_types(outline: Outline, types: Types, findings: Findings) -> None:
    schemas = {name: schema for name, schema in types.items() if name not in BUILTIN_TYPES}
    checkers: dict[str, Any] = {}
    for node in outline.nodes:
        if not node.type or node.type in BUILTIN_TYPES:
            continue
        if node.type not in schemas:
            _unknown_type(node, [*BUILTIN_TYPES, *schemas], findings)
            continue
        try:
            if node.type not in checkers:
                checkers[node.type] = compile_schema(schemas[node.type], SchemaBudget())
            _check_plugin_config(node, checkers[node.type], findings)
        except SchemaError as error:
            message = f"the schema of the step type `{node.type}` cannot be used: {error}"
            findings.add("AF034", message, f"{node.pointer}/type")


def _check_plugin_config(node: Node, checker: Callable[[Any, SchemaBudget], list[Problem]], findings: Findings) -> None:
    config = node.spec.get("config", {})
    for problem in checker(config, SchemaBudget()):
        # What a template gives is known only at run time, so that it may stand for a value of any type.
        if not _is_template(_member(config, problem.pointer)):
            message = f"`config` of a `{node.type}` step: {problem.message}"
            findings.add("AF034", message, f"{node.pointer}/config{problem.pointer}")


def _member(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = value[int(part)] if isinstance(value, list) else value[part.replace("~1", "/").replace("~0", "~")]
    return value


def _is_template(value: Any) -> bool:
    return isinstance(value, str) and has_template(value)


def _unknown_type(node: Node, known: list[str], findings: Findings) -> None:
    pointer = f"{node.pointer}/type"
    hint = findings.nearest.hint(node.type, known) or f"the types are {', '.join(known)}"
    findings.add("AF028", f"there is no step type {show(node.type)}", pointer, hint)


def _check_dependencies(outline: Outline, order: Order, findings: Findings) -> None:
    names = list(outline.names)
    for node in outline.nodes:
        for name, pointer in node.depends_on:
            target = outline.find(name)
            if target is None:
                near = [known for known in names if ("." in known) == ("." in name)]
                findings.add("AF101", f"there is no step {show(name)}", pointer, findings.nearest.hint(name, near))
            elif target is node:
                findings.add("AF102", f"the step `{node.short}` depends on itself", pointer)
            elif target.failure and not node.failure:
                findings.add("AF112", f"`{name}` runs in `on_failure`; no step can wait for it", pointer)
    for cycle in order.cycles():
        path = " → ".join(f"`{name}`" for name in cycle.path)
        findings.add("AF103", f"these steps wait for each other: {path}", cycle.pointer)


def _check_config(node: Node, findings: Findings) -> None:
    config = node.spec.get("config")
    if not isinstance(config, dict):
        return
    row = STEP_TYPES.get(node.type)
    if row is not None and row.check_config is not None:
        row.check_config(config, f"{node.pointer}/config", findings)


def _check_attempts(node: Node, findings: Findings) -> None:
    if "max_parallel" in node.spec and "foreach" not in node.spec:
        message = "`max_parallel` has no effect without `foreach`"
        findings.add("AF032", message, f"{node.pointer}/max_parallel", name=True, severity="warning")
    if kind_of(node.type) != "work":
        for key in ("retry", "timeout_sec", "queue"):
            if key in node.spec:
                message = f"`{key}` has no effect on a `{node.type}` step"
                findings.add("AF032", message, f"{node.pointer}/{key}", name=True, severity="warning")
