"""Schedules that the API owns: created, changed and deleted; any schedule paused and resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID

from automata.errors import Invalid, Missing
from automata.flow.declared import check_declared
from automata.flow.findings import Findings, Positions
from automata.operations.context import AppContext
from automata.operations.flow_lookups import current_version
from automata.store import schedules as store
from automata.store.audit import AuditEvent, record_change
from automata.store.flows import FlowRow
from automata.store.ids import as_uuid
from automata.store.schedules import ScheduleRow, get_schedule

Spec = Mapping[str, Any]  # a schedule as a flow file has it


def parse_schedule_id(text: str) -> UUID:
    """Raises Missing for what is no schedule's id."""
    if (id := as_uuid(text)) is None:
        raise Missing(f"There is no schedule {text[:100]!r}.", hint="A schedule's id is a UUID.")
    return id


async def create_schedule(context: AppContext, flow_key: str, spec: Spec) -> ScheduleRow:
    """Add a schedule to the flow of this name or id. Raises Missing, Conflict, Invalid."""
    flow = await context.flows.get(flow_key)
    await _check(context, flow, spec)
    async with context.db.transaction() as conn:
        row = await store.create_schedule(conn, flow.id, dict(spec))
        await record_change(conn, AuditEvent("schedule.create", f"schedule/{row.id}", None, _facts(row)))
    return row


async def update_schedule(context: AppContext, schedule_id: str, flow_key: str, spec: Spec) -> ScheduleRow:
    """Change what a schedule says; its flow and name stay. Raises Missing, Conflict, Invalid."""
    async with context.db.connection() as conn:
        before = await get_schedule(conn, parse_schedule_id(schedule_id))
    if spec["name"] != before.name or flow_key not in (before.flow_name, str(before.flow_id)):
        pointer = "/name" if spec["name"] != before.name else "/flow"
        raise Invalid("A schedule keeps its flow and its name.", code="name_mismatch", pointer=pointer)
    await _check(context, await context.flows.get(str(before.flow_id)), spec)
    async with context.db.transaction() as conn:
        row = await store.update_schedule(conn, before.id, dict(spec))
        await record_change(conn, AuditEvent("schedule.update", f"schedule/{row.id}", _facts(before), _facts(row)))
    return row


async def pause_schedule(context: AppContext, schedule_id: str) -> ScheduleRow:
    """Switch a schedule off until it is resumed, or its lines in the file change. Raises Missing."""
    return await _enable(context, schedule_id, False)


async def resume_schedule(context: AppContext, schedule_id: str) -> ScheduleRow:
    """Switch a schedule on; what would have fired meanwhile is not made up for. Raises Missing."""
    return await _enable(context, schedule_id, True)


async def delete_schedule(context: AppContext, schedule_id: str) -> None:
    """Delete a schedule of the API; runs that it started stay. Raises Missing, Conflict."""
    async with context.db.transaction() as conn:
        row = await get_schedule(conn, parse_schedule_id(schedule_id))
        await store.delete_schedule(conn, row.id)
        await record_change(conn, AuditEvent("schedule.delete", f"schedule/{row.id}", _facts(row)))


async def _enable(context: AppContext, schedule_id: str, enabled: bool) -> ScheduleRow:
    async with context.db.transaction() as conn:
        before = await get_schedule(conn, parse_schedule_id(schedule_id))
        row = await store.enable_schedule(conn, before.id, enabled)
        verb = "resume" if enabled else "pause"
        await record_change(conn, AuditEvent(f"schedule.{verb}", f"schedule/{row.id}", _facts(before), _facts(row)))
        return row


def _facts(row: ScheduleRow) -> dict[str, Any]:
    """What of a schedule a change changes."""
    return {"flow": row.flow_name, "name": row.name, "enabled": row.enabled, **asdict(row.schedule)}


async def _check(context: AppContext, flow: FlowRow, spec: Spec) -> None:
    """Hold a schedule to the rules of those in flow files. Raises Invalid, Conflict."""
    version = await context.versions.get(current_version(flow))
    findings = Findings("", Positions())
    check_declared({"inputs": version.declared, "schedules": [spec]}, findings)
    root = "/schedules/0"
    errors = [
        replace(finding, pointer=finding.pointer.removeprefix(root))
        for finding in findings.done()
        if finding.severity == "error" and finding.pointer.startswith(root)
    ]
    if errors:
        first = errors[0]
        raise Invalid(
            f"The schedule is not valid: {first.message}.",
            code="invalid_schedule",
            hint=first.suggestion,
            pointer=first.pointer,
            diagnostics=errors,
        )
