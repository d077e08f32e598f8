"""Proposals: changes on branches of the server's own repository, from the first commit to the merge."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing, Page
from automata.api.schemas.proposals import (
    Acting,
    AppliedAnswer,
    CheckAnswer,
    Create,
    DiffAnswer,
    PairAnswer,
    PlanAnswer,
    ProposalAnswer,
    ProposalSummary,
    Propose,
    Review,
    Update,
)
from automata.flow.model import canonical_json
from automata.http.authorization import acting_person, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.openapi import request_body
from automata.http.query import Cursor, Limit, ProposalNumber, check_cursor
from automata.operations.api_flows import check_flow
from automata.operations.flow_lookups import check_key
from automata.operations.proposal_list import list_proposals
from automata.proposals.status import ProposalStatus
from automata.proposals.view import history
from automata.store.proposals import list_checks

MAX_DIFF_CHARS = 1024 * 1024
MAX_WAIT_SEC = 60

router = APIRouter(prefix=V1, tags=["proposals"])
Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SEC, description="Wait so long for it to end.")]
READ, WRITE, DECIDE = needs(Role.VIEWER), needs(Role.AUTHOR), needs(Role.REVIEWER)
ONE: dict[int | str, dict[str, Any]] = {200: {"model": ProposalAnswer}}
MADE: dict[int | str, dict[str, Any]] = {201: {"model": ProposalAnswer}}


# --- looking -------------------------------------------------------------------------------------------------------


@router.get("/proposals", dependencies=[READ], responses={200: {"model": Page[ProposalSummary]}})
async def index(
    request: Request,
    ended: Annotated[bool, Query(description="Those that have ended too.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The newest first. Every branch that changes the project, and is not an environment's, is one."""
    after = check_cursor(cursor, 1, number=True)
    proposals, more = await list_proposals(
        context_of(request), acting_person(request), ended=ended, limit=limit, cursor=after
    )
    return Json({"items": [context_of(request).proposals.summary(facts) for facts in proposals], "next_cursor": more})


@router.get("/proposals/{number}", dependencies=[READ], responses=ONE)
async def show(request: Request, number: ProposalNumber) -> Response:
    """With its files, reviews, and what the newest check said."""
    async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
        return _answer(request, await session.find(str(number)))


@router.get("/proposals/{number}/diff", dependencies=[READ], responses={200: {"model": DiffAnswer}})
async def diff(request: Request, number: ProposalNumber) -> Response:
    """What it changes, as Git writes it."""
    async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
        text = await session.difference(str(number))
    return Json({"diff": text[:MAX_DIFF_CHARS], "truncated": len(text) > MAX_DIFF_CHARS})


@router.get("/proposals/{number}/files", dependencies=[READ], responses={200: {"model": Listing[PairAnswer]}})
async def files(request: Request, number: ProposalNumber) -> Response:
    """Every file that it changes, as it was where the branch left the base, and as it would be."""
    async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
        return Json({"items": [asdict(pair) for pair in await session.file_pairs(str(number))]})


@router.get("/proposals/{number}/plan", dependencies=[READ], responses={200: {"model": PlanAnswer}})
async def plan(request: Request, number: ProposalNumber) -> Response:
    """What it means: breaking, security, behaviour or neutral, flow by flow."""
    return Json(await context_of(request).proposals.plan(str(number), acting_person(request)))


@router.get("/proposals/{number}/checks", dependencies=[READ], responses={200: {"model": Listing[CheckAnswer]}})
async def checks(request: Request, number: ProposalNumber) -> Response:
    """What was checked and came of it, the newest first, at most 20."""
    async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
        facts = await session.find(str(number))
    async with context_of(request).db.connection() as conn:
        return Json({"items": history(await list_checks(conn, facts.row.id))})


# --- making --------------------------------------------------------------------------------------------------------


@router.post("/proposals", status_code=201, dependencies=[WRITE], responses=MADE, openapi_extra=request_body(Create))
async def create(request: Request) -> Response:
    """Make a branch with one commit."""
    body = await read_model(request, Create)
    actor = acting_person(request, body.as_)
    return _created(
        request, await context_of(request).proposals.create(actor, body.branch, body.files, body.message, body.title)
    )


