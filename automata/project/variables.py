"""Which of an environment's variables and secrets a flow reads: only those make a new version when they change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from automata.flow.findings import Findings, child
from automata.flow.template import TemplateError, compile_condition, compile_value
from automata.project.manifest import Environment

_PARTS = ("steps", "on_failure", "outputs", "concurrency", "webhooks")
_ROOTS = ("vars", "secrets")


@dataclass(frozen=True, slots=True)
class Use:
    """One read of `vars` or `secrets`; `name` is None when it is computed, or all are read."""

    root: str
    name: str | None
    pointer: str
    offset: int
    defaulted: bool


def uses(spec: Mapping[str, Any]) -> list[Use]:
    """Every read in the templates of a checked flow, and the secrets of its webhooks."""
    read = [use for part in _PARTS if part in spec for use in _walk(spec[part], f"/{part}")]
    webhooks = enumerate(spec.get("webhooks", ()))
    return read + [
        Use("secrets", webhook["secret"], f"/webhooks/{index}/secret", 0, False) for index, webhook in webhooks
    ]


def resolve(reads: list[Use], environment: Environment, findings: Findings) -> dict[str, Any]:
    """The variables that a flow reads, with their values; what the environment lacks is reported.

    A missing variable is an error (AF320) unless the template has a default for it; a secret that the environment's
    file does not list is a warning (AF321), because workers may have more than the file says.
    """
    for use in reads:
        if use.name is not None and not use.defaulted:
            _check(use, environment, findings)
    names = {use.name for use in reads if use.root == "vars"}
    if None in names:
        return dict(environment.vars)
    return {name: value for name, value in environment.vars.items() if name in names}


def _check(use: Use, environment: Environment, findings: Findings) -> None:
    file = environment.file or f"the environment {environment.name} (it has no file)"
    known = environment.vars if use.root == "vars" else environment.secrets
    if known is None or use.name is None or use.name in known:
        return
    hint = findings.nearest.hint(use.name, known)
    if use.root == "vars":
        message = f"the variable `{use.name}` is not in {file}"
        findings.add("AF320", message, use.pointer, hint, offset=use.offset)
    else:
        message = f"the secret `{use.name}` is not listed in {file}"
        findings.add("AF321", message, use.pointer, hint, offset=use.offset, severity="warning")


def _walk(value: Any, pointer: str) -> Iterator[Use]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, child(pointer, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, child(pointer, index))
    elif isinstance(value, str) and any(root in value for root in _ROOTS):
        yield from _text(value, pointer)


def _text(text: str, pointer: str) -> Iterator[Use]:
    # A bare `condition` or `foreach` is an expression; else a name is a value, and the text says so itself.
    bare = pointer.endswith(("/condition", "/foreach")) and "{{" not in text and "{%" not in text
    try:
        compiled = compile_condition(text) if bare else compile_value(text)
    except TemplateError:
        return  # Not a template after all: a flow that was checked has none that fails.
    for reference in compiled.references:
        if reference.root in _ROOTS:
            name = reference.path[0] if reference.path else None
            offset = max(reference.offset - 3, 0) if bare else reference.offset
            yield Use(reference.root, name, pointer, offset, reference.defaulted)
