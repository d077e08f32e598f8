"""Approvals: the steps that wait for somebody to decide, and the decision."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import Conflict, Missing
from automata.http.authorization import current_principal, needs
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.operations.approvals import decide_approval, list_approvals
from automata.operations.runs import parse_run_id
from automata.web.forms import read_form
from automata.web.page import MAX_COMMENT, redirect_with_message, render
from automata.web.page import router as pages

HERE = "/approvals"
SHOWN = 100

router = pages(limits=True)


@router.get(HERE)
async def index(request: Request) -> Response:
    """Those that have waited longest first."""
    rows = await list_approvals(context_of(request), SHOWN + 1)
    waiting = [(row, f"/runs/{row.run_id}/steps/{quote(row.step)}") for row in rows[:SHOWN]]
    return render(request, "approvals.html", waiting=waiting, more=len(rows) > SHOWN)


@router.post(HERE, dependencies=[needs(Role.OPERATOR, limits=True)])
async def decide(request: Request) -> Response:
    """Approve or reject one, which is said once; somebody else may have been first."""
    form = await read_form(request)
    verdict, comment = form.get("verdict", ""), form.get("comment", "").strip()
    if verdict not in ("approve", "reject"):
        raise BadBody("The form says neither approve nor reject.", pointer="/verdict")
    if len(comment) > MAX_COMMENT:
        raise BadBody(f"A comment has at most {MAX_COMMENT:,} characters.", pointer="/comment")
    run, is_yes = form.get("run", ""), verdict == "approve"
    onward = f"/runs/{parse_run_id(run)}" if form.get("back") == "run" else HERE
    try:
        step = await decide_approval(
            context_of(request), run, form.get("step", ""), is_yes, str(current_principal(request)), comment
        )
    except (Conflict, Missing) as error:
        return redirect_with_message(request, onward, str(error), bad=True)
    return redirect_with_message(request, onward, f"{step} is {'approved' if is_yes else 'rejected'}.")
