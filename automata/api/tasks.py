"""A run's tasks: every step that has a state, placed so that a client can draw the tree."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.tasks import TaskAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.operations.runs import parse_run_id
from automata.operations.tasks import list_run_tasks

router = APIRouter(prefix=V1, tags=["runs"])


@router.get(
    "/runs/{run_id}/tasks",
    dependencies=[needs(Role.VIEWER, limits=True)],
    responses={200: {"model": Listing[TaskAnswer]}},
)
async def index(
    request: Request,
    run_id: str,
    outputs: Annotated[bool, Query(description="false leaves the outputs out: they may be large.")] = True,
) -> Response:
    """The tasks of a run in the order of its flow's file; `plan` is that place, `parent` the parallel around it."""
    return Json({"items": await list_run_tasks(context_of(request), parse_run_id(run_id), outputs=outputs)})
