"""Dead letters: the steps that failed for good, one by one or many at once tried again or discarded."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import Conflict, Missing
from automata.http.authorization import current_principal, needs
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.query import Cursor, Limit, check_cursor
from automata.operations.bulk import MAX_BULK, BulkResult
from automata.operations.deadletters import (
    Action,
    change_dead_letters,
    change_matching_dead_letters,
    discard_dead_letter,
    list_dead_letters,
    parse_letter_id,
    read_dead_letter,
    retry_dead_letter,
)
from automata.store.deadletters import DeadLetterFilter, count_open
from automata.store.pagination import Page
from automata.web.bulk import counted_at, list_address, redirect_after, run_batches, selected_ids, summary
from automata.web.forms import read_form
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.query import Blank, FlowField, Moment, WordField, link, paging

HERE = "/dead-letters"
STATES = ("open", "retried", "discarded", "all")
DONE: dict[Action, str] = {"retry": "will be tried again", "discard": "discarded"}
MEANS: dict[Action, str] = {
    "retry": "Their runs go on at these steps, by the version they began with, and so do the runs that waited for them."
    " What has succeeded is not done again.",
    "discard": "Their runs stay FAILED. A discarded letter cannot be tried again; its run can.",
}
RunId = Annotated[UUID | None, Blank, Query()]


def _filter(
    flow: FlowField = None, code: WordField = None, run_id: RunId = None, since: Moment = None, until: Moment = None
) -> DeadLetterFilter:
    """`since` is included, `until` is not, both UTC where they name no zone."""
    return DeadLetterFilter(flow or None, code or None, run_id, since, until)


FilterParam = Annotated[DeadLetterFilter, Depends(_filter)]
ActionParam = Annotated[Action, Query(alias="do")]

router = pages(limits=True)


@router.get(HERE)
async def index(
    request: Request,
    filter: FilterParam,
    state: Annotated[Literal["open", "retried", "discarded", "all", ""], Query()] = "open",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """The newest first, those that wait unless others are asked for."""
    state = state or "open"
    page: Page[dict[str, Any]] = Page([])
    trouble = None
    try:
        page = await list_dead_letters(context_of(request), filter, state, check_cursor(cursor, 1, number=True), limit)
    except Missing as error:  # a flow that is not there has no letters; the filter stays to be mended
        trouble = error
    filters = asdict(filter)
    shown = {**filters, "state": state if state != "open" else None}
    return render(
        request,
        "deadletters.html",
        letters=page.items,
        filters=filters,
        filtered=bool(filter) or state != "open",
        trouble=trouble,
        state=state,
        states=STATES,
        all={action: link(f"{HERE}/all", {"do": action, **filters}) for action in DONE},
        **paging(HERE, shown, limit, cursor, page.next),
    )


@router.get(f"{HERE}/all", dependencies=[needs(Role.OPERATOR, limits=True)])
async def ask(request: Request, do: ActionParam, filter: FilterParam, cursor: Cursor = None) -> Response:
    """How many open letters the filter finds, and whether they are meant."""
    filters = {**asdict(filter), "until": counted_at(filter.until)}
    async with context_of(request).db.connection() as conn:
        groups = await count_open(conn, filter)
    return render(
        request,
        "confirm.html",
        verb=do.capitalize(),
        thing="dead letter",
        crumb=(HERE, "Dead letters"),
        count=sum(group.count for group in groups),
        groups=[(group.flow, group.code, group.count) for group in groups],
        means=MEANS[do],
        danger=do == "discard",
        action=link(f"{HERE}/all", {"do": do, **filters, "cursor": cursor}),
        back=link(HERE, asdict(filter)),
    )


@router.post(f"{HERE}/all", dependencies=[needs(Role.OPERATOR, limits=True)])
async def settle_all(request: Request, do: ActionParam, filter: FilterParam, cursor: Cursor = None) -> Response:
    """Do it, the oldest first; asks again when there is more than one request may do."""
    context, by = context_of(request), str(current_principal(request))

    async def batch(after: str | None) -> BulkResult:
        checked = check_cursor(after, 1, number=True)
        return await change_matching_dead_letters(context, do, filter, checked, MAX_BULK, by)

    outcome = await run_batches(batch, cursor)
    again, back = {"do": do, **asdict(filter)}, link(HERE, {"flow": filter.flow, "code": filter.code})
    return redirect_after(request, outcome, outcome.message("dead letter", DONE[do]), f"{HERE}/all", again, back)


@router.post(f"{HERE}/selected", dependencies=[needs(Role.OPERATOR, limits=True)])
async def selected(request: Request) -> Response:
    """Retry or discard the letters that are ticked; those that are not in a state for it are left and counted."""
    form = await read_form(request)
    ids = [parse_letter_id(id) for id in selected_ids(form, "letter")]
    action = form.get("action", "")
    if action not in DONE:
        raise BadBody("The form says neither retry nor discard.", pointer="/action")
    result = await change_dead_letters(context_of(request), action, ids, str(current_principal(request)))
    words = summary(result.matched, result.done, "dead letter", DONE[action])
    return redirect_with_message(request, list_address(HERE, form.get("back", "")), words, bad=not result.done)


@router.get(f"{HERE}/{{letter_id}}")
async def show(request: Request, letter_id: str) -> Response:
    """One letter: why, what was sent last, and what can be done."""
    return render(
        request, "deadletter.html", letter=await read_dead_letter(context_of(request), parse_letter_id(letter_id))
    )


@router.post(f"{HERE}/{{letter_id}}/{{action}}", dependencies=[needs(Role.OPERATOR, limits=True)])
async def settle(request: Request, letter_id: str, action: Action) -> Response:
    """Back to the letter, which says what was done or why not."""
    context, id, by = context_of(request), parse_letter_id(letter_id), str(current_principal(request))
    try:
        if action == "retry":
            await retry_dead_letter(context, id, by)
        else:
            await discard_dead_letter(context, id, by)
    except Conflict as error:
        return redirect_with_message(request, f"{HERE}/{id}", str(error), bad=True)
    return redirect_with_message(
        request, f"{HERE}/{id}", "The run goes on at this step." if action == "retry" else "Discarded."
    )
