"""Runs: start, list, watch, cancel. Starting is the hot path: two shared round trips and no model of the answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Page
from automata.api.schemas.runs import RerunRequest, RetryRequest, RunAnswer, RunRequest, RunSummary
from automata.broker.contract import RUNS_FINISHED, RUNS_PENDING, Listener
from automata.engine.states import RUN_FINAL, RunStatus
from automata.errors import Busy, Conflict, Missing
from automata.flow.inputs import check_inputs
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.idempotency import KEY_PARAMETER, idempotency_key
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, Moment, Word, check_cursor, page_of
from automata.operations.context import AppContext
from automata.operations.lookups import Version, current_version
from automata.operations.masking import mask_inputs, masker
from automata.store.audit import Deed, no_entry, note
from automata.store.flows import FlowRow
from automata.store.queue import CreatedRun, NewRun, new_id, request_cancel
from automata.store.retries import RunAttemptRow, retry_run, run_attempts
from automata.store.runs import RunRow, get_run, list_runs

MAX_WAIT_SEC = 60
POLL_SEC = 1.0  # what a bell that was never rung costs a watcher
MAX_WATCHERS = 500  # each asks the database once a second
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
router = APIRouter(prefix=V1, tags=["runs"])

Wait = Annotated[float, Query(ge=0, le=MAX_WAIT_SEC, allow_inf_nan=False)]


@router.post(
    "/flows/{name}/runs",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=201,
    responses={200: {"model": RunAnswer}, 201: {"model": RunAnswer}},
    openapi_extra={**request_body(RunRequest, required=False), "parameters": [KEY_PARAMETER]},
)
async def create(request: Request, name: str, wait_sec: Wait = 0) -> Response:
    """Start a run. 201 means that it is committed and will run, whatever happens next; with `wait_sec` the answer
    comes as soon as it is finished, or after so many seconds as it is then."""
    desk = context_of(request)
    key = idempotency_key(request)
    asked = await read_model(request, RunRequest)
    begin = partial(start, desk, name, asked.inputs, asked.version, key=key, by=attribution(request, None))
    return await (_answer_at_end(desk, begin, wait_sec) if wait_sec else _answer(desk, await begin()))


@router.get("/runs", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[RunSummary]}})
async def index(
    request: Request,
    flow: FlowKey = None,
    status: Annotated[RunStatus | None, Query()] = None,
    trigger: Word = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Runs, the newest first; `since` is included, `until` is not."""
    async with context_of(request).db.connection() as conn:
        found = await list_runs(
            conn,
            flow=flow or None,
            status=status,
            trigger=trigger or None,
            since=since,
            until=until,
            after=check_cursor(cursor, 1),
            limit=limit,
        )
    return Json(page_of(found, [_summary(row) for row in found.items]))


@router.get("/runs/{run_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": RunAnswer}})
async def show(
    request: Request,
    run_id: str,
    wait_sec: Wait = 0,
) -> Response:
    """One run; with `wait_sec` the answer comes as soon as it is finished, or after so many seconds as it is then."""
    desk = context_of(request)
    id = run_id_of(run_id)
    if wait_sec:
        with _watcher(desk):
            return Json(await _as_answer(desk, await _until_finished(desk, id, wait_sec)))
    return Json(await run_of(desk, id))


@router.post(
    "/runs/{run_id}/cancel",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": RunAnswer}},
)
async def cancel(request: Request, run_id: str) -> Response:
    """Ask for a run's end; asking again is fine. 409 when it has ended in another way."""
    desk = context_of(request)
    id = run_id_of(run_id)
    return Json(await end(desk, id), 202)


@router.post(
    "/runs/{run_id}/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": RunAnswer}},
    openapi_extra=request_body(RetryRequest, required=False),
)
async def retry(request: Request, run_id: str) -> Response:
    """Have a FAILED or CANCELLED run go on at all that failed or was cancelled. 409 for any other."""
    desk = context_of(request)
    id = run_id_of(run_id)
    asked = await read_model(request, RetryRequest)
    await go_on(desk, id, attribution(request, asked.by))
    return Json(await run_of(desk, id), 202)


