"""Which processes are up."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.system import ProcessAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.store.presence import Process, list_processes

router = APIRouter(prefix=f"{V1}/processes", tags=["health"])


@router.get("", dependencies=[needs(Role.VIEWER)], responses={200: {"model": Listing[ProcessAnswer]}})
async def index(request: Request) -> Response:
    """Processes that are up, and those that fell silent within the last hour."""
    async with context_of(request).db.connection() as conn:
        found = await list_processes(conn)
    return Json({"items": [_row(one) for one in found]})


def _row(one: Process) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "parts": one.parts,
        "queues": one.queues,
        "concurrency": one.concurrency,
        "version": one.version,
        "clock_ms": round(one.clock_ms, 1),
        "started_at": one.started_at,
        "seen_at": one.seen_at,
        "alive": one.alive,
    }
