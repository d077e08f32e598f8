"""Many runs in one request, for imports and backfills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.run_batch_create import RunBatch, RunBatchAnswer
from automata.errors import AutomataError
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.problem import errors_of
from automata.operations.run_batch_create import BatchEntry, start_runs
from automata.store.new_runs import CreatedRun

router = APIRouter(prefix=V1, tags=["runs"])


@router.post(
    "/runs/batch",
    dependencies=[needs(Role.OPERATOR, limits=True)],
    responses={200: {"model": RunBatchAnswer}},
    openapi_extra=request_body(RunBatch),
)
async def create_batch(request: Request) -> Response:
    """Start up to 1,000 runs, all that can be started in one transaction.

    What cannot be started is told by its `index`, and holds up no other; with `atomic` nothing is started then, and the
    answer is a 422. 200 means that every run with an `id` is committed.
    """
    body = await read_model(request, RunBatch)
    entries = [BatchEntry(run.flow, run.version, run.inputs, run.idempotency_key) for run in body.runs]
    by = attribution(request, None)
    return Json(_answer(await start_runs(context_of(request), entries, atomic=body.atomic, by=by)))


def _answer(answers: Sequence[CreatedRun | AutomataError]) -> dict[str, Any]:
    created = [answer.created for answer in answers if isinstance(answer, CreatedRun)]
    return {
        "created": sum(created),
        "existing": len(created) - sum(created),
        "refused": len(answers) - len(created),
        "items": [_item(index, answer) for index, answer in enumerate(answers)],
    }


def _item(index: int, answer: CreatedRun | AutomataError) -> dict[str, Any]:
    if isinstance(answer, CreatedRun):
        return {"index": index, "id": answer.id, "created": answer.created, "error": None}
    findings = errors_of(answer.diagnostics) or []
    error = {"code": answer.code, "detail": answer.message, "hint": answer.hint, "errors": findings}
    return {"index": index, "id": None, "created": False, "error": error}
