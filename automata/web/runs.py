"""The list of runs: filters in the address, pages by cursor, and what may be done to several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.auth import needs, who
from automata.api.desk import Desk
from automata.api.query import Cursor, FlowKey, Limit, Word, cursor_of
from automata.api.refusals import BadBody
from automata.api.runs import end_these, go_on_these, run_id_of
from automata.engine.states import RUN_FINAL, RunStatus
from automata.errors import Missing
from automata.store.pages import MAX_LIMIT, Page
from automata.store.runs import RunRow, list_runs
from automata.web.forms import read_form
from automata.web.page import lead_to, render
from automata.web.page import router as pages
from automata.web.query import Blank, Moment, link
from automata.web.templating import plural

TRIGGERS = ("api", "schedule", "webhook", "manual", "backfill", "rerun", "flow")

router = pages()


@router.get("/runs")
async def index(
    request: Request,
    flow: FlowKey = None,
    status: Annotated[RunStatus | None, Blank, Query()] = None,
    trigger: Word = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The newest first; `since` is included, `until` is not, both UTC where they name no zone."""
    filters = {"flow": flow, "status": status, "trigger": trigger, "since": since, "until": until}
    found: Page[RunRow] = Page([])
    trouble = None
    try:
        async with Desk.of(request).db.connection() as conn:
            wanted = {name: value or None for name, value in filters.items()}
            found = await list_runs(conn, **wanted, after=cursor_of(cursor, 1), limit=limit)  # type: ignore[arg-type]
    except Missing as error:  # a flow that is not there has no runs; the filter stays to be mended
        trouble = error
    more = {"limit": limit if limit != 50 else None}
    return render(
        request,
        "runs.html",
        runs=found.items,
        filters=filters,
        filtered=any(filters.values()),
        trouble=trouble,
        statuses=list(RunStatus),
        final=RUN_FINAL,
        triggers=TRIGGERS,
        next=found.next and link("/runs", filters, **more, cursor=found.next),
        first=link("/runs", filters, **more) if cursor else "",
        here=link("/runs", filters, **more, cursor=cursor),
    )


@router.post("/runs/selected", dependencies=[needs(Role.OPERATOR)])
async def selected(request: Request) -> Response:
    """Cancel or retry the runs that are ticked; those that are not in a state for it are left and counted."""
    form = await read_form(request)
    ids = _ids(form.all("run"))
    action, desk = form.get("action", ""), Desk.of(request)
    if action == "cancel":
        reached, done = await end_these(desk, ids), "asked to end"
    elif action == "retry":
        reached = await go_on_these(desk, ids, str(who(request)))
        done = "goes on" if len(reached) == 1 else "go on"
    else:
        raise BadBody("The form says neither cancel nor retry.", pointer="/action")
    left = len(ids) - len(reached)
    said = f"{plural(len(reached), 'run')} {done}." + (f" {left} could not: see their state." if left else "")
    return lead_to(request, _back(form.get("back", "")), said, bad=bool(ids) and not reached)


def _ids(given: Sequence[str]) -> list[UUID]:
    if not given:
        raise BadBody("No run is ticked.", code="nothing_chosen", hint="Tick runs in the list first.")
    if len(given) > MAX_LIMIT:
        raise BadBody(f"At most {MAX_LIMIT} runs at once.")
    return list(dict.fromkeys(run_id_of(one) for one in given))


def _back(path: str) -> str:
    """A list of runs and nothing else: the field comes from a browser."""
    return path if path.startswith("/runs?") and path.isprintable() and len(path) < 2000 else "/runs"
