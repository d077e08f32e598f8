"""Many runs in one request, for imports and backfills: written by one statement, each with a verdict of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.runs import version_of
from automata.api.schemas.runs_batch import RunBatch, RunBatchAnswer, RunOfBatch
from automata.errors import AutomataError, Diagnostic, Invalid, Unavailable
from automata.flow.inputs import check_inputs
from automata.http.authorization import attribution, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.idempotency import check_key_format
from automata.http.openapi import request_body
from automata.http.problem import errors_of
from automata.operations.context import AppContext
from automata.operations.lookups import Version
from automata.store.audit import no_entry
from automata.store.flows import FlowRow
from automata.store.queue import CreatedRun, NewRun

AT_A_STRETCH = 25  # inputs checked before others have their turn: a schema may take milliseconds
router = APIRouter(prefix=V1, tags=["runs"])

Asked = tuple[str, int | None]
Found = tuple[FlowRow, Version]


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
    desk = context_of(request)
    asked = await read_model(request, RunBatch)
    wanted = await _prepare(desk, asked.runs, attribution(request, None))
    no_entry()
    refused = {index: one for index, one in enumerate(wanted) if isinstance(one, AutomataError)}
    if asked.atomic and refused:
        raise _none_started(refused)
    given = [(index, one) for index, one in enumerate(wanted) if isinstance(one, NewRun)]
    made = await desk.run_creator.create_many([run for _, run in given], together=asked.atomic)
    answers: dict[int, CreatedRun | AutomataError] = refused | {
        index: one for (index, _), one in zip(given, made, strict=True)
    }
    if asked.atomic and (late := {n: one for n, one in answers.items() if isinstance(one, AutomataError)}):
        raise _none_started(late)
    return Json(_told([answers[index] for index in range(len(wanted))]))


async def _prepare(desk: AppContext, asked: Sequence[RunOfBatch], by: str | None) -> list[NewRun | AutomataError]:
    """Each as a run that may be written, or as what is wrong with it. Raises Unavailable."""
    flows: dict[Asked, Found | AutomataError] = {}
    for name, number in dict.fromkeys((one.flow, one.version) for one in asked):
        flows[name, number] = await _find(desk, name, number)
    prepared = []
    for index, one in enumerate(asked):
        if index % AT_A_STRETCH == AT_A_STRETCH - 1:
            await asyncio.sleep(0)
        prepared.append(_run_of(one, flows[one.flow, one.version], by))
    return prepared


async def _find(desk: AppContext, name: str, number: int | None) -> Found | AutomataError:
    try:
        flow = await desk.flows.get(name)
        return flow, await version_of(desk, flow, number)
    except Unavailable:
        raise
    except AutomataError as error:
        return error


def _run_of(one: RunOfBatch, found: Found | AutomataError, by: str | None) -> NewRun | AutomataError:
    if isinstance(found, AutomataError):
        return found
    flow, version = found
    try:
        if one.idempotency_key is not None:
            check_key_format(one.idempotency_key, "/idempotency_key")
        inputs = check_inputs(version.inputs, one.inputs)
    except Invalid as error:
        return error
    return NewRun(flow.id, version.id, inputs, "api", idempotency_key=one.idempotency_key, created_by=by)


def _none_started(refused: Mapping[int, AutomataError]) -> Invalid:
    found = [one for index, error in sorted(refused.items()) for one in _placed(index, error)]
    return Invalid(
        f"{len(refused)} of the runs cannot be started, so none was.",
        code="batch_refused",
        hint="Mend them, or leave `atomic` out to start the others.",
        diagnostics=found,
    )


def _placed(index: int, error: AutomataError) -> list[Diagnostic]:
    root = f"/runs/{index}"
    if not error.diagnostics:
        return [Diagnostic(error.code, error.message, pointer=f"{root}{error.pointer or ''}", suggestion=error.hint)]
    return [
        Diagnostic(one.code, one.message, pointer=f"{root}{one.pointer}", suggestion=one.suggestion)
        for one in error.diagnostics
    ]


def _told(answers: Sequence[CreatedRun | AutomataError]) -> dict[str, Any]:
    items = [_item(index, one) for index, one in enumerate(answers)]
    made = [one.created for one in answers if isinstance(one, CreatedRun)]
    return {
        "created": sum(made),
        "existing": len(made) - sum(made),
        "refused": len(answers) - len(made),
        "items": items,
    }


def _item(index: int, one: CreatedRun | AutomataError) -> dict[str, Any]:
    if isinstance(one, CreatedRun):
        return {"index": index, "id": one.id, "created": one.created, "error": None}
    error = {"code": one.code, "detail": one.message, "hint": one.hint, "errors": errors_of(one.diagnostics) or []}
    return {"index": index, "id": None, "created": False, "error": error}
