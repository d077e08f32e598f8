"""The flows that a source has made current, with what hangs on them: what `automata plan --live` compares with."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Page
from automata.api.schemas.sync import LiveAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.http.query import Cursor, Limit, check_cursor, page_of
from automata.store.live_state import production_flows
from automata.store.sync import get_source

router = APIRouter(prefix=V1, tags=["sync"])


@router.get("/sync/{source_id}/flows", responses={200: {"model": Page[LiveAnswer]}}, dependencies=[needs(Role.VIEWER)])
async def index(request: Request, source_id: UUID, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The current flows of a source by name: specs, variables, unfinished runs, open dead letters, schedules."""
    after = check_cursor(cursor, 1)
    async with context_of(request).db.connection() as conn:
        source = await get_source(conn, source_id)
        page = await production_flows(conn, source.id, after=after, limit=limit)
    return Json(page_of(page, [asdict(row) for row in page.items]))
