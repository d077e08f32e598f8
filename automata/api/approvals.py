"""Approvals: which steps wait for a person, and the word that lets them go on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.tasks import ApprovalAnswer, ApprovalRequest
from automata.broker.contract import RUNS_PENDING
from automata.errors import Missing
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.operations.context import AppContext
from automata.store.approvals import ApprovalRow, decide, list_open
from automata.store.audit import Deed, note
from automata.store.flows import as_uuid

router = APIRouter(prefix=V1, tags=["approvals"])


@router.get(
    "/approvals", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Listing[ApprovalAnswer]}}
)
async def index(request: Request) -> Response:
    """Steps that wait for a decision, the oldest first; at most 500."""
    async with context_of(request).db.connection() as conn:
        rows = await list_open(conn)
    return Json({"items": [_approval(row) for row in rows]})


@router.post(
    "/runs/{run_id}/approvals/{step}",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=204,
    openapi_extra=request_body(ApprovalRequest),
)
async def answer(request: Request, run_id: str, step: str) -> Response:
    """Approve or reject, once: a second decision is a 409. `step` is its full id, or its short one."""
    asked = await read_model(request, ApprovalRequest)
    await decide_on(context_of(request), run_id, step, asked.approved, attribution(request, asked.by), asked.comment)
    return Response(status_code=204)


async def decide_on(desk: AppContext, run_id: str, step: str, approved: bool, by: str, comment: str) -> str:
    """Decide, and have the run go on; the step's full id. Raises as `decide` does, Missing for what is no id."""
    run = as_uuid(run_id)
    if run is None or len(step) > 1000 or not step.isprintable():
        raise Missing(f"There is no run {run_id[:60]!r}." if run is None else "There is no such step.")
    async with desk.db.transaction() as conn:
        full = await decide(conn, run, step, approved, by, comment)
        deed = Deed("approval.decide", f"run/{run}", None, {"step": full, "approved": approved, "comment": comment})
        await note(conn, deed)
    desk.broker.ring(RUNS_PENDING, [str(run)])
    return full


def _approval(row: ApprovalRow) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "step": row.step,
        "flow": row.flow_name,
        "prompt": row.prompt,
        "asked_at": row.asked_at,
        "expires_at": row.expires_at,
    }
