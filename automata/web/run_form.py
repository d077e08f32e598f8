"""The form that starts a run, made from the inputs that a flow declares."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import Conflict, Invalid, Missing
from automata.flow.inputs import from_text
from automata.flow.model import Input
from automata.http.authorization import current_principal
from automata.http.context import context_of
from automata.operations.flow_lookups import Version, current_version
from automata.operations.runs import start_run
from automata.store.flows import FlowRow
from automata.web.forms import KEY, Form, read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages

BEFORE = "input."  # of the name of a field
JSON_TYPES = frozenset({"object", "array"})

router = pages(least=Role.OPERATOR, limits=True)


@dataclass(frozen=True, slots=True)
class Field:
    """`kind`: line, number, choice, json or secret; `text` is what stands in it, `wrong` what is wrong with that."""

    input: Input
    kind: str
    text: str
    choices: tuple[tuple[str, str], ...] = ()  # what is sent, and what it is called
    wrong: tuple[str, ...] = field(default=())

    @property
    def needed(self) -> bool:
        """Whether the field must be filled."""
        return self.input.required and not self.input.has_default


@router.get("/flows/{name}/run")
async def form(request: Request, name: str) -> Response:
    """One field an input, with its default in it."""
    flow, version = await _find(request, name)
    return _page(request, flow, fields_of(version.inputs, {}))


@router.post("/flows/{name}/run")
async def begin(request: Request, name: str) -> Response:
    """Start the run, or show the form again with what is wrong. Sent twice, it is one run."""
    form = await read_form(request)
    flow, version = await _find(request, name)
    key = form.get("key", "")
    try:
        started = await start_run(
            context_of(request),
            flow.name,
            values_of(version.inputs, form),
            key=f"console:{key}" if KEY.fullmatch(key) else None,
            by=str(current_principal(request)),
        )
    except (Invalid, Conflict) as error:
        if isinstance(error, Missing):
            raise
        return _page(request, flow, fields_of(version.inputs, form, error), error)
    return redirect_with_message(request, f"/runs/{started.id}")


def values_of(inputs: Mapping[str, Input], form: Form) -> dict[str, Any]:
    """What was typed as values; a field that was left empty gives nothing, so that its default counts."""
    typed = {name: form.get(BEFORE + name, "") for name in inputs}
    # A choice is sent as JSON, whatever its type: "3" and 3 are two values.
    kinds = {name: "array" if input.enum is not None else input.type for name, input in inputs.items()}
    return {name: from_text(text, kinds[name]) for name, text in typed.items() if text != ""}


def fields_of(inputs: Mapping[str, Input], form: Mapping[str, str], error: Any = None) -> list[Field]:
    """The fields of a form, with what was typed and what `error` says of it."""
    wrong: dict[str, list[str]] = {}
    for finding in error.diagnostics if error else ():
        wrong.setdefault(finding.pointer.removeprefix("/inputs/").partition("/")[0], []).append(finding.message)
    return [_field(input, form.get(BEFORE + name), tuple(wrong.get(name, ()))) for name, input in inputs.items()]


def _field(declared: Input, typed: str | None, wrong: tuple[str, ...]) -> Field:
    if declared.secret:
        return Field(declared, "secret", "", wrong=wrong)
    text = typed if typed is not None else _default(declared)
    if declared.enum is not None:
        return Field(declared, "choice", text, tuple((_json(choice), _word(choice)) for choice in declared.enum), wrong)
    if declared.type == "boolean":
        return Field(declared, "choice", text, (("true", "true"), ("false", "false")), wrong)
    if declared.type in JSON_TYPES:
        return Field(declared, "json", text, wrong=wrong)
    return Field(declared, "number" if declared.type in ("integer", "number") else "line", text, wrong=wrong)


def _default(declared: Input) -> str:
    if not declared.has_default or declared.default is None:
        return ""
    if declared.type == "string" and declared.enum is None:
        return str(declared.default)
    return _json(declared.default, 2 if declared.type in JSON_TYPES and declared.enum is None else None)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


async def _find(request: Request, name: str) -> tuple[FlowRow, Version]:
    """Raises Missing; Conflict for a flow that cannot be started."""
    context = context_of(request)
    flow = await context.flows.get(name)
    return flow, await context.versions.get(current_version(flow))


def _page(request: Request, flow: FlowRow, fields: list[Field], error: Any = None) -> Response:
    status = error.status if error else 200
    path = f"/flows/{quote(flow.name)}"
    return render(request, "flow_run.html", status, flow=flow, path=path, fields=fields, error=error, key=str(uuid4()))
