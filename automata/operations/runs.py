"""One run: start, read, cancel, retry, rerun. Starting is the hot path: two shared round trips."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from automata.broker.contract import RUNS_PENDING
from automata.engine.states import RunStatus, Trigger
from automata.errors import Conflict, Missing
from automata.flow.inputs import check_inputs
from automata.flow.kept import changed_steps, first_changed
from automata.flow.model import Flow
from automata.operations.context import AppContext
from automata.operations.flow_lookups import Version, current_version
from automata.operations.masking import mask_inputs
from automata.operations.run_secrets import run_mask, shown_outputs
from automata.store import run_retries
from automata.store.audit import AuditEvent, record_change, skip_audit
from automata.store.database import Connection
from automata.store.flows import FlowRow, versions_by_id
from automata.store.ids import new_id
from automata.store.new_runs import CreatedRun, NewRun
from automata.store.orchestrator_queue import request_cancel
from automata.store.run_retries import RunAttemptRow, run_attempts
from automata.store.run_tasks import list_tasks
from automata.store.runs import RunRow, get_run

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass(frozen=True, slots=True)
class RunDetail:
    """A run with its earlier attempts, as both may be shown: secrets are masked in `run` and `attempts`."""

    run: RunRow
    attempts: Sequence[RunAttemptRow] = ()


@dataclass(frozen=True, slots=True)
class StartedRun:
    """A run that was asked for; `created` False: an earlier request with the same key started it."""

    id: UUID
    created: bool
    request: NewRun
    answer: CreatedRun
    flow: FlowRow
    version: Version

    def detail(self) -> RunDetail:
        """The run as it was when it was written, without a read: nothing has happened to it yet."""
        return RunDetail(_new_run_row(self.request, self.answer, self.flow, self.version))


def parse_run_id(text: str) -> UUID:
    """Raises Missing for what is no run's id."""
    if not _ID.fullmatch(text):
        raise Missing(f"There is no run {text[:100]!r}.", hint="A run's id is a UUID.")
    return UUID(text)


async def start_run(
    context: AppContext,
    name: str,
    inputs: Mapping[str, Any],
    number: int | None = None,
    *,
    key: str | None = None,
    by: str | None = None,
    trigger: Trigger = Trigger.API,
    id: UUID | None = None,
) -> StartedRun:
    """Start a run of a flow, by its current version for None. Raises Missing, Conflict, Invalid, Busy."""
    flow = await context.flows.get(name)
    version = await version_for_run(context, flow, number)
    checked = check_inputs(version.inputs, inputs)
    run = NewRun(flow.id, version.id, checked, trigger, id or new_id(), idempotency_key=key, created_by=by)
    return await _create(context, run, flow, version)


async def rerun(
    context: AppContext, id: UUID, which: str | int, *, key: str | None = None, by: str | None = None
) -> StartedRun:
    """A new run with the inputs of this one; `which` is `same`, `latest` or a version's number.

    Raises Missing, Conflict, Invalid, Busy.
    """
    async with context.db.connection() as conn:
        origin = await get_run(conn, id)
    flow = await context.flows.get(str(origin.flow_id))
    number = {"same": origin.version, "latest": None}.get(str(which), which)
    version = await version_for_run(context, flow, int(number) if number is not None else None)
    inputs = check_inputs(version.inputs, origin.inputs or {})
    run = NewRun(flow.id, version.id, inputs, Trigger.RERUN, idempotency_key=key, rerun_of=origin.id, created_by=by)
    return await _create(context, run, flow, version)


async def retry_run(context: AppContext, id: UUID, by: str | None, which: str | int = "same") -> None:
    """Retry all that failed or was cancelled in a run; `which` is `same`, `latest` or a version's number.

    Raises Missing, Conflict, Invalid, Busy; Conflict `version_differs` where a step that is kept means something else.
    """
    version = None if which == "same" else await _version_to_go_on_by(context, id, which)
    async with context.db.transaction() as conn:
        reopened = await run_retries.retry_run(conn, id, by)
        outcome = {"attempt": reopened.attempt}
        if version is not None:
            await _use_version(conn, id, version)
            outcome["version"] = version.number
        await record_change(conn, AuditEvent("run.retry", f"run/{id}", None, outcome))
    context.broker.notify(RUNS_PENDING, [str(id)])


