"""Recorded runs as documents: what `automata record` writes to a file, and what a replay goes by."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.recordings import RecordedSummary, RecordingAnswer
from automata.errors import Missing
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.operations.recordings import recording_document
from automata.operations.runs import parse_run_id
from automata.store.flows import find_flow
from automata.store.recordings import recorded_ids, recorded_run

router = APIRouter(prefix=V1, tags=["runs"])
MAX_RECORDINGS = 1_000


@router.get(
    "/runs/{run_id}/recording",
    dependencies=[needs(Role.VIEWER, limits=True)],
    responses={200: {"model": RecordingAnswer}},
)
async def show(request: Request, run_id: str) -> Response:
    """What a run began with, was answered and came to; masked."""
    async with context_of(request).db.connection() as conn:
        run = await recorded_run(conn, parse_run_id(run_id))
    if run is None:
        raise Missing(
            f"There is no recording of the run {run_id}.",
            code="not_recorded",
            hint="A run is recorded when its flow or environment says `recording: on`, and kept when it has ended"
            " without being cancelled or retried.",
        )
    return Json(recording_document(run))


@router.get(
    "/flows/{name}/recordings",
    dependencies=[needs(Role.VIEWER, limits=True)],
    responses={200: {"model": Listing[RecordedSummary]}},
)
async def index(
    request: Request,
    name: str,
    last: Annotated[int, Query(ge=1, le=MAX_RECORDINGS, description="How many, newest first.")] = 20,
) -> Response:
    """The newest runs of a flow that can be replayed."""
    async with context_of(request).db.connection() as conn:
        flow = await find_flow(conn, name)
        runs = await recorded_ids(conn, flow.id, last)
    return Json({"items": [{"id": id, "version": version, "status": status} for id, version, status in runs]})
