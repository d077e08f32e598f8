"""One flow: its graph and last runs, its spec, its versions and what differs between them."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query, Request
from starlette.responses import Response

from automata.errors import Missing
from automata.flow.changes import CLASSES, changes
from automata.flow.model import Flow
from automata.http.context import context_of
from automata.http.fields import MAX_INT
from automata.http.query import Cursor, check_cursor
from automata.operations.flow_lookups import check_key
from automata.operations.provenance import describe_origin
from automata.report.graph import graph as changed_graph
from automata.store.flows import FlowRow, VersionRow, find_flow, get_version, list_versions
from automata.store.provenance import version_origins
from automata.store.runs import list_runs
from automata.store.schedules import list_schedules
from automata.web.code import highlight_yaml, spec_yaml
from automata.web.graph import picture
from automata.web.page import render
from automata.web.page import router as pages
from automata.web.query import link

SHOWN_RUNS, SHOWN_SCHEDULES = 10, 50
MAX_LINES = 4_000  # of a spec that is compared line by line: it takes time by their product
Number = Annotated[int | None, Query(ge=1, le=MAX_INT)]

router = pages(limits=True)


@router.get("/flows/{name}")
async def show(request: Request, name: str) -> Response:
    """The flow as it is now."""
    flow, version = await _find(request, name)
    async with context_of(request).db.connection() as conn:
        runs = await list_runs(conn, flow=flow.id, limit=SHOWN_RUNS)
        schedules = await list_schedules(conn, flow_id=flow.id, limit=SHOWN_SCHEDULES)
        origin = (await version_origins(conn, [version.id]))[version.id] if version else None
    return render(
        request,
        "flow.html",
        **_head(flow, "graph"),
        version=version,
        inputs=Flow.from_spec(version.spec).inputs if version else (),
        graph=picture(version.spec, link=f"/flows/{quote(flow.name)}/spec") if version else None,
        runs=runs.items,
        schedules=[(row, row.next_fires()) for row in schedules.items],
        provenance=describe_origin(origin) if origin else None,
    )


@router.get("/flows/{name}/spec")
async def spec(request: Request, name: str, version: Number = None) -> Response:
    """A version's spec, the current one's when none is named."""
    flow, shown_version = await _find(request, name, version)
    if shown_version is None:
        raise Missing(f"The flow {flow.name} has no version yet.")
    text = await asyncio.to_thread(lambda: highlight_yaml(spec_yaml(shown_version.spec)))
    return render(request, "flow_spec.html", **_head(flow, "spec"), version=shown_version, text=text)


@router.get("/flows/{name}/versions")
async def versions(request: Request, name: str, cursor: Cursor = None) -> Response:
    """The newest first, each with where it comes from; two of them can be compared."""
    flow, _ = await _find(request, name)
    async with context_of(request).db.connection() as conn:
        page = await list_versions(conn, flow.id, after=check_cursor(cursor, 1, number=True))
        origin_of = await version_origins(conn, [row.id for row in page.items])
    here = f"/flows/{quote(flow.name)}/versions"
    return render(
        request,
        "flow_versions.html",
        **_head(flow, "versions"),
        versions=[(row, describe_origin(origin_of[row.id])) for row in page.items],
        next=page.next and link(here, {"cursor": page.next}),
        first=here if cursor else "",
    )


@router.get("/flows/{name}/diff")
async def diff(
    request: Request,
    name: str,
    before: Annotated[int, Query(ge=1, le=MAX_INT)],
    after: Annotated[int, Query(ge=1, le=MAX_INT)],
) -> Response:
    """What it means to go from one version to another."""
    flow, old = await _find(request, name, before)
    _, new = await _find(request, name, after)
    assert old is not None
    assert new is not None
    comparison = await asyncio.to_thread(_compare, old, new)
    return render(request, "flow_diff.html", **_head(flow, "versions"), before=old, after=new, **comparison)


def _compare(old: VersionRow, new: VersionRow) -> dict[str, Any]:
    differences = changes(old.spec, new.spec, (old.variables, new.variables))
    return {
        "classes": [(kind, [difference for difference in differences if difference.kind == kind]) for kind in CLASSES],
        "count": len(differences),
        "graph": changed_picture(old.spec, new.spec),
        "lines": _lines(old.spec, new.spec),
    }


def changed_picture(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """The graph of `after`, with what is new, changed and gone."""
    compared = changed_graph(before, after)
    states = {node["id"]: "none" if node["state"] == "same" else node["state"] for node in compared["nodes"]}
    graph = picture(after, states)
    if graph is None:
        return None
    there = {node["id"] for node in graph["nodes"]}
    gone = [node for node in compared["nodes"] if node["id"] not in there]
    graph["nodes"] += [
        {"id": node["id"], "label": node["id"], "type": node["type"], "parent": None, "state": "gone", "href": ""}
        for node in gone
    ]
    for node in graph["nodes"]:
        node["href"] = ""
    return graph


def _lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    """(kind, line) of a unified diff; None where the specs are too long to compare so."""
    old, new = spec_yaml(before).splitlines(), spec_yaml(after).splitlines()
    if max(len(old), len(new)) > MAX_LINES:
        return None
    kinds = {"+": "added", "-": "removed", "@": "place"}
    compared = list(difflib.unified_diff(old, new, lineterm="", n=4))[2:]
    return [(kinds.get(line[:1], "same"), line) for line in compared]


async def _find(request: Request, name: str, number: int | None = None) -> tuple[FlowRow, VersionRow | None]:
    """A flow with one of its versions, the current one for None, which it may not have. Raises Missing."""
    check_key(name)
    async with context_of(request).db.connection() as conn:
        flow = await find_flow(conn, name)
        if number is None and flow.current_version_id is None:
            return flow, None
        try:
            return flow, await get_version(conn, flow.id, number)
        except Missing:
            raise Missing(
                f"The flow {flow.name} has no version {number}.", hint=f"Its current one is {flow.current_number}."
            ) from None


def _head(flow: FlowRow, tab: str) -> dict[str, Any]:
    path = f"/flows/{quote(flow.name)}"
    entries: Sequence[tuple[str, str, str]] = (
        ("Flow", path, "graph"),
        ("Spec", f"{path}/spec", "spec"),
        ("Versions", f"{path}/versions", "versions"),
        ("Runs", link("/runs", {"flow": flow.name}), "runs"),
    )
    return {"flow": flow, "path": path, "tabs": [(word, href, key == tab) for word, href, key in entries]}
