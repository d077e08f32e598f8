"""Runs: start, list, watch, cancel, retry, rerun. A run that starts is answered without a model: it is the hot path."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.pages import Page
from automata.api.schemas.runs import RerunRequest, RunAnswer, RunRequest, RunRetryRequest, RunSummary
from automata.engine.states import RunStatus
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.idempotency import KEY_PARAMETER, idempotency_key
from automata.http.openapi import request_body
from automata.http.query import Cursor, FlowKey, Limit, Moment, StartedBy, check_cursor, page_of
from automata.operations import runs
from automata.operations.context import AppContext
from automata.operations.run_waiting import start_and_wait, wait_for_run
from automata.operations.runs import RunDetail, StartedRun, cancel_run, parse_run_id, read_run, retry_run, start_run
from automata.store.runs import list_runs

MAX_WAIT_SEC = 60
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
    context = context_of(request)
    key = idempotency_key(request)
    body = await read_model(request, RunRequest)
    start = partial(start_run, context, name, body.inputs, body.version, key=key, by=attribution(request, None))
    if not wait_sec:
        return await _started(context, await start())
    started, detail = await start_and_wait(context, start, wait_sec)
    return _created(started, detail)


@router.get("/runs", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[RunSummary]}})
async def index(
    request: Request,
    flow: FlowKey = None,
    status: Annotated[RunStatus | None, Query()] = None,
    trigger: StartedBy = None,
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Runs, the newest first; `since` is included, `until` is not."""
    async with context_of(request).db.connection() as conn:
        page = await list_runs(
            conn,
            flow=flow,
            status=status,
            trigger=trigger,
            since=since,
            until=until,
            after=check_cursor(cursor, 1),
            limit=limit,
        )
    return Json(page_of(page, [run_summary(row) for row in page.items]))


@router.get("/runs/{run_id}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": RunAnswer}})
async def show(
    request: Request,
    run_id: str,
    wait_sec: Wait = 0,
) -> Response:
    """One run; with `wait_sec` the answer comes as soon as it is finished, or after so many seconds as it is then."""
    context, id = context_of(request), parse_run_id(run_id)
    detail = await (wait_for_run(context, id, wait_sec) if wait_sec else read_run(context, id))
    return Json(run_answer(detail))


@router.post(
    "/runs/{run_id}/cancel",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": RunAnswer}},
)
async def cancel(request: Request, run_id: str) -> Response:
    """Ask for a run's end; asking again is fine. 409 when it has ended in another way."""
    return Json(run_answer(await cancel_run(context_of(request), parse_run_id(run_id))), 202)


@router.post(
    "/runs/{run_id}/retry",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=202,
    responses={202: {"model": RunAnswer}},
    openapi_extra=request_body(RunRetryRequest, required=False),
)
async def retry(request: Request, run_id: str) -> Response:
    """Have a FAILED or CANCELLED run go on at all that failed or was cancelled. 409 for any other."""
    context, id = context_of(request), parse_run_id(run_id)
    body = await read_model(request, RunRetryRequest)
    await retry_run(context, id, attribution(request, body.by), body.version)
    return Json(run_answer(await read_run(context, id)), 202)


@router.post(
    "/runs/{run_id}/rerun",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    status_code=201,
    responses={200: {"model": RunAnswer}, 201: {"model": RunAnswer}},
    openapi_extra={**request_body(RerunRequest, required=False), "parameters": [KEY_PARAMETER]},
)
async def rerun(request: Request, run_id: str) -> Response:
    """Start a new run with the inputs of this one; `version` says by which version of the flow."""
    context = context_of(request)
    key = idempotency_key(request)
    body = await read_model(request, RerunRequest)
    by = attribution(request, None)
    return await _started(context, await runs.rerun(context, parse_run_id(run_id), body.version, key=key, by=by))


run_summary = answer_from(RunSummary, flow="flow_name")
_of_run = answer_from(RunAnswer, without={"attempts"}, flow="flow_name")


def run_answer(detail: RunDetail) -> dict[str, Any]:
    """As RunAnswer says."""
    return _of_run(detail.run) | {"attempts": [asdict(attempt) for attempt in detail.attempts]}


async def _started(context: AppContext, started: StartedRun) -> Response:
    return _created(started, started.detail() if started.created else await read_run(context, started.id))


def _created(started: StartedRun, detail: RunDetail) -> Response:
    headers = {"Location": f"{V1}/runs/{started.id}"}
    return Json(run_answer(detail), 201 if started.created else 200, headers=headers)
