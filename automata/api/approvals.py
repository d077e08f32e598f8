"""Approvals: which steps wait for a person, and the word that lets them go on."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.pages import Listing
from automata.api.schemas.tasks import ApprovalAnswer, ApprovalRequest
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.operations.approvals import decide_approval, list_approvals

router = APIRouter(prefix=V1, tags=["approvals"])
_approval = answer_from(ApprovalAnswer, flow="flow_name")


@router.get(
    "/approvals", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Listing[ApprovalAnswer]}}
)
async def index(request: Request) -> Response:
    """Steps that wait for a decision, the oldest first; at most 500."""
    rows = await list_approvals(context_of(request))
    return Json({"items": [_approval(row) for row in rows]})


@router.post(
    "/runs/{run_id}/approvals/{step}",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=204,
    openapi_extra=request_body(ApprovalRequest),
)
async def answer(request: Request, run_id: str, step: str) -> Response:
    """Approve or reject, once: a second decision is a 409. `step` is its full id, or its short one."""
    body = await read_model(request, ApprovalRequest)
    await decide_approval(context_of(request), run_id, step, body.approved, attribution(request, body.by), body.comment)
    return Response(status_code=204)