@router.post(
    "/runs/{run_id}/rerun",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=201,
    responses={200: {"model": RunAnswer}, 201: {"model": RunAnswer}},
    openapi_extra={**request_body(RerunRequest, required=False), "parameters": [KEY_PARAMETER]},
)
async def rerun(request: Request, run_id: str) -> Response:
    """Start a new run with the inputs of this one; `version` says by which version of the flow."""
    desk = context_of(request)
    key = idempotency_key(request)
    asked = await read_model(request, RerunRequest)
    return await _answer(
        desk, await start_again(desk, run_id_of(run_id), asked.version, key=key, by=attribution(request, None))
    )


def run_id_of(text: str) -> UUID:
    """Raises Missing for what is no run's id."""
    if not _ID.fullmatch(text):
        raise Missing(f"There is no run {text[:100]!r}.", hint="A run's id is a UUID.")
    return UUID(text)


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was asked for; `made.created` False: the same request made it before."""

    run: NewRun
    made: CreatedRun
    flow: FlowRow
    version: Version


async def start(
    desk: AppContext,
    name: str,
    inputs: Mapping[str, Any],
    number: int | None = None,
    *,
    key: str | None = None,
    by: str | None = None,
    trigger: str = "api",
    id: UUID | None = None,
) -> Started:
    """Start a run of a flow, by its current version for None. Raises Missing, Conflict, Invalid, Busy."""
    flow = await desk.flows.get(name)
    version = await version_of(desk, flow, number)
    checked = check_inputs(version.inputs, inputs)
    run = NewRun(flow.id, version.id, checked, trigger, id or new_id(), idempotency_key=key, created_by=by)
    no_entry()
    return Started(run, await desk.run_creator.create(run), flow, version)


async def start_again(
    desk: AppContext, id: UUID, which: str | int, *, key: str | None = None, by: str | None = None
) -> Started:
    """A new run with the inputs of this one; `which` is `same`, `latest` or a version's number."""
    async with desk.db.connection() as conn:
        origin = await get_run(conn, id)
    flow = await desk.flows.get(str(origin.flow_id))
    number = {"same": origin.version, "latest": None}.get(str(which), which)
    version = await version_of(desk, flow, int(number) if number is not None else None)
    inputs = check_inputs(version.inputs, origin.inputs or {})
    run = NewRun(flow.id, version.id, inputs, "rerun", idempotency_key=key, rerun_of=origin.id, created_by=by)
    no_entry()
    return Started(run, await desk.run_creator.create(run), flow, version)


async def go_on(desk: AppContext, id: UUID, by: str | None) -> None:
    """Retry all that failed or was cancelled in a run. Raises Missing, Conflict."""
    async with desk.db.transaction() as conn:
        reopened = await retry_run(conn, id, by)
        await note(conn, Deed("run.retry", f"run/{id}", None, {"attempt": reopened.attempt}))
    desk.broker.ring(RUNS_PENDING, [str(id)])


async def end(desk: AppContext, id: UUID) -> dict[str, Any]:
    """Ask for a run's end; the run as it is then. Raises Missing, Conflict when it ended in another way."""
    async with desk.db.transaction() as conn:
        active = await request_cancel(conn, [id])
        await note(conn, *(Deed("run.cancel", f"run/{one}") for one in active))
    desk.broker.ring(RUNS_PENDING, [str(id)])
    run = await run_of(desk, id)
    if not active and run["status"] != RunStatus.CANCELLED:
        raise Conflict(f"The run {id} is over: it {run['status']}.", code="run_finished")
    return run


async def version_of(desk: AppContext, flow: FlowRow, number: int | None) -> Version:
    """The version that a new run gets. Raises Missing, Conflict."""
    current = current_version(flow)
    if number is None or number == flow.current_number:
        return await desk.versions.get(current)
    return await desk.versions.numbered(flow, number)


async def _answer(desk: AppContext, started: Started) -> Response:
    headers = {"Location": f"{V1}/runs/{started.made.id}"}
    if not started.made.created:
        return Json(await run_of(desk, started.made.id), 200, headers=headers)
    return Json(_of_new(started), 201, headers=headers)


