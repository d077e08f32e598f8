"""The log of changes, for admins."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.access import AuditAnswer
from automata.api.schemas.pages import Page
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.http.query import AuditObject, Cursor, Limit, Moment, Word, check_cursor, page_of
from automata.store.audit import AuditFilter, list_audit

router = APIRouter(prefix=V1, tags=["access"])


@router.get("/audit", dependencies=[needs(Role.ADMIN)], responses={200: {"model": Page[AuditAnswer]}})
async def index(
    request: Request,
    actor: Word = None,
    action: Word = None,
    object: AuditObject = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Who changed what, the newest first; an `action` that ends in a dot means all of its kind: `token.`."""
    filter = AuditFilter(actor, action, object, since, until)
    async with context_of(request).db.connection() as conn:
        page = await list_audit(conn, filter, after=check_cursor(cursor, 1, number=True), limit=limit)
    return Json(page_of(page, [asdict(row) for row in page.items]))
