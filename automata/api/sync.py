"""Where the flows come from: every source with its conditions and its last attempts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.api.desk import Desk
from automata.api.shapes import Listing, SourceAnswer
from automata.api.wire import V1, Json
from automata.store.sync import AttemptRow, SourceRow, list_attempts, list_sources
from automata.sync.conditions import conditions

router = APIRouter(prefix=V1, tags=["sync"])


@router.get("/sync", responses={200: {"model": Listing[SourceAnswer]}})
async def index(request: Request) -> Response:
    """All sources; attempts newest first, at most 20 a source."""
    return Json({"items": await sources(Desk.of(request))})


async def sources(desk: Desk) -> list[dict[str, Any]]:
    """Every source as SourceAnswer says."""
    async with desk.db.connection() as conn:
        found = [(source, await list_attempts(conn, source.id)) for source in await list_sources(conn)]
    return [_source(source, attempts) for source, attempts in found]


def _source(source: SourceRow, attempts: list[AttemptRow]) -> dict[str, Any]:
    return {
        "id": source.id,
        "url": source.url,
        "path": source.path,
        "branch": source.branch,
        "environment": source.environment,
        "head_sha": source.head_sha,
        "synced_at": source.synced_at,
        "conditions": [condition.to_json() for condition in conditions(attempts)],
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _attempt(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "sha": attempt.sha,
        "status": attempt.status,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "plan": attempt.plan,
        "error": attempt.error,
    }
