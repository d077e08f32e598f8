"""Flows and versions to read, and flows that the API itself owns to write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.provenance import of_origin
from automata.api.schemas.flows import FlowAnswer, VersionAnswer, VersionSummary
from automata.api.schemas.pages import Page
from automata.errors import Conflict, Diagnostic, Invalid
from automata.flow.check import Types
from automata.flow.load import Loaded, validate_text
from automata.flow.model import Flow
from automata.flow.schema import BUILTIN_TYPES
from automata.http.authorization import needs
from automata.http.bodies import JSON_MEDIA, V1, Json, media_type, read_body
from automata.http.context import context_of
from automata.http.errors import BadBody, WrongMedia
from automata.http.fields import MAX_INT
from automata.http.query import Cursor, Labels, Limit, Word, check_cursor, page_of, parse_labels
from automata.operations.lookups import check_key
from automata.steps.registry import load_types
from automata.store.audit import Deed, note
from automata.store.flows import (
    FlowRow,
    Put,
    VersionRow,
    archive_api_flow,
    find_flow,
    get_version,
    known_flow,
    list_flows,
    list_versions,
    put_api_flow,
)
from automata.store.provenance import Origin, origins

YAML_MEDIA = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_SPEC = {
    "requestBody": {
        "required": True,
        "content": {
            JSON_MEDIA: {"schema": {"type": "object", "description": "schemas/flow.schema.json describes it."}},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}

router = APIRouter(prefix=f"{V1}/flows", tags=["flows"])


@router.get("", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[FlowAnswer]}})
async def index(
    request: Request,
    search: Word = None,
    label: Labels = None,
    archived: Annotated[Literal["false", "true", "any"], Query()] = "false",
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Response:
    """Flows by name; `search` is a part of the name."""
    async with context_of(request).db.connection() as conn:
        found = await list_flows(
            conn,
            search=search,
            labels=parse_labels(label),
            archived=None if archived == "any" else archived == "true",
            after=check_cursor(cursor, 1),
            limit=limit,
        )
    return Json(page_of(found, [of_flow(row) for row in found.items]))


@router.post(
    "", dependencies=[needs(Role.AUTHOR)], status_code=201, responses={201: {"model": FlowAnswer}}, openapi_extra=_SPEC
)
async def create(request: Request) -> Response:
    """Make a flow that the API owns, from its spec as JSON or YAML. 409 when the name is taken."""
    flow = await _read_flow(request)
    async with context_of(request).db.transaction() as conn:
        put = await put_api_flow(conn, flow)
        await note(conn, Deed("flow.create", f"flow/{flow.name}", None, _facts(put.flow)))
        if not put.created:  # and what was written is rolled back
            raise Conflict(
                f"There is a flow {flow.name!r} already.",
                code="flow_exists",
                hint=f"Change it with PUT {V1}/flows/{flow.name}.",
            )
    return _written(put)


@router.get("/{name}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": FlowAnswer}})
async def show(request: Request, name: str) -> Response:
    """One flow, by name or id."""
    return Json(of_flow(await context_of(request).flows.get(name)))


@router.put(
    "/{name}",
    dependencies=[needs(Role.AUTHOR)],
    responses={200: {"model": FlowAnswer}, 201: {"model": FlowAnswer}},
    openapi_extra=_SPEC,
)
async def replace(request: Request, name: str) -> Response:
    """Make or change a flow that the API owns; the same content again makes no version."""
    check_key(name)
    flow = await _read_flow(request)
    if flow.name != name:
        raise BadBody(
            f"The spec names the flow {flow.name!r}, the address {name!r}.", code="name_mismatch", pointer="/name"
        )
    async with context_of(request).db.transaction() as conn:
        before = await known_flow(conn, name)
        put = await put_api_flow(conn, flow)
        action = "flow.update" if before else "flow.create"
        await note(conn, Deed(action, f"flow/{name}", before and _facts(before), _facts(put.flow)))
    return _written(put)


@router.delete("/{name}", dependencies=[needs(Role.AUTHOR)], responses={200: {"model": FlowAnswer}})
async def archive(request: Request, name: str) -> Response:
    """Take a flow of the API out of use: no new runs, no schedules; its history stays. Twice is fine."""
    check_key(name)
    async with context_of(request).db.transaction() as conn:
        before = await known_flow(conn, name)
        gone = await archive_api_flow(conn, name)
        await note(conn, Deed("flow.archive", f"flow/{gone.name}", before and _facts(before), _facts(gone)))
        return Json(of_flow(gone))


@router.get(
    "/{name}/versions", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[VersionSummary]}}
)
async def versions(request: Request, name: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The newest first, without their specs."""
    after = check_cursor(cursor, 1, number=True)
    check_key(name)
    async with context_of(request).db.connection() as conn:
        flow = await find_flow(conn, name)
        found = await list_versions(conn, flow.id, after=after, limit=limit)
        known = await origins(conn, [row.id for row in found.items])
    return Json(page_of(found, [of_version(row, known[row.id]) for row in found.items]))


