"""Where the flows come from: every source with its conditions and attempts, its drift, and the way back."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.access.principal import Role
from automata.api.schemas.pages import Listing
from automata.api.schemas.sync import DriftAnswer, RollbackAnswer, SourceAnswer
from automata.http.authorization import attribution, current_principal, needs
from automata.http.bodies import V1, Json, read_model
from automata.http.context import context_of
from automata.http.openapi import request_body
from automata.http.requests import RollbackRequest
from automata.operations.context import AppContext
from automata.store.audit import Deed, note
from automata.store.database import Connection
from automata.store.hints import ask
from automata.store.pins import release, roll_back
from automata.store.sets import Difference, find_drift, list_sets
from automata.store.sync import AttemptRow, SourceRow, find_source, list_attempts, list_sources, lock_source
from automata.sync.conditions import conditions

SHOWN_COMMITS = 20
MAX_KEY = 200

log = logging.getLogger(__name__)
router = APIRouter(prefix=f"{V1}/sync", tags=["sync"])


@router.get("", responses={200: {"model": Listing[SourceAnswer]}}, dependencies=[needs(Role.VIEWER)])
async def index(request: Request) -> Response:
    """All sources; attempts newest first, at most 20 a source."""
    return Json({"items": await sources(context_of(request))})


async def sources(desk: AppContext) -> list[dict[str, Any]]:
    """Every source as SourceAnswer says."""
    async with desk.db.connection() as conn:
        return [await _source(conn, source) for source in await list_sources(conn)]


@router.get("/{source}", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.VIEWER)])
async def show(request: Request, source: str) -> Response:
    """One source, by its id or by its environment when no other source has that."""
    return Json(await source_of(context_of(request), source))


@router.get("/{source}/drift", responses={200: {"model": Listing[DriftAnswer]}}, dependencies=[needs(Role.VIEWER)])
async def drift(request: Request, source: str) -> Response:
    """What was changed beside Git since the last sync: compared now."""
    return Json({"items": await drift_of(context_of(request), source)})


@router.post("/{source}/look", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.OPERATOR)])
async def look(request: Request, source: str) -> Response:
    """Have the controller look at the branch within seconds, and try again what is stuck: its attempts tell."""
    return Json(await look_now(context_of(request), source))


@router.post(
    "/{source}/rollback",
    responses={200: {"model": RollbackAnswer}},
    openapi_extra=request_body(RollbackRequest),
    dependencies=[needs(Role.ADMIN)],
)
async def rollback(request: Request, source: str) -> Response:
    """In an emergency: make the flows of an earlier synced commit current, and pin the environment to them.

    All of them or none. Runs that are under way keep their versions.
    """
    asked = await read_model(request, RollbackRequest)
    by = attribution(request, asked.by) or current_principal(request).name
    return Json(await roll_back_to(context_of(request), source, asked.to, by=by, reason=asked.reason))


@router.post("/{source}/release", responses={200: {"model": SourceAnswer}}, dependencies=[needs(Role.ADMIN)])
async def release_pin(request: Request, source: str) -> Response:
    """Let the environment follow its branch again; the controller looks at once. Releasing twice is fine."""
    return Json(await follow_again(context_of(request), source, by=current_principal(request).name))


async def source_of(desk: AppContext, source: str) -> dict[str, Any]:
    """One source as SourceAnswer says, by its id or its environment. Raises Missing, Usage."""
    async with desk.db.connection() as conn:
        return await _source(conn, await find_source(conn, source[:MAX_KEY]))


async def drift_of(desk: AppContext, source: str) -> list[dict[str, Any]]:
    """As DriftAnswer says, compared now. Raises as `source_of` does."""
    async with desk.db.connection() as conn:
        row = await find_source(conn, source[:MAX_KEY])
        return [_difference(one) for one in await find_drift(conn, row.id) or ()]


async def look_now(desk: AppContext, source: str) -> dict[str, Any]:
    """Raises as `source_of` does."""
    async with desk.db.transaction() as conn:
        row = await find_source(conn, source[:MAX_KEY])
        await ask(conn, row.id)
        await note(conn, Deed("sync.look", f"source/{row.label}"))
        return await _source(conn, await find_source(conn, str(row.id)))


async def roll_back_to(desk: AppContext, source: str, to: str, *, by: str, reason: str) -> dict[str, Any]:
    """As RollbackAnswer says. Raises as `source_of`, `lock_source` and `roll_back` do."""
    async with desk.db.transaction() as conn:
        row = await lock_source(conn, (await find_source(conn, source[:MAX_KEY])).id)
        done = await roll_back(conn, row, to, by=by, reason=reason)
        answer = {"source": await _source(conn, done.source), "changed": done.changed}
        to_what = {"sha": done.source.head_sha, "pinned": True, "reason": reason}
        await note(conn, Deed("sync.rollback", f"source/{row.label}", {"sha": row.head_sha}, to_what))
    log.warning(
        "%s is rolled back and pinned", row.label, extra={"from": row.head_sha, "to": done.source.head_sha, "by": by}
    )
    return answer


async def follow_again(desk: AppContext, source: str, *, by: str) -> dict[str, Any]:
    """The source as SourceAnswer says. Raises as `source_of` and `lock_source` do."""
    async with desk.db.transaction() as conn:
        row = await lock_source(conn, (await find_source(conn, source[:MAX_KEY])).id)
        answer = await _source(conn, await release(conn, row))
        was = {"pinned": row.pinned_at is not None}
        await note(conn, Deed("sync.release", f"source/{row.label}", was, {"pinned": False}))
    if row.pinned_at:
        log.warning("%s is released", row.label, extra={"by": by})
    return answer


async def _source(conn: Connection, source: SourceRow) -> dict[str, Any]:
    attempts = await list_attempts(conn, source.id)
    commits = [one for one in await list_sets(conn, source.id, SHOWN_COMMITS) if len(one.sha) == 40]
    pinned = {"sha": source.head_sha, "at": source.pinned_at, "by": source.pinned_by, "reason": source.pinned_reason}
    return {
        "id": source.id,
        "url": source.url,
        "path": source.path,
        "branch": source.branch,
        "environment": source.environment,
        "head_sha": source.head_sha,
        "synced_at": source.synced_at,
        "branch_sha": source.seen_sha,
        "branch_since": source.seen_at,
        "hinted_at": source.hinted_at,
        "asked_at": source.asked_at,
        "pinned": pinned if source.pinned_at else None,
        "heal": source.heal,
        "conditions": [condition.to_json() for condition in conditions(source, attempts)],
        "attempts": [_attempt(attempt) for attempt in attempts],
        "commits": [{"sha": one.sha, "synced_at": one.created_at} for one in commits],
    }


def _attempt(attempt: AttemptRow) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "sha": attempt.sha,
        "status": attempt.status,
        "started_at": attempt.started_at,
        "finished_at": attempt.finished_at,
        "plan": attempt.plan,
        "error": attempt.error,
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "flow": one.name,
        "kind": one.kind,
        "wanted": one.wanted,
        "current": one.current,
        "message": one.message,
    }
