"""Where a run comes from: version, commit, proposal, who approved it, and what the check said."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.flows import ProvenanceAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.operations.provenance import describe_origin
from automata.operations.runs import parse_run_id
from automata.store.flows import VersionRow, versions_by_id
from automata.store.provenance import VersionOrigin, version_origins
from automata.store.runs import get_run

router = APIRouter(prefix=V1, tags=["runs"])


@router.get(
    "/runs/{run_id}/provenance",
    responses={200: {"model": ProvenanceAnswer}},
    dependencies=[needs(Role.VIEWER, limits=True)],
)
async def show(request: Request, run_id: str) -> Response:
    """The chain from a run back to who wrote, checked and approved what it does."""
    async with context_of(request).db.connection() as conn:
        run = await get_run(conn, parse_run_id(run_id))
        (version,) = await versions_by_id(conn, [run.version_id])
        origin = (await version_origins(conn, [run.version_id]))[run.version_id]
    run_facts = {
        "id": run.id,
        "flow": run.flow_name,
        "status": run.status,
        "trigger": run.trigger,
        "created_by": run.created_by,
        "created_at": run.created_at,
    }
    version_facts = {
        "id": version.id,
        "number": version.number,
        "content_hash": version.content_hash,
        "author": version.author,
        "created_at": version.created_at,
    }
    return Json(
        {"run": run_facts, "version": version_facts, "commit": _commit(version, origin), **describe_origin(origin)}
    )


def _commit(version: VersionRow, origin: VersionOrigin) -> dict[str, Any] | None:
    if version.commit_sha is None:
        return None
    return {
        "sha": version.commit_sha,
        "author": version.author,
        "message": version.message,
        "committed_at": version.committed_at,
        "path": version.path,
        "source": origin.source,
    }