@router.post(
    "/flows/{name}/proposals",
    status_code=201,
    dependencies=[WRITE],
    responses=MADE,
    openapi_extra=request_body(Propose),
)
async def propose(request: Request, name: str) -> Response:
    """Make a branch with one commit that changes a flow, or brings a new one."""
    check_key(name)
    body = await read_model(request, Propose)
    actor = acting_person(request, body.as_)
    content = body.spec if body.content is None else body.content
    assert content is not None
    flow = await check_flow(context_of(request), content if isinstance(content, str) else canonical_json(content))
    if flow.name != name:
        raise BadBody(f"It names the flow {flow.name!r}, the address {name!r}.", code="name_mismatch")
    proposal = await context_of(request).proposals.propose_flow(
        actor,
        name,
        branch=body.branch or f"proposal/{name}-{uuid4().hex[:8]}",
        message=body.message,
        title=body.title,
        path=body.path,
        content=content,
    )
    return _created(request, proposal)


@router.patch("/proposals/{number}", dependencies=[WRITE], responses=ONE, openapi_extra=request_body(Update))
async def update(request: Request, number: ProposalNumber) -> Response:
    """Another title, or one more commit, which drops checks and approvals."""
    body = await read_model(request, Update)
    actor = acting_person(request, body.as_)
    return _answer(
        request, await context_of(request).proposals.update(actor, str(number), body.files, body.message, body.title)
    )


# --- deciding ------------------------------------------------------------------------------------------------------

_ACTING = request_body(Acting, required=False)
_REVIEW = request_body(Review, required=False)


@router.post("/proposals/{number}/submit", dependencies=[WRITE], responses=ONE, openapi_extra=_ACTING)
async def submit(request: Request, number: ProposalNumber) -> Response:
    """Ask for a review."""
    body = await read_model(request, Acting)
    async with context_of(request).proposals.session(acting_person(request, body.as_)) as session:
        return _answer(request, await session.submit(str(number)))


@router.post("/proposals/{number}/close", dependencies=[WRITE], responses=ONE, openapi_extra=_ACTING)
async def close(request: Request, number: ProposalNumber) -> Response:
    """End it without applying it; its branch stays."""
    body = await read_model(request, Acting)
    async with context_of(request).proposals.session(acting_person(request, body.as_)) as session:
        return _answer(request, await session.close(str(number)))


@router.post("/proposals/{number}/approve", dependencies=[DECIDE], responses=ONE, openapi_extra=_REVIEW)
async def approve(request: Request, number: ProposalNumber) -> Response:
    """Say yes to exactly what there is now. The author cannot."""
    return await _review(request, number, approve=True)


@router.post("/proposals/{number}/reject", dependencies=[DECIDE], responses=ONE, openapi_extra=_REVIEW)
async def reject(request: Request, number: ProposalNumber) -> Response:
    """Say no, which ends it."""
    return await _review(request, number, approve=False)


async def _review(request: Request, number: int, *, approve: bool) -> Response:
    body = await read_model(request, Review)
    async with context_of(request).proposals.session(acting_person(request, body.as_)) as session:
        return _answer(request, await session.review(str(number), approve=approve, comment=body.comment))


@router.post(
    "/proposals/{number}/sandbox",
    status_code=202,
    dependencies=[WRITE],
    responses={200: {"model": ProposalAnswer}, 202: {"model": ProposalAnswer}},
    openapi_extra=_ACTING,
)
async def sandbox(request: Request, number: ProposalNumber, wait_sec: Wait = 0) -> Response:
    """Check the merge that it would be. 202: still running; ask for the proposal again until `checks` says more."""
    body = await read_model(request, Acting)
    facts = await context_of(request).proposals.check(str(number), acting_person(request, body.as_), wait_sec)
    return _worked(request, facts)


@router.post(
    "/proposals/{number}/apply",
    dependencies=[DECIDE],
    responses={200: {"model": AppliedAnswer}, 202: {"model": ProposalAnswer}},
    openapi_extra=_ACTING,
)
async def apply(request: Request, number: ProposalNumber, wait_sec: Wait = 20) -> Response:
    """Merge what was checked and approved, and sync it. 202: it is being checked first, and then applied."""
    body = await read_model(request, Acting)
    facts, synced = await context_of(request).proposals.apply(str(number), acting_person(request, body.as_), wait_sec)
    if synced is None:
        return _worked(request, facts)
    return Json({**context_of(request).proposals.detail(facts), "sync": synced.to_json()})


def _worked(request: Request, facts: ProposalStatus) -> Response:
    answer = context_of(request).proposals.detail(facts)
    return Json(answer, 202 if answer["checks"] == "running" else 200, headers=_location(facts))


def _created(request: Request, facts: ProposalStatus) -> Response:
    return Json(context_of(request).proposals.detail(facts), 201, headers=_location(facts))


def _answer(request: Request, facts: ProposalStatus) -> Response:
    return Json(context_of(request).proposals.detail(facts))


def _location(facts: ProposalStatus) -> dict[str, str]:
    return {"Location": f"{V1}/proposals/{facts.row.number}"}
