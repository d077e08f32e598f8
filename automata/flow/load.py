"""Text -> a flow: syntax, shape, static checks, model. `validate_text` is the whole way, `load_flow` its first half."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from automata.errors import Diagnostic
from automata.flow.check import Types, check_flow
from automata.flow.findings import Findings, Positions, in_order
from automata.flow.model import Flow
from automata.flow.parsed import ParsedFlow
from automata.flow.schema import FLOW_SCHEMA, MAX_STEPS
from automata.flow.shape import Shape
from automata.flow.yaml12 import parse_yaml

__all__ = ["ParsedFlow", "Positions", "check_flow", "load_flow", "parse_yaml", "validate_text"]


def validate_text(text: bytes | str, file: str = "", types: Types | None = None) -> ParsedFlow:
    """All that can be said about one file; `flow` is None when any of it is an error. Never raises for the text."""
    loaded = load_flow(text, file)
    checked = check_flow(loaded, types)
    if not checked:
        return loaded
    valid = all(finding.severity == "warning" for finding in checked)
    diagnostics = in_order([*loaded.diagnostics, *checked])
    return replace(loaded, flow=loaded.flow if valid else None, diagnostics=diagnostics)


def load_flow(text: bytes | str, file: str = "") -> ParsedFlow:
    """Syntax and shape, all errors of both; never raises for what the text holds."""
    value, positions, wrong = parse_yaml(text, file)
    if value is None and wrong:
        return ParsedFlow(file, None, None, wrong, positions)
    shape = _check_shape(value, file, positions, wrong)
    diagnostics = in_order([*wrong, *shape])
    spec = value if isinstance(value, dict) else None
    flow = Flow.from_spec(spec) if spec is not None and not diagnostics else None
    return ParsedFlow(file, flow, spec, diagnostics, positions)


def _check_shape(value: Any, file: str, positions: Positions, wrong: tuple[Diagnostic, ...]) -> list[Diagnostic]:
    findings = Findings(file, positions)
    Shape(FLOW_SCHEMA["$defs"], findings).check(value, FLOW_SCHEMA)
    count = _count_steps(value)
    if count > MAX_STEPS:
        findings.add("AF016", f"the flow has {count:,} steps; at most {MAX_STEPS:,} are allowed", "/steps", name=True)
    # A value that could not be read stands in as null or 0, and its shape says nothing.
    unread = {finding.pointer for finding in wrong if finding.pointer}
    return [finding for finding in findings.found if finding.pointer not in unread]


def _count_steps(node: Any) -> int:
    """All steps, nested ones too, in a value that need not be a flow."""
    steps = node.get("steps") if isinstance(node, dict) else None
    if not isinstance(steps, list):
        return 0
    branches = [branch for step in steps if isinstance(step, dict) for branch in _list(step.get("branches"))]
    return len(steps) + sum(_count_steps(branch) for branch in branches)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
