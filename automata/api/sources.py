"""Where the flows come from: every source with its conditions and attempts, its drift, and the way back."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.sync import DriftAnswer, RollbackAnswer, SourceAnswer
from automata.http.authorization import attribution, current_principal, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.request_models import RollbackRequest
from automata.operations.sources import (
    look_now,
    read_drift,
    read_source,
    read_sources,
    release_source,
    roll_back_source,
)

router = APIRouter(prefix=f"{V1}/sync", tags=["sync"])


@router.get("", responses={200: {"model": Listing[SourceAnswer]}}, dependencies=[needs(Role.VIEWER)])
async def index(request: Request) -> Response:
    """All sources; attempts newest first, at most 20 a source."""
    return Json({"items": await read_sources(context_of(request))})


@router.get("/{source}", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.VIEWER)])
async def show(request: Request, source: str) -> Response:
    """One source, by its id or by its environment when no other source has that."""
    return Json(await read_source(context_of(request), source))


@router.get("/{source}/drift", responses={200: {"model": Listing[DriftAnswer]}}, dependencies=[needs(Role.VIEWER)])
async def drift(request: Request, source: str) -> Response:
    """What was changed beside Git since the last sync: compared now."""
    return Json({"items": await read_drift(context_of(request), source)})


@router.post("/{source}/look", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.OPERATOR)])
async def look(request: Request, source: str) -> Response:
    """Have the controller look at the branch within seconds, and try again what is stuck: its attempts tell."""
    return Json(await look_now(context_of(request), source))


@router.post(
    "/{source}/rollback",
    responses={200: {"model": RollbackAnswer}},
    openapi_extra=request_body(RollbackRequest),
    dependencies=[needs(Role.ADMIN)],
)
async def rollback(request: Request, source: str) -> Response:
    """In an emergency: make the flows of an earlier synced commit current, and pin the environment to them.

    All of them or none. Runs that are under way keep their versions.
    """
    body = await read_model(request, RollbackRequest)
    by = attribution(request, body.by) or current_principal(request).name
    return Json(await roll_back_source(context_of(request), source, body.to, by=by, reason=body.reason))


@router.post("/{source}/release", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.ADMIN)])
async def release_pin(request: Request, source: str) -> Response:
    """Let the environment follow its branch again; the controller looks at once. Releasing twice is fine."""
    return Json(await release_source(context_of(request), source, by=current_principal(request).name))