async def _answer_at_end(desk: AppContext, begin: Callable[..., Awaitable[Started]], wait_sec: float) -> Response:
    id = new_id()
    # Listening begins before there is a run, so it need not be looked at before the bell rings.
    with _watcher(desk), desk.broker.listen(RUNS_FINISHED, id=str(id)) as bell:
        started = await begin(id=id)
        if started.made.created:
            row = await _finished(desk, id, bell, wait_sec, fresh=True)
        else:
            row = await _until_finished(desk, started.made.id, wait_sec)
    headers = {"Location": f"{V1}/runs/{row.id}"}
    return Json(await _as_answer(desk, row), 201 if started.made.created else 200, headers=headers)


@contextmanager
def _watcher(desk: AppContext) -> Iterator[None]:
    if desk.watchers >= MAX_WATCHERS:
        raise Busy(f"{MAX_WATCHERS} requests wait for runs already.", hint="Ask without wait_sec.")
    desk.watchers += 1
    try:
        yield
    finally:
        desk.watchers -= 1


async def _until_finished(desk: AppContext, id: UUID, wait_sec: float) -> RunRow:
    """The run when it is finished, the time is up, or the server stops. Raises Missing."""
    # Listening begins before the first look: what rings in between is heard.
    with desk.broker.listen(RUNS_FINISHED, id=str(id)) as bell:
        return await _finished(desk, id, bell, wait_sec)


async def _finished(desk: AppContext, id: UUID, bell: Listener, wait_sec: float, *, fresh: bool = False) -> RunRow:
    """`fresh`: it cannot have ended before `bell` was heard for."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_sec
    if fresh and not desk.stopping.is_set():
        await bell.wait(min(POLL_SEC, wait_sec))
    while True:
        async with desk.db.connection() as conn:
            run = await get_run(conn, id)
        left = deadline - clock()
        if run.status in RUN_FINAL or left <= 0 or desk.stopping.is_set():
            return run
        await bell.wait(min(POLL_SEC, left))


async def run_of(desk: AppContext, id: UUID) -> dict[str, Any]:
    """As RunAnswer says, secrets masked. Raises Missing."""
    async with desk.db.connection() as conn:
        row = await get_run(conn, id)
    return await _as_answer(desk, row)


async def _as_answer(desk: AppContext, row: RunRow) -> dict[str, Any]:
    attempts: Sequence[RunAttemptRow] = []
    if row.attempt > 1:
        async with desk.db.connection() as conn:
            attempts = await run_attempts(conn, row.id)
    return _of_run(row, attempts, await desk.versions.get(row.version_id))


def _summary(row: RunRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "flow": row.flow_name,
        "flow_id": row.flow_id,
        "version": row.version,
        "status": row.status,
        "trigger": row.trigger,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "scheduled_for": row.scheduled_for,
        "attempt": row.attempt,
        "cancelling": row.cancelling,
        "commit_sha": row.commit_sha,
    }


def _of_run(row: RunRow, attempts: Sequence[RunAttemptRow], version: Version) -> dict[str, Any]:
    inputs = row.inputs or {}
    mask = masker(version.secrets, inputs)
    return _summary(row) | {
        "error": mask(row.error),
        "inputs": mask_inputs(version.secrets, inputs),
        "outputs": mask(row.outputs),
        "idempotency_key": row.idempotency_key,
        "schedule_id": row.schedule_id,
        "created_by": row.created_by,
        "rerun_of": row.rerun_of,
        "attempts": [asdict(one) | {"error": mask(one.error)} for one in attempts],
    }


def _of_new(started: Started) -> dict[str, Any]:
    """The run as it was a moment ago, without asking for it: nothing has happened to it yet."""
    run, made, flow, version = started.run, started.made, started.flow, started.version
    return {
        "id": made.id,
        "flow": flow.name,
        "flow_id": flow.id,
        "version": version.number,
        "status": RunStatus.PENDING,
        "trigger": run.trigger,
        "created_at": made.created_at,
        "started_at": None,
        "finished_at": None,
        "scheduled_for": None,
        "attempt": 1,
        "cancelling": False,
        "commit_sha": version.commit_sha,
        "error": None,
        "inputs": mask_inputs(version.secrets, run.inputs),
        "outputs": None,
        "idempotency_key": run.idempotency_key,
        "schedule_id": None,
        "created_by": run.created_by,
        "rerun_of": run.rerun_of,
        "attempts": [],
    }
