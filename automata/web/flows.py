"""The list of flows."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.responses import Response

from automata.http.context import context_of
from automata.http.query import Cursor, Labels, Limit, check_cursor, parse_labels
from automata.store.flows import list_flows
from automata.store.overview import RecentRun, recent_runs
from automata.web.charts import Bar, spark
from automata.web.page import render
from automata.web.page import router as pages
from automata.web.query import WordField, link, paging

SPARKS = 12  # of the last runs of each flow

router = pages(limits=True)


@router.get("/flows")
async def index(
    request: Request,
    search: WordField = None,
    label: Labels = None,
    archived: bool = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Flows by name, each with its last runs."""
    labels = [label_text for label_text in label or () if label_text]
    async with context_of(request).db.connection() as conn:
        page = await list_flows(
            conn,
            search=search,
            labels=parse_labels(labels),
            archived=archived,
            after=check_cursor(cursor, 1),
            limit=limit,
        )
        marks = await recent_runs(conn, [row.id for row in page.items], SPARKS)
    filters = {"search": search, "label": labels, "archived": "true" if archived else None}
    shown: dict[str, Any] = {
        "flows": [(row, marks.get(row.id, []), bars(marks.get(row.id, []))) for row in page.items],
        "search": search or "",
        "labels": labels,
        "archived": archived,
        "without": {
            label: link("/flows", {**filters, "label": [other for other in labels if other != label]})
            for label in labels
        },
        **paging("/flows", filters, limit, cursor, page.next),
    }
    return render(request, "flows.html", **shown)


def bars(marks: list[RecentRun]) -> list[Bar]:
    """A flow's last runs as a small chart."""
    return spark([(mark.status, mark.seconds) for mark in marks], SPARKS)
