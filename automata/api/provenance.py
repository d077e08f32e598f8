"""Where a run comes from: version, commit, proposal, who approved it, and what the check said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.runs import run_id_of
from automata.api.schemas.flows import ProvenanceAnswer
from automata.http.authorization import needs
from automata.http.bodies import V1, Json
from automata.http.context import context_of
from automata.store.flows import VersionRow, versions_by_id
from automata.store.provenance import Origin, origins
from automata.store.runs import get_run

Kind = Literal["proposal", "merge", "push", "files", "api"]
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
MEANS: dict[Kind, str] = {
    "proposal": "proposed, checked and applied through Automata",
    "merge": "proposed on a branch, and merged with Git: Automata did not apply it",
    "push": "pushed without a proposal: no check or approval is known here",
    "files": "read from files that were not committed: no check or approval can be of them",
    "api": "made through the API: there is no commit, check or approval of it",
}

router = APIRouter(prefix=V1, tags=["runs"])


@router.get(
    "/runs/{run_id}/provenance",
    responses={200: {"model": ProvenanceAnswer}},
    dependencies=[needs(Role.VIEWER, limits=True)],
)
async def show(request: Request, run_id: str) -> Response:
    """The chain from a run back to who wrote, checked and approved what it does."""
    async with context_of(request).db.connection() as conn:
        run = await get_run(conn, run_id_of(run_id))
        (version,) = await versions_by_id(conn, [run.version_id])
        origin = (await origins(conn, [run.version_id]))[run.version_id]
    told = {
        "id": run.id,
        "flow": run.flow_name,
        "status": run.status,
        "trigger": run.trigger,
        "created_by": run.created_by,
        "created_at": run.created_at,
    }
    made = {
        "id": version.id,
        "number": version.number,
        "content_hash": version.content_hash,
        "author": version.author,
        "created_at": version.created_at,
    }
    return Json({"run": told, "version": made, "commit": _commit(version, origin), **of_origin(origin)})


def of_origin(origin: Origin) -> dict[str, Any]:
    """Proposal, check and approvals; `origin` and `means` say how the version came to be."""
    kind = _kind(origin)
    return {
        "origin": kind,
        "means": MEANS[kind],
        "proposal": _proposal(origin),
        "check": origin.check and _dated(origin.check),
        "approvals": [_dated(one) for one in origin.approvals or ()],
    }


def _kind(origin: Origin) -> Kind:
    if origin.commit_sha is None:
        return "api"
    if origin.proposal is not None:
        return "proposal" if origin.applied_by else "merge"
    return "push" if _SHA.fullmatch(origin.commit_sha) else "files"


def _dated(one: Mapping[str, Any]) -> dict[str, Any]:
    return {**one, "at": datetime.fromisoformat(one["at"])}


def _commit(version: VersionRow, origin: Origin) -> dict[str, Any] | None:
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


def _proposal(origin: Origin) -> dict[str, Any] | None:
    if origin.proposal is None:
        return None
    return {
        "number": origin.proposal,
        "title": origin.title,
        "branch": origin.branch,
        "author": origin.proposed_by,
        "head_sha": origin.head_sha,
        "merge_sha": origin.merge_sha,
        "applied_by": origin.applied_by,
        "applied_at": origin.applied_at,
    }
