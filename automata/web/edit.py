"""Edit a flow's file and save it as a proposal: the text as it was written, so that comments and formatting stay."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fastapi import Request
from starlette.responses import JSONResponse, Response

from automata.access.principal import Role
from automata.errors import AutomataError, Busy, Conflict, Diagnostic, Invalid, Refused
from automata.flow.schema import FLOW_SCHEMA
from automata.http.authorization import acting_person
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.operations.api_flows import check_flow, check_text
from automata.operations.flow_lookups import check_key
from automata.store.audit import skip_audit
from automata.web.forms import Form, read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages

MAX_FINDINGS = 100  # findings of a text that is being typed
MAX_MESSAGE = 10_000

router = pages(least=Role.AUTHOR)


@router.get("/flows/{name}/edit")
async def form(request: Request, name: str) -> Response:
    """The file as the base of proposals has it."""
    check_key(name)
    path, text = await context_of(request).proposals.file_of(acting_person(request), name)
    return _page(request, name, path, text, {"content": text})


@router.post("/flows/{name}/edit")
async def save(request: Request, name: str) -> Response:
    """Make a proposal of it, or show it again with what is wrong; nothing that was typed is lost."""
    check_key(name)
    form = await read_form(request)
    path, text = await context_of(request).proposals.file_of(acting_person(request), name)
    try:
        number = await _propose(request, name, path, text, form)
    except (Invalid, Conflict, Refused) as error:
        return _page(request, name, path, text, form, error)
    return redirect_with_message(request, f"/proposals/{number}", "Saved as a proposal.")


@router.post("/edit/check")
async def check(request: Request) -> Response:
    """What is wrong with the text so far, for the editor: `{diagnostics: [{line, column, severity, message}]}`."""
    skip_audit()
    findings = await check_text(context_of(request), (await read_form(request)).get("content", ""))
    return JSONResponse({"diagnostics": [_finding(finding) for finding in findings[:MAX_FINDINGS]]})


async def _propose(request: Request, name: str, path: str, text: str, form: Form) -> int:
    """The number of the proposal, which waits for a review and is checked when that was asked for."""
    if form.get("was") != _digest(text):
        raise Conflict(
            f"{path} has changed since you began.",
            code="file_moved",
            hint="Your text is below. Saved now it takes the place of what is there: look at the difference first.",
        )
    message = form.get("message", "").strip()
    if not message or len(message) > MAX_MESSAGE:
        raise BadBody("Say what the change is for, in a line or more.", pointer="/message")
    content = _like(text, form.get("content", ""))
    flow = await check_flow(context_of(request), content)
    if flow.name != name:
        raise BadBody(
            f"It names the flow {flow.name!r}, and this is {name!r}.",
            code="name_mismatch",
            hint="Another name is another flow: push a branch with git to rename one (`renamed_from`).",
        )
    proposals, actor = context_of(request).proposals, acting_person(request)
    branch = f"proposal/{name}-{uuid4().hex[:8]}"
    proposal = await proposals.propose_flow(
        actor, name, branch=branch, message=message, title=None, path=path, content=content
    )
    key = str(proposal.row.number)
    if form.get("review"):
        async with proposals.session(actor) as session:
            await session.submit(key)
        with suppress(Busy):  # whoever reviews it can have it checked
            await proposals.check(key, actor)
    return proposal.row.number


def _page(
    request: Request, name: str, path: str, text: str, form: Mapping[str, str], error: AutomataError | None = None
) -> Response:
    return render(
        request,
        "flow_edit.html",
        error.status if error else 200,
        name=name,
        flow_path=f"/flows/{quote(name)}",
        file=path,
        language="json" if path.endswith(".json") else "yaml",
        was=_digest(text),
        original=text,
        content=form.get("content", ""),
        message=form.get("message", ""),
        review=bool(form.get("review")) or "was" not in form,
        error=error,
        schema=FLOW_SCHEMA,
    )


def _like(before: str, content: str) -> str:
    """With the line ends of the file: browsers send others, and every line would differ."""
    return content.replace("\n", "\r\n") if "\r\n" in before else content


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _finding(diagnostic: Diagnostic) -> dict[str, Any]:
    hint = f" {diagnostic.suggestion}" if diagnostic.suggestion else ""
    return {
        "line": diagnostic.line,
        "column": diagnostic.column,
        "severity": diagnostic.severity,
        "message": f"{diagnostic.code} {diagnostic.message}{hint}",
    }
