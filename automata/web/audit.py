"""The log of changes: who did what, from where, with what was there before and after."""

from __future__ import annotations

import re
from dataclasses import asdict
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.http.context import context_of
from automata.http.query import Cursor, Limit, check_cursor
from automata.store.audit import AuditFilter, AuditRow, list_audit
from automata.web.page import render
from automata.web.page import router as pages
from automata.web.query import Moment, ObjectField, WordField, paging

HERE = "/audit"
_PAGES = {"flow": "/flows", "run": "/runs", "letter": "/dead-letters", "proposal": "/proposals"}
_THING = re.compile(r"([a-z]+)/([A-Za-z0-9._-]+)")

router = pages(least=Role.ADMIN)


@router.get(HERE)
async def index(
    request: Request,
    actor: WordField = None,
    action: WordField = None,
    object: ObjectField = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The newest first; an action that ends in a dot means all of its kind."""
    filter = AuditFilter(actor or None, action or None, object or None, since, until)
    async with context_of(request).db.connection() as conn:
        page = await list_audit(conn, filter, after=check_cursor(cursor, 1, number=True), limit=limit)
    filters = asdict(filter)
    return render(
        request,
        "audit.html",
        entries=[(row, page_of(row)) for row in page.items],
        filters=filters,
        filtered=any(filters.values()),
        **paging(HERE, filters, limit, cursor, page.next),
    )


def page_of(row: AuditRow) -> str:
    """The address of the page about what was changed, empty where there is none."""
    thing = _THING.fullmatch(row.object)
    return f"{_PAGES[thing[1]]}/{quote(thing[2])}" if thing and thing[1] in _PAGES else ""