@router.get(
    "/{name}/versions/{number}",
    dependencies=[needs(Role.VIEWER, limits=True)],
    responses={200: {"model": VersionAnswer}},
)
async def version(request: Request, name: str, number: Annotated[int, Path(ge=1, le=MAX_INT)]) -> Response:
    """One version with its spec, and the variables that it was deployed with."""
    check_key(name)
    async with context_of(request).db.connection() as conn:
        flow = await find_flow(conn, name)
        row = await get_version(conn, flow.id, number)
        known = await origins(conn, [row.id])
    return Json(of_version(row, known[row.id]) | {"spec": row.spec, "variables": row.variables})


def of_flow(row: FlowRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "labels": row.labels,
        "managed_by": "git" if row.source_id else "api",
        "source": row.source,
        "version": row.current_number,
        "version_id": row.current_version_id,
        "archived_at": row.archived_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def of_version(row: VersionRow, origin: Origin) -> dict[str, Any]:
    return {
        "id": row.id,
        "flow": row.flow_name,
        "number": row.number,
        "content_hash": row.content_hash,
        "commit_sha": row.commit_sha,
        "path": row.path,
        "author": row.author,
        "message": row.message,
        "committed_at": row.committed_at,
        "created_at": row.created_at,
        "provenance": of_origin(origin),
    }


def _facts(row: FlowRow) -> dict[str, Any]:
    """What of a flow a change changes; what a version says is kept with it."""
    return {"version": row.current_number, "labels": row.labels, "archived": row.archived_at is not None}


def _written(put: Put) -> Response:
    headers = {"Location": f"{V1}/flows/{put.flow.name}"}
    return Json(of_flow(put.flow), 201 if put.created else 200, headers=headers)


async def _read_flow(request: Request) -> Flow:
    """The checked flow of the body; raises Invalid with every finding, WrongMedia."""
    media = media_type(request)
    if media not in YAML_MEDIA and media != JSON_MEDIA:
        raise WrongMedia(f"A flow is JSON or YAML, not {media[:60]!r}.", hint="Send Content-Type: application/yaml.")
    return await check_flow(request, await read_body(request))


async def check_flow(request: Request, body: bytes | str) -> Flow:
    """The flow of a file's text; raises Invalid with every finding."""
    loaded = await _loaded(request, body)
    if loaded.flow is None:
        raise _invalid_flow(loaded.diagnostics)
    return loaded.flow


async def check_text(request: Request, text: str) -> Sequence[Diagnostic]:
    """All that can be said about a file's text, warnings too."""
    return (await _loaded(request, text)).diagnostics


async def _loaded(request: Request, text: bytes | str) -> Loaded:
    # In a thread: checking the largest flow takes a second or two, in which others want answers.
    async with context_of(request).checks:
        return await asyncio.to_thread(validate_text, text, "", plugin_types())


def _invalid_flow(diagnostics: Sequence[Diagnostic]) -> Invalid:
    errors = [one for one in diagnostics if one.severity == "error"]
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
