"""Warnings of an address whose path or host is data as it came (`AF120`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from automata.flow.address import RawValue, raw_values
from automata.flow.budget import TemplateError
from automata.flow.findings import Findings
from automata.flow.lexing import has_template
from automata.flow.outline import Node
from automata.flow.steptypes import STEP_TYPES

# What a value of these is can hold no character that is structure.
_PLAIN_TYPES = frozenset({"integer", "number", "boolean"})


def check_address(node: Node, inputs: Any, findings: Findings) -> None:
    """Look at the address of one step; `inputs` are the flow's, as they were declared."""
    row, config = STEP_TYPES.get(node.type), node.spec.get("config")
    if row is None or row.address_key is None or not isinstance(config, dict):
        return
    text, pointer = config.get(row.address_key), f"{node.pointer}/config/{row.address_key}"
    if not isinstance(text, str) or not has_template(text):
        return
    try:
        values = list(raw_values(text))
    except TemplateError:  # it is told where references are checked
        return
    for value in values:
        if not _is_plain(value, inputs):
            _warn(value, row.address_key, pointer, findings)


def _is_plain(raw: RawValue, inputs: Any) -> bool:
    root, *path = raw.value.name or ("",)
    if root in ("index", "run"):
        return True
    declared = inputs.get(path[0]) if root == "inputs" and len(path) == 1 and isinstance(inputs, dict) else None
    return isinstance(declared, Mapping) and (declared.get("type") in _PLAIN_TYPES or "enum" in declared)


def _warn(raw: RawValue, key: str, pointer: str, findings: Findings) -> None:
    if raw.part == "host":
        message = f"`{raw.expression}` says which host is called"
        hint = "keep hosts in `vars`, or name those that may be called in `egress.allow` of the environment"
    elif raw.value.filter == "urlencode":
        message = f"`urlencode` leaves the `/` of a value in the path of `{key}`, and the step then fails"
        hint = f"write `{raw.expression.rpartition('|')[0].strip()} | segment`"
    else:
        message = f"`{raw.expression}` stands in the path of `{key}` as it is: a value with `/` or `?` fails the step"
        hint = f"write `{raw.expression} | segment`"
    findings.add("AF120", message, pointer, hint, offset=raw.value.position, severity="warning")
