"""The first page: what runs, what fails, what comes next, and whether all parts are well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from cachetools import LRUCache
from fastapi import Query, Request
from starlette.responses import Response

from automata.caching import StaleWhileRevalidate
from automata.http.context import context_of
from automata.operations.context import AppContext
from automata.operations.sources import read_sources
from automata.store.database import Database
from automata.store.flow_visibility import as_viewer, viewer_labels
from automata.store.overview import (
    MAX_COUNTED,
    FlowFailures,
    LaneDepth,
    count_flows,
    count_runs,
    failing_flows,
    open_approvals,
    open_letters,
    queue_depth,
)
from automata.store.processes import Process, list_processes
from automata.store.schedules import ScheduleRow, next_schedules
from automata.web.charts import Stack, stack
from automata.web.page import render
from automata.web.page import router as pages

FRESH_SEC, STALE_SEC = 5.0, 60.0  # of the counts: read again past the first, never shown past the second
SPANS = {"1h": (60, 60), "24h": (3600, 24), "7d": (6 * 3600, 28)}  # seconds of a bucket, buckets
SHOWN_FIRES, SHOWN_FAILING = 8, 8
WORKER = "worker"  # among the parts of a process
MAX_COUNTS = 300  # figures that are kept: of each span for each limit
Span = Annotated[Literal["1h", "24h", "7d"], Query()]

router = pages(limits=True)


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted for one span. `letters` and `approvals` are at most MAX_LETTERS + 1."""

    since: datetime
    chart: Stack
    totals: Mapping[str, int]
    failing_flows: Sequence[FlowFailures]
    depths: Sequence[LaneDepth]
    letters: int
    approvals: int
    flows: int
    taken_at: datetime


class Counts:
    """The figures of each span, read once for all who look and are limited to the same flows, or to none."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: LRUCache[tuple[str, str | None], StaleWhileRevalidate[Figures]] = LRUCache(MAX_COUNTS)

    async def get(self, span: str) -> Figures:
        """Of the flows that whoever asks knows of. Raises Unavailable."""
        key = (span, viewer_labels())
        if key not in self._known:
            self._known[key] = StaleWhileRevalidate(lambda: self._read(*key), FRESH_SEC, STALE_SEC)
        return await self._known[key].get()

    async def _read(self, span: str, limit: str | None) -> Figures:
        with as_viewer(limit):
            return await read_figures(self._db, *SPANS[span])


async def read_figures(db: Database, bucket_sec: int, buckets: int) -> Figures:
    """The counts of one span, as they are now. Raises Unavailable."""
    now = datetime.now(UTC)
    # Whole buckets of the clock, so that a column does not change its meaning while one looks.
    end = (int(now.timestamp()) // bucket_sec + 1) * bucket_sec
    since = datetime.fromtimestamp(end - bucket_sec * buckets, UTC)
    async with db.connection() as conn:
        counts = await count_runs(conn, since, bucket_sec)
        worst = await failing_flows(conn, since, SHOWN_FAILING)
        depths = await queue_depth(conn)
        letters, approvals = await open_letters(conn), await open_approvals(conn)
        flows = await count_flows(conn)
    columns: list[dict[str, int]] = [{} for _ in range(buckets)]
    totals: dict[str, int] = {}
    for count in counts:
        column = columns[min(count.bucket, buckets - 1)]
        column[count.status] = column.get(count.status, 0) + count.count
        totals[count.status] = totals.get(count.status, 0) + count.count
    chart = stack(columns, since, timedelta(seconds=bucket_sec))
    return Figures(since, chart, totals, worst, depths, letters, approvals, flows, now)


@router.get("/")
async def index(request: Request, span: Span = "24h") -> Response:
    """The first page; `span` is what its chart covers."""
    return render(request, "overview.html", **await _shown(request, span))


@router.get("/overview/live")
async def live(request: Request, span: Span = "24h") -> Response:
    """What changes by itself, for the page to put in its place."""
    return render(request, "overview_live.html", **await _shown(request, span))


async def _shown(request: Request, span: str) -> dict[str, Any]:
    context = context_of(request)
    whole = viewer_labels() is None
    figures, fires, synced, processes = await asyncio.gather(
        _counts(request, context).get(span),
        _fires(context.db),
        read_sources(context) if whole else _nothing(),
        _processes(context.db) if whole else _nothing(),
    )
    return {
        "whole": whole,
        "span": span,
        "spans": list(SPANS),
        "figures": figures,
        "most_letters": MAX_COUNTED,
        "fires": fires,
        "sources": synced,
        "processes": processes,
        "workers": sum(process.alive and WORKER in process.parts for process in processes),
        "troubles": {name: trouble for name, trouble in context.health().items() if trouble and whole},
    }


def _counts(request: Request, context: AppContext) -> Counts:
    state = request.app.state
    if not hasattr(state, "console_counts"):
        state.console_counts = Counts(context.db)
    counts: Counts = state.console_counts
    return counts


async def _nothing() -> list[Any]:
    return []


async def _processes(db: Database) -> list[Process]:
    async with db.connection() as conn:
        return await list_processes(conn)


async def _fires(db: Database) -> list[ScheduleRow]:
    async with db.connection() as conn:
        return await next_schedules(conn, SHOWN_FIRES)
