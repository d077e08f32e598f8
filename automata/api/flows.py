"""Flows and versions to read, and flows that the API itself owns to write."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.answers import answer_from
from automata.api.schemas.flows import FlowAnswer, VersionAnswer, VersionSummary
from automata.api.schemas.pages import Page
from automata.flow.model import Flow
from automata.http.authorization import needs
from automata.http.bodies import JSON_MEDIA, V1, Json, media_type, read_body
from automata.http.context import context_of
from automata.http.errors import BadBody, WrongMedia
from automata.http.fields import MAX_INT
from automata.http.query import Cursor, Labels, Limit, Word, check_cursor, page_of, parse_labels
from automata.operations.api_flows import archive_flow, check_flow, create_flow, put_flow
from automata.operations.flow_lookups import check_key
from automata.operations.provenance import describe_origin
from automata.store.flows import PutResult, VersionRow, find_flow, get_version, list_flows, list_versions
from automata.store.provenance import VersionOrigin, version_origins

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
        page = await list_flows(
            conn,
            search=search,
            labels=parse_labels(label),
            archived=None if archived == "any" else archived == "true",
            after=check_cursor(cursor, 1),
            limit=limit,
        )
    return Json(page_of(page, [_flow(row) for row in page.items]))


@router.post(
    "", dependencies=[needs(Role.AUTHOR)], status_code=201, responses={201: {"model": FlowAnswer}}, openapi_extra=_SPEC
)
async def create(request: Request) -> Response:
    """Make a flow that the API owns, from its spec as JSON or YAML. 409 when the name is taken."""
    flow = await _read_flow(request)
    put = await create_flow(context_of(request), flow)
    return _written(put)


@router.get("/{name}", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": FlowAnswer}})
async def show(request: Request, name: str) -> Response:
    """One flow, by name or id."""
    return Json(_flow(await context_of(request).flows.get(name)))


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
    put = await put_flow(context_of(request), flow)
    return _written(put)


@router.delete("/{name}", dependencies=[needs(Role.AUTHOR)], responses={200: {"model": FlowAnswer}})
async def archive(request: Request, name: str) -> Response:
    """Take a flow of the API out of use: no new runs, no schedules; its history stays. Twice is fine."""
    return Json(_flow(await archive_flow(context_of(request), name)))


@router.get(
    "/{name}/versions", dependencies=[needs(Role.VIEWER, limits=True)], responses={200: {"model": Page[VersionSummary]}}
)
async def versions(request: Request, name: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
    """The newest first, without their specs."""
    after = check_cursor(cursor, 1, number=True)
    check_key(name)
    async with context_of(request).db.connection() as conn:
        flow = await find_flow(conn, name)
        page = await list_versions(conn, flow.id, after=after, limit=limit)
        origin_of = await version_origins(conn, [row.id for row in page.items])
    return Json(page_of(page, [_version(row, origin_of[row.id]) for row in page.items]))


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
        origin_of = await version_origins(conn, [row.id])
    return Json(_version(row, origin_of[row.id]) | {"spec": row.spec, "variables": row.variables})


def _version(row: VersionRow, origin: VersionOrigin) -> dict[str, Any]:
    return _summary(row) | {"provenance": describe_origin(origin)}


_flow = answer_from(
    FlowAnswer,
    managed_by=lambda row: "git" if row.source_id else "api",
    version="current_number",
    version_id="current_version_id",
)
_summary = answer_from(VersionSummary, without={"provenance"}, flow="flow_name")


def _written(put: PutResult) -> Response:
    headers = {"Location": f"{V1}/flows/{put.flow.name}"}
    return Json(_flow(put.flow), 201 if put.created else 200, headers=headers)


async def _read_flow(request: Request) -> Flow:
    """The checked flow of the body; raises Invalid with every finding, WrongMedia."""
    media = media_type(request)
    if media not in YAML_MEDIA and media != JSON_MEDIA:
        raise WrongMedia(f"A flow is JSON or YAML, not {media[:60]!r}.", hint="Send Content-Type: application/yaml.")
    return await check_flow(context_of(request), await read_body(request))