async def _version_to_go_on_by(context: AppContext, id: UUID, which: str | int) -> Version:
    async with context.db.connection() as conn:
        run = await get_run(conn, id)
    flow = await context.flows.get(str(run.flow_id))
    return await version_for_run(context, flow, None if which == "latest" else int(which))


async def _use_version(conn: Connection, id: UUID, version: Version) -> None:
    """The run was reopened in this transaction, so what it has of steps now is what it keeps."""
    run = await get_run(conn, id)
    kept = [task.step for task in await list_tasks(conn, id, outputs=False)]
    specs = {row.id: row.spec for row in await versions_by_id(conn, [run.version_id, version.id])}
    changed = changed_steps(Flow.from_spec(specs[run.version_id]), Flow.from_spec(specs[version.id]))
    if (step := first_changed(changed, kept)) is not None:
        raise Conflict(
            f"The run {id} keeps the results of its step `{step}` from version {run.version}; version"
            f" {version.number} has another step there, or none.",
            code="version_differs",
            hint="`automata run rerun` starts a new run from the first step.",
            details={"step": step, "version": version.number},
        )
    await run_retries.use_version(conn, id, version.id, check_inputs(version.inputs, run.inputs or {}), changed)


async def cancel_run(context: AppContext, id: UUID) -> RunDetail:
    """Ask for a run's end; the run as it is then. Raises Missing, Conflict when it ended in another way."""
    async with context.db.transaction() as conn:
        active = await request_cancel(conn, [id])
        await record_change(conn, *(AuditEvent("run.cancel", f"run/{run_id}") for run_id in active))
    context.broker.notify(RUNS_PENDING, [str(id)])
    detail = await read_run(context, id)
    if not active and detail.run.status != RunStatus.CANCELLED:
        raise Conflict(f"The run {id} is over: it {detail.run.status}.", code="run_finished")
    return detail


async def read_run(context: AppContext, id: UUID) -> RunDetail:
    """Raises Missing."""
    async with context.db.connection() as conn:
        row = await get_run(conn, id)
    return await run_detail(context, row)


async def run_detail(context: AppContext, row: RunRow) -> RunDetail:
    """What a row and the attempts before its last one show."""
    attempts: Sequence[RunAttemptRow] = ()
    if row.attempt > 1:
        async with context.db.connection() as conn:
            attempts = await run_attempts(conn, row.id)
    version = await context.versions.get(row.version_id)
    mask = await run_mask(context, row.id)
    inputs = mask_inputs(version.secrets, row.inputs or {})
    outputs = mask(shown_outputs(version, "", row.outputs))
    masked = replace(row, error=mask(row.error), inputs=inputs, outputs=outputs)
    return RunDetail(masked, [replace(attempt, error=mask(attempt.error)) for attempt in attempts])


async def version_for_run(context: AppContext, flow: FlowRow, number: int | None) -> Version:
    """The version that a new run gets. Raises Missing, Conflict."""
    current = current_version(flow)
    if number is None or number == flow.current_number:
        return await context.versions.get(current)
    return await context.versions.numbered(flow, number)


async def _create(context: AppContext, run: NewRun, flow: FlowRow, version: Version) -> StartedRun:
    skip_audit()
    answer = await context.run_creator.create(run)
    return StartedRun(answer.id, answer.created, run, answer, flow, version)


def _new_run_row(run: NewRun, answer: CreatedRun, flow: FlowRow, version: Version) -> RunRow:
    return RunRow(
        id=answer.id,
        flow_id=flow.id,
        flow_name=flow.name,
        version_id=version.id,
        version=version.number,
        commit_sha=version.commit_sha,
        status=RunStatus.PENDING,
        cancelling=False,
        trigger=run.trigger,
        created_at=answer.created_at,
        created_by=run.created_by,
        started_at=None,
        finished_at=None,
        attempt=1,
        rerun_of=run.rerun_of,
        parent_run_id=None,
        parent_step=None,
        schedule_id=None,
        scheduled_for=None,
        idempotency_key=run.idempotency_key,
        error=None,
        inputs=mask_inputs(version.secrets, run.inputs),
    )
