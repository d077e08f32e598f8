"""The list of runs: filters in the address, pages by cursor, and what may be done to several at once."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.engine.states import RUN_FINAL, RunStatus, Trigger
from automata.errors import Missing
from automata.http.authorization import current_principal, needs
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.query import Cursor, Limit, check_cursor
from automata.operations.bulk import MAX_BULK, BulkResult
from automata.operations.run_bulk_actions import CONTAINED, Action, change_matching_runs, change_runs
from automata.operations.runs import parse_run_id
from automata.store.pagination import Page
from automata.store.runs import RunFilter, RunRow, count_matching, decode_run_cursor, list_runs
from automata.web.bulk import counted_at, list_address, redirect_after, run_batches, selected_ids, summary
from automata.web.forms import read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.query import Blank, FlowField, Moment, TriggerField, link, paging

FIT: dict[Action, frozenset[RunStatus]] = {
    "retry": frozenset({RunStatus.FAILED, RunStatus.CANCELLED}),
    "cancel": frozenset({RunStatus.PENDING, RunStatus.RUNNING}),
}
DONE = {"retry": "will go on", "cancel": "asked to end"}
MEANS: dict[Action, str] = {
    "retry": "They go on where they failed or were cancelled, by the version they began with; what has succeeded is not"
    " done again.",
    "cancel": "Nothing further starts, and steps that run are told to stop. Nothing that was done is undone.",
}


def _filter(
    flow: FlowField = None,
    status: Annotated[RunStatus | None, Blank, Query()] = None,
    trigger: TriggerField = None,
    since: Moment = None,
    until: Moment = None,
) -> RunFilter:
    """`since` is included, `until` is not, both UTC where they name no zone."""
    return RunFilter(flow or None, status, trigger or None, since, until)


FilterParam = Annotated[RunFilter, Depends(_filter)]
ActionParam = Annotated[Action, Query()]

router = pages(limits=True)


@router.get("/runs")
async def index(
    request: Request,
    filter: FilterParam,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The newest first."""
    filters = asdict(filter)
    page: Page[RunRow] = Page([])
    trouble = None
    try:
        async with context_of(request).db.connection() as conn:
            page = await list_runs(conn, **filters, after=check_cursor(cursor, 1), limit=limit)
    except Missing as error:  # a flow that is not there has no runs; the filter stays to be mended
        trouble = error
    return render(
        request,
        "runs.html",
        runs=page.items,
        filters=filters,
        filtered=bool(filter),
        all={
            do: link("/runs/all", {"do": do, **filters}) for do in FIT if not filter.status or filter.status in FIT[do]
        },
        trouble=trouble,
        statuses=list(RunStatus),
        final=RUN_FINAL,
        triggers=list(Trigger),
        **paging("/runs", filters, limit, cursor, page.next),
    )


@router.post("/runs/selected", dependencies=[needs(Role.OPERATOR, limits=True)])
async def selected(request: Request) -> Response:
    """Cancel or retry the runs that are ticked; those that are not in a state for it are left and counted."""
    form = await read_form(request)
    ids = [parse_run_id(id) for id in selected_ids(form, "run")]
    action = form.get("action", "")
    if action not in FIT:
        raise BadBody("The form says neither cancel nor retry.", pointer="/action")
    result = await change_runs(context_of(request), action, ids, str(current_principal(request)))
    words = summary(result.matched, result.done, "run", DONE[action])
    return redirect_with_message(request, list_address("/runs", form.get("back", "")), words, bad=not result.done)


@router.get("/runs/all", dependencies=[needs(Role.OPERATOR, limits=True)])
async def ask(request: Request, do: ActionParam, filter: FilterParam, cursor: Cursor = None) -> Response:
    """How many runs the filter finds that this can be done to, and whether they are meant."""
    chosen = _fit(do, filter)
    below = decode_run_cursor(check_cursor(cursor, 1))
    async with context_of(request).db.connection() as conn:
        counts = await count_matching(conn, chosen, below, contained=CONTAINED[do])
    filters = {**asdict(filter), "until": counted_at(filter.until)}
    kind = chosen.status.lower() if chosen.status else "not finished"
    return render(
        request,
        "confirm.html",
        verb=do.capitalize(),
        thing="run",
        crumb=("/runs", "Runs"),
        count=sum(counts.values()),
        groups=[(flow, kind, count) for flow, count in counts.items()],
        means=MEANS[do],
        danger=do == "cancel",
        action=link("/runs/all", {"do": do, **filters, "cursor": cursor}),
        back=link("/runs", asdict(filter)),
    )


@router.post("/runs/all", dependencies=[needs(Role.OPERATOR, limits=True)])
async def do_all(request: Request, do: ActionParam, filter: FilterParam, cursor: Cursor = None) -> Response:
    """Do it, the newest first; asks again when there is more than one request may do."""
    context, by, chosen = context_of(request), str(current_principal(request)), _fit(do, filter)

    async def batch(after: str | None) -> BulkResult:
        return await change_matching_runs(context, do, chosen, check_cursor(after, 1), MAX_BULK, by)

    outcome = await run_batches(batch, cursor)
    again, back = {"do": do, **asdict(filter)}, link("/runs", {"flow": filter.flow, "trigger": filter.trigger})
    return redirect_after(request, outcome, outcome.message("run", DONE[do]), "/runs/all", again, back)


def _fit(do: Action, filter: RunFilter) -> RunFilter:
    """The runs among those of the filter that this can be done to. Raises BadBody where there can be none."""
    if filter.status and filter.status not in FIT[do]:
        raise BadBody(f"A run that is {filter.status} cannot be {'cancelled' if do == 'cancel' else 'retried'}.")
    return replace(filter, status=filter.status or (RunStatus.FAILED if do == "retry" else None))
