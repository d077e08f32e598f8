"""Proposals: the list, and one with what it means, what it changes, what its check found, and what is done about it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from fastapi import Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.errors import AutomataError, Conflict, Usage
from automata.flow.changes import CLASSES
from automata.http.authorization import acting_person, needs
from automata.http.context import context_of
from automata.http.errors import BadBody
from automata.http.query import Cursor, ProposalNumber, check_cursor
from automata.operations.proposal_list import list_proposals
from automata.proposals.content import FilePair
from automata.report.check import stage_lines
from automata.report.plan import hanging_words
from automata.store.live_state import production_flows
from automata.store.pagination import MAX_LIMIT
from automata.store.proposals import OPEN
from automata.web.forms import Form, read_form
from automata.web.graph import compared_picture
from automata.web.page import redirect_with_message, render
from automata.web.page import router as pages
from automata.web.query import link
from automata.web.side_by_side import rows
from automata.web.templating import plural, short

HERE = "/proposals"
SHOWN = 50
WAIT_SEC = 20.0  # for an apply: as long as its check is known, that is a second or two

router = pages()


@router.get(HERE)
async def index(request: Request, ended: bool = False, cursor: Cursor = None) -> Response:
    """The newest first; `ended` has those too that were applied, rejected or closed."""
    try:
        proposals, more = await list_proposals(
            context_of(request),
            acting_person(request),
            ended=ended,
            limit=SHOWN,
            cursor=check_cursor(cursor, 1, number=True),
        )
    except Usage as error:
        if error.code != "no_repository":
            raise
        return render(request, "proposals.html", proposals=[], ended=ended, next="", first="", no_repository=True)
    filters = {"ended": "1" if ended else None}
    return render(
        request,
        "proposals.html",
        proposals=[context_of(request).proposals.summary(facts) for facts in proposals],
        ended=ended,
        next=more and link(HERE, filters, cursor=more),
        first=link(HERE, filters) if cursor else "",
        no_repository=False,
    )


@router.get(f"{HERE}/{{number}}")
async def show(request: Request, number: ProposalNumber) -> Response:
    """What is so about it now, and what is to be done."""
    return render(request, "proposal.html", **await _head(request, number, ""))


@router.get(f"{HERE}/{{number}}/live")
async def live(request: Request, number: ProposalNumber) -> Response:
    """The part that moves while it is being checked."""
    return render(request, "proposal_live.html", **await _head(request, number, ""))


@router.get(f"{HERE}/{{number}}/meaning")
async def meaning(request: Request, number: ProposalNumber) -> Response:
    """Flow by flow what changes, whom it reaches, and the graph with what is new, changed and gone."""
    shown = await _head(request, number, "meaning")
    plan, trouble = await _plan(request, number, shown["one"])
    hanging = await _hanging(request, shown["source"], plan)
    flows = [
        {
            **flow,
            "picture": compared_picture(flow["graph"]),
            "now": hanging_words(hanging.get(flow["flow"])),
            "classes": [(kind, [item for item in flow["changes"] if item["kind"] == kind]) for kind in CLASSES],
        }
        for flow in (plan or {}).get("flows", ())
    ]
    return render(request, "proposal_meaning.html", **shown, flows=flows, trouble=trouble)


@router.get(f"{HERE}/{{number}}/files")
async def files(request: Request, number: ProposalNumber) -> Response:
    """Every file that it changes, side by side."""
    shown = await _head(request, number, "files")
    pairs, trouble = [], None
    try:
        async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
            pairs = await session.file_pairs(str(number))
    except Conflict as error:
        trouble = error
    compared = await asyncio.to_thread(lambda: [(pair, rows(pair.base, pair.head)) for pair in pairs])
    counted = [(pair, lines, _count(pair, lines or ())) for pair, lines in compared]
    return render(request, "proposal_files.html", **shown, files=counted, trouble=trouble)


# -- what is done about it -------------------------------------------------------------------------------------------


@router.post(f"{HERE}/{{number}}/submit", dependencies=[needs(Role.AUTHOR)])
async def submit(request: Request, number: ProposalNumber) -> Response:
    """Ask for a review."""

    async def do(_: Form) -> str:
        async with context_of(request).proposals.session(acting_person(request)) as session:
            await session.submit(str(number))
        return "It waits for a review."

    return await _done(request, number, do)


@router.post(f"{HERE}/{{number}}/close", dependencies=[needs(Role.AUTHOR)])
async def close(request: Request, number: ProposalNumber) -> Response:
    """End it without applying it."""

    async def do(_: Form) -> str:
        async with context_of(request).proposals.session(acting_person(request)) as session:
            await session.close(str(number))
        return "It is closed. Its branch stays."

    return await _done(request, number, do)


@router.post(f"{HERE}/{{number}}/check", dependencies=[needs(Role.AUTHOR)])
async def check(request: Request, number: ProposalNumber) -> Response:
    """Check the merge that it would be."""

    async def do(_: Form) -> str:
        await context_of(request).proposals.check(str(number), acting_person(request))
        return "It is being checked."

    return await _done(request, number, do)


@router.post(f"{HERE}/{{number}}/review", dependencies=[needs(Role.REVIEWER)])
async def review(request: Request, number: ProposalNumber) -> Response:
    """Yes or no to what was on the page: a head that is another now is refused."""

    async def do(form: Form) -> str:
        verdict = form.get("verdict", "")
        if verdict not in ("approve", "reject"):
            raise BadBody("The form says neither approve nor reject.", pointer="/verdict")
        approve, comment = verdict == "approve", form.get("comment", "").strip()
        async with context_of(request).proposals.session(acting_person(request)) as session:
            await session.review(str(number), approve=approve, comment=comment, head=form.get("head", ""))
        return "Approved." if approve else "Rejected, which ends it."

    return await _done(request, number, do)


@router.post(f"{HERE}/{{number}}/apply", dependencies=[needs(Role.REVIEWER)])
async def apply(request: Request, number: ProposalNumber) -> Response:
    """Merge and sync what was on the page."""

    async def do(form: Form) -> str:
        facts, synced = await context_of(request).proposals.apply(
            str(number), acting_person(request), WAIT_SEC, head=form.get("head", "")
        )
        if synced is None:
            return "It is being checked first; then it is applied."
        return f"Applied: {facts.base.branch} is at {short(facts.row.merge_sha or '')}, and the flows are synced."

    return await _done(request, number, do)


async def _done(request: Request, number: int, do: Callable[[Form], Awaitable[str]]) -> Response:
    """Back to the proposal, which says what was done or why not."""
    form, here = await read_form(request), f"{HERE}/{number}"
    try:
        return redirect_with_message(request, here, await do(form))
    except AutomataError as error:
        return redirect_with_message(request, here, str(error), bad=True)


# -- what is shown ---------------------------------------------------------------------------------------------------


async def _head(request: Request, number: int, tab: str) -> dict[str, Any]:
    path = f"{HERE}/{number}"
    async with context_of(request).proposals.session(acting_person(request), fresh=False) as session:
        facts = await session.find(str(number))
        obstacles = session.obstacles(facts)
    proposal = context_of(request).proposals.detail(facts)
    stages = (proposal["sandbox_result"] or {}).get("stages", ())
    return {
        "one": proposal,
        "path": path,
        "source": facts.row.source_id,
        "is_open": facts.row.state in OPEN,
        "obstacles": obstacles,
        "why": [trouble for trouble in (facts.trouble, facts.base.trouble) if trouble],
        "stages": [(stage, stage_lines(stage)) for stage in stages],
        "tabs": [
            ("Review", path, tab == ""),
            ("Meaning", f"{path}/meaning", tab == "meaning"),
            ("Files", f"{path}/files", tab == "files"),
        ],
    }


async def _plan(
    request: Request, number: int, proposal: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, AutomataError | None]:
    """What it means; what its last check made of that where it has ended."""
    if proposal["state"] in ("APPLIED", "REJECTED", "CLOSED"):
        stages = (proposal["sandbox_result"] or {}).get("stages", ())
        return next((stage["report"] for stage in stages if stage["name"] == "plan"), None), None
    try:
        return await context_of(request).proposals.plan(str(number), acting_person(request)), None
    except AutomataError as error:
        return None, error


async def _hanging(request: Request, source: UUID, plan: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """What hangs on each changed flow as it runs now."""
    names = [flow["flow"] for flow in (plan or {}).get("flows", ())][:MAX_LIMIT]
    if not names:
        return {}
    async with context_of(request).db.connection() as conn:
        page = await production_flows(conn, source, names=names, limit=MAX_LIMIT)
    return {
        flow.name: {"active_runs": flow.active_runs, "dead_letters": flow.dead_letters, "schedules": flow.schedules}
        for flow in page.items
    }


def _count(pair: FilePair, lines: Any) -> str:
    """`new file, 12 lines more`"""
    if pair.left_out:
        return ""
    more = sum(row.kind in ("added", "changed") for row in lines)
    less = sum(row.kind in ("removed", "changed") for row in lines)
    what = "new file" if pair.base is None else "taken away" if pair.head is None else "changed"
    words = [f"{plural(count, 'line')} {word}" for count, word in ((more, "added"), (less, "removed")) if count]
    return ", ".join([what, *words])
