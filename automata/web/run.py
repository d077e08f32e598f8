"""One run: its graph and timeline while it moves, each step with all that is known of it, and what may be done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from automata.access.principal import Role
from automata.engine.states import RUN_FINAL
from automata.errors import Conflict, Invalid, Missing
from automata.flow.changes import walk
from automata.flow.compile import compile_flow
from automata.flow.model import Flow
from automata.flow.plan import item_of
from automata.http.authorization import current_principal, needs
from automata.http.context import context_of
from automata.operations import runs
from automata.operations.approvals import list_approvals
from automata.operations.context import AppContext
from automata.operations.provenance import describe_origin
from automata.operations.run_secrets import run_mask
from automata.operations.runs import cancel_run, parse_run_id, read_run, retry_run
from automata.operations.tasks import list_run_tasks
from automata.store.approvals import ApprovalRow
from automata.store.flows import VersionRow, versions_by_id
from automata.store.provenance import version_origins
from automata.store.recordings import step_exchanges
from automata.store.runs import get_run
from automata.store.task_logs import list_logs
from automata.web.code import highlight_yaml, spec_yaml
from automata.web.forms import read_form
from automata.web.graph import picture
from automata.web.page import HEADERS, redirect_with_message, render
from automata.web.page import router as pages
from automata.web.timeline import timeline
from automata.web.watch import Watch

MAX_TASKS = 300  # of a page; the API has all
MAX_LOGS = 100
MAX_APPROVALS = 20
MAX_DEPTH = 3

router = pages(limits=True)


@router.get("/runs/{run_id}")
async def show(request: Request, run_id: str) -> Response:
    """A run as it is now, with its flow's graph; the page listens for changes."""
    context, id = context_of(request), parse_run_id(run_id)
    shown = await _live(context, id)
    version = await _version(context, shown["run"].version_id)
    async with context.db.connection() as conn:
        origin = (await version_origins(conn, [version.id]))[version.id]
    graph = picture(version.spec, shown["states"])
    return render(request, "run.html", **shown, graph=graph, version=version, provenance=describe_origin(origin))


@router.get("/runs/{run_id}/live")
async def live(request: Request, run_id: str) -> Response:
    """What changes by itself, for the page to put in its place."""
    return render(request, "run_live.html", **await _live(context_of(request), parse_run_id(run_id)))


@router.get("/runs/{run_id}/events")
async def events(request: Request, run_id: str) -> Response:
    """Says when to look again. 429 where too many watch."""
    context, watch = context_of(request), Watch.of(request)
    id = parse_run_id(run_id)
    watch.check_room()
    async with context.db.connection() as conn:
        await get_run(conn, id)
    headers = {**HEADERS, "X-Accel-Buffering": "no"}
    return StreamingResponse(watch.stream(id), headers=headers, media_type="text/event-stream")


@router.get("/runs/{run_id}/steps/{step:path}")
async def step(request: Request, run_id: str, step: str) -> Response:
    """All that is known of one step: alone in the page of a run, or as a page of its own."""
    context, id = context_of(request), parse_run_id(run_id)
    shown = await _step(context, id, step)
    inside = request.headers.get("hx-request") == "true"
    return render(request, "step_body.html" if inside else "step.html", **shown)


@router.post("/runs/{run_id}/cancel", dependencies=[needs(Role.OPERATOR, limits=True)])
async def cancel(request: Request, run_id: str) -> Response:
    """Ask for the run's end."""

    async def do(context: AppContext, id: UUID) -> str:
        await cancel_run(context, id)
        return "The run is asked to end."

    return await _done(request, run_id, do)


@router.post("/runs/{run_id}/retry", dependencies=[needs(Role.OPERATOR, limits=True)])
async def retry(request: Request, run_id: str) -> Response:
    """Have the run go on at what failed."""

    async def do(context: AppContext, id: UUID) -> str:
        await retry_run(context, id, str(current_principal(request)))
        return "The run goes on at what failed."

    return await _done(request, run_id, do)


