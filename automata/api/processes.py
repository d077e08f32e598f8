"""Which processes are up."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.pages import Listing
from automata.api.schemas.system import ProcessAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.store.processes import list_processes

router = APIRouter(prefix=f"{V1}/processes", tags=["health"])


_process = answer_from(ProcessAnswer, clock_ms=lambda row: round(row.clock_ms, 1))


@router.get("", dependencies=[needs(Role.VIEWER)], responses={200: {"model": Listing[ProcessAnswer]}})
async def index(request: Request) -> Response:
    """Processes that are up, and those that fell silent within the last hour."""
    async with context_of(request).db.connection() as conn:
        rows = await list_processes(conn)
    return Json({"items": [_process(row) for row in rows]})
