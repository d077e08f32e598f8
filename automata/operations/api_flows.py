"""Flows that the API itself owns: checked, created, changed and archived."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Any

from automata.errors import Conflict, Diagnostic, Invalid
from automata.flow.check import Types
from automata.flow.load import ParsedFlow, validate_text
from automata.flow.model import Flow
from automata.flow.steptypes import BUILTIN_TYPES
from automata.operations.context import AppContext
from automata.operations.flow_lookups import check_key
from automata.steps.registry import load_types
from automata.store.audit import AuditEvent, record_change
from automata.store.flows import FlowRow, PutResult, archive_api_flow, known_flow, put_api_flow


async def create_flow(context: AppContext, flow: Flow) -> PutResult:
    """Raises Conflict when the name is taken."""
    async with context.db.transaction() as conn:
        put = await put_api_flow(conn, flow)
        await record_change(conn, AuditEvent("flow.create", f"flow/{flow.name}", None, _facts(put.flow)))
        if not put.created:  # and what was written is rolled back
            raise Conflict(
                f"There is a flow {flow.name!r} already.",
                code="flow_exists",
                hint=f"Change it with PUT /api/v1/flows/{flow.name}.",
            )
    return put


async def put_flow(context: AppContext, flow: Flow) -> PutResult:
    """Create or change a flow; the same content again makes no version. Raises Conflict for a flow of Git."""
    async with context.db.transaction() as conn:
        before = await known_flow(conn, flow.name)
        put = await put_api_flow(conn, flow)
        action = "flow.update" if before else "flow.create"
        await record_change(conn, AuditEvent(action, f"flow/{flow.name}", before and _facts(before), _facts(put.flow)))
    return put


async def archive_flow(context: AppContext, name: str) -> FlowRow:
    """Take a flow out of use; its history stays. Raises Missing, Conflict."""
    check_key(name)
    async with context.db.transaction() as conn:
        before = await known_flow(conn, name)
        archived = await archive_api_flow(conn, name)
        await record_change(
            conn, AuditEvent("flow.archive", f"flow/{archived.name}", before and _facts(before), _facts(archived))
        )
        return archived


async def check_flow(context: AppContext, body: bytes | str) -> Flow:
    """The flow of a file's text; raises Invalid with every finding."""
    loaded = await _loaded(context, body)
    if loaded.flow is None:
        raise _invalid_flow(loaded.diagnostics)
    return loaded.flow


async def check_text(context: AppContext, text: str) -> Sequence[Diagnostic]:
    """All that can be said about a file's text, warnings too."""
    return (await _loaded(context, text)).diagnostics


async def _loaded(context: AppContext, text: bytes | str) -> ParsedFlow:
    # In a thread: checking the largest flow takes a second or two, in which others want answers.
    async with context.checks:
        return await asyncio.to_thread(validate_text, text, "", plugin_types())


def _invalid_flow(diagnostics: Sequence[Diagnostic]) -> Invalid:
    errors = [diagnostic for diagnostic in diagnostics if diagnostic.severity == "error"]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Invalid(
        f"The flow is not valid: {errors[0].message}{more}.",
        code="invalid_flow",
        hint=errors[0].suggestion,
        pointer=errors[0].pointer,
        diagnostics=errors,
    )


@cache
def plugin_types() -> Types:
    """The JSON Schema of each installed step type's config, as far as it is not built in."""
    return {name: kind.config_schema for name, kind in load_types().items() if name not in BUILTIN_TYPES}


def _facts(row: FlowRow) -> dict[str, Any]:
    """What of a flow a change changes; what a version says is kept with it."""
    return {"version": row.current_number, "labels": row.labels, "archived": row.archived_at is not None}
