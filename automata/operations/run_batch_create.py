"""Many runs started at once, for imports and backfills: written by one statement, each with an answer of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automata.engine.states import Trigger
from automata.errors import AutomataError, Diagnostic, Invalid, Unavailable
from automata.flow.inputs import check_inputs
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version
from automata.operations.idempotency import check_key_format
from automata.operations.runs import version_for_run
from automata.store.audit import skip_audit
from automata.store.flows import FlowRow
from automata.store.new_runs import CreatedRun, NewRun

CHECKS_IN_A_ROW = 25  # inputs checked before others have their turn: a schema may take milliseconds

FlowKey = tuple[str, int | None]
FlowAndVersion = tuple[FlowRow, Version]


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A run that is asked for: the flow's name or id, a version's number or None for the current one."""

    flow: str
    version: int | None
    inputs: Mapping[str, Any]
    idempotency_key: str | None


async def start_runs(
    context: AppContext, entries: Sequence[BatchEntry], *, atomic: bool, by: str | None
) -> list[CreatedRun | AutomataError]:
    """Start all that can be started in one transaction; the others' errors stand in their places.

    With `atomic` one error is enough to start none: raises Invalid (`batch_refused`). Raises Unavailable, Busy.
    """
    prepared = await _prepare(context, entries, by)
    skip_audit()
    _refuse_if(atomic, prepared)
    runs = [run for run in prepared if isinstance(run, NewRun)]
    created = iter(await context.run_creator.create_many(runs, together=atomic))
    answers = [next(created) if isinstance(run, NewRun) else run for run in prepared]
    _refuse_if(atomic, answers)
    return answers


def _refuse_if(atomic: bool, answers: Sequence[object]) -> None:
    refused = {index: error for index, error in enumerate(answers) if isinstance(error, AutomataError)}
    if atomic and refused:
        raise _none_started(refused)


async def _prepare(context: AppContext, entries: Sequence[BatchEntry], by: str | None) -> list[NewRun | AutomataError]:
    """Each as a run that may be written, or as what is wrong with it. Raises Unavailable."""
    flows: dict[FlowKey, FlowAndVersion | AutomataError] = {}
    for name, number in dict.fromkeys((entry.flow, entry.version) for entry in entries):
        flows[name, number] = await _find(context, name, number)
    prepared = []
    for index, entry in enumerate(entries):
        if index % CHECKS_IN_A_ROW == CHECKS_IN_A_ROW - 1:
            await asyncio.sleep(0)
        prepared.append(_run_of(entry, flows[entry.flow, entry.version], by))
    return prepared


async def _find(context: AppContext, name: str, number: int | None) -> FlowAndVersion | AutomataError:
    try:
        flow = await context.flows.get(name)
        return flow, await version_for_run(context, flow, number)
    except Unavailable:
        raise
    except AutomataError as error:
        return error


def _run_of(
    entry: BatchEntry, flow_and_version: FlowAndVersion | AutomataError, by: str | None
) -> NewRun | AutomataError:
    if isinstance(flow_and_version, AutomataError):
        return flow_and_version
    flow, version = flow_and_version
    try:
        if entry.idempotency_key is not None:
            check_key_format(entry.idempotency_key, "/idempotency_key")
        inputs = check_inputs(version.inputs, entry.inputs)
    except Invalid as error:
        return error
    return NewRun(flow.id, version.id, inputs, Trigger.API, idempotency_key=entry.idempotency_key, created_by=by)


def _none_started(refused: Mapping[int, AutomataError]) -> Invalid:
    diagnostics = [finding for index, error in sorted(refused.items()) for finding in _placed(index, error)]
    return Invalid(
        f"{len(refused)} of the runs cannot be started, so none was.",
        code="batch_refused",
        hint="Mend them, or leave `atomic` out to start the others.",
        diagnostics=diagnostics,
    )


def _placed(index: int, error: AutomataError) -> list[Diagnostic]:
    root = f"/runs/{index}"
    if not error.diagnostics:
        return [Diagnostic(error.code, error.message, pointer=f"{root}{error.pointer or ''}", suggestion=error.hint)]
    return [
        Diagnostic(finding.code, finding.message, pointer=f"{root}{finding.pointer}", suggestion=finding.suggestion)
        for finding in error.diagnostics
    ]