@router.post("/runs/{run_id}/rerun", dependencies=[needs(Role.OPERATOR, limits=True)])
async def rerun(request: Request, run_id: str) -> Response:
    """A new run with these inputs, by the version that the form names."""
    form = await read_form(request)
    which, number = form.get("version", "same"), form.get("number", "").strip()
    if which == "number":
        if not number.isascii() or not number.isdigit() or len(number) > 9:
            raise Invalid("A version is a number.", pointer="/number")
        which = number
    if which not in ("same", "latest") and not which.isdigit():
        raise Invalid("The version is `same`, `latest` or a number.", pointer="/version")
    try:
        started = await runs.rerun(context_of(request), parse_run_id(run_id), which, by=str(current_principal(request)))
    except (Conflict, Invalid) as error:
        return redirect_with_message(request, f"/runs/{run_id}", str(error), bad=True)
    return redirect_with_message(request, f"/runs/{started.id}", f"Started again as version {started.version.number}.")


async def _done(request: Request, run_id: str, do: Callable[[AppContext, UUID], Awaitable[str]]) -> Response:
    """Back to the run, which says what was done or why not."""
    id = parse_run_id(run_id)
    try:
        message, bad = await do(context_of(request), id), False
    except Conflict as error:
        message, bad = str(error), True
    return redirect_with_message(request, f"/runs/{id}", message, bad=bad)


async def _live(context: AppContext, id: UUID) -> dict[str, Any]:
    detail = await read_run(context, id)
    run, over = detail.run, detail.run.status in RUN_FINAL
    tasks = await list_run_tasks(context, id, outputs=False, limit=MAX_TASKS)
    waiting: Sequence[ApprovalRow] = ()
    if not over:
        waiting = await list_approvals(context, MAX_APPROVALS, id)
    parents = {task["step"]: task["parent"] for task in tasks}
    indents = {step: _depth(step, parents) for step in parents}
    now = datetime.now(UTC)
    return {
        "run": run,
        "run_attempts": detail.attempts,
        "over": over,
        "waiting": waiting,
        "tasks": tasks,
        "more_tasks": len(tasks) >= MAX_TASKS,
        "depths": indents,
        "states": {task["step"]: str(task["status"]) for task in tasks if item_of(task["step"]) is None},
        "timeline": timeline(tasks, run.started_at or run.created_at, run.finished_at or now, indents),
        "now": now,
    }


def _depth(step: str, parents: Mapping[str, str | None]) -> int:
    depth, parent = 0, parents.get(step)
    while parent is not None and depth < MAX_DEPTH:
        depth, parent = depth + 1, parents.get(parent)
    return depth


async def _version(context: AppContext, id: UUID) -> VersionRow:
    async with context.db.connection() as conn:
        return (await versions_by_id(conn, [id]))[0]


async def _step(context: AppContext, id: UUID, step: str) -> dict[str, Any]:
    """Raises Missing for a step that the run's version does not have."""
    async with context.db.connection() as conn:
        run = await get_run(conn, id)
        version = await context.versions.get(run.version_id)
        if not version.has(step):
            raise Missing(f"The flow of this run has no step {step[:100]!r}.", hint="The run's page has them all.")
        row = (await versions_by_id(conn, [run.version_id]))[0]
        logs = await list_logs(conn, id, step=step, limit=MAX_LOGS)
        exchanges = await step_exchanges(conn, id, step)
    tasks = await list_run_tasks(context, id, step=step)
    mask = await run_mask(context, id)
    return {
        "run_id": id,
        "flow": run.flow_name,
        "step": step,
        "task": tasks[0] if tasks else None,
        "sent": _sent(tasks),
        "logs": [(log.attempt, mask(log.lines)) for log in logs.items],
        "exchanges": [(attempt, mask(found)) for attempt, found in exchanges],
        "config": _config(row.spec, step),
        "reads": _reads(id, row.spec, step),
    }


def _sent(tasks: Sequence[Mapping[str, Any]]) -> Any:
    """What was sent last, as the error keeps it."""
    error = tasks[0]["error"] if tasks else None
    return error.get("request") if isinstance(error, Mapping) else None


def _config(spec: Mapping[str, Any], step: str) -> Any:
    """The step as its file has it, without what is inside it."""
    item = item_of(step)
    step_id = item[0] if item else step
    step_spec = dict(walk(spec)).get(step_id)
    if step_spec is None:
        return None
    return highlight_yaml(spec_yaml({name: value for name, value in step_spec.items() if name != "branches"}))


def _reads(id: UUID, spec: Mapping[str, Any], step: str) -> list[tuple[str, str]]:
    """The steps whose outputs this one reads, with the addresses of their pages."""
    plan = compile_flow(Flow.from_spec(spec))
    try:
        names = sorted(plan.step(step).reads)
    except KeyError:
        return []
    return [(name, f"/runs/{id}/steps/{quote(name)}") for name in names if name in plan.steps]
