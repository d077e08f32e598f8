"""The webhook of a forge: a signed hint that a branch moved, left in the database for the controller.

Failure argument. The controller is another process, and may be down: what it is told is a time in the source's row,
which it finds whenever it looks. What was sent before is known by its delivery and changes nothing. Whatever is wrong
with the signature, the answer is the same, byte by byte, and nothing was read or written.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.api.schemas.sync import HintAnswer
from automata.errors import Invalid, Usage
from automata.flow.webhook import secrets_in, unfit
from automata.http.authorization import open_to_everybody
from automata.http.bodies import JSON_MEDIA, V1, Json, media_type, parse_json, read_body
from automata.http.context import context_of
from automata.http.errors import Unsigned, WrongMedia
from automata.settings import Settings
from automata.store.sync import list_sources
from automata.store.sync_hints import record_hint, take_delivery
from automata.sync.hints import Signed, read_push, sources_following, verify
from automata.telemetry import SYNC_HINTS

LARGE = 64 * 1024  # bytes; 0.2 ms of digests

router = APIRouter(prefix=f"{V1}/sync", tags=["sync"])


@router.post(
    "/hook",
    dependencies=[open_to_everybody()],
    status_code=202,
    responses={202: {"model": HintAnswer}},
    openapi_extra={"requestBody": {"required": True, "content": {JSON_MEDIA: {"schema": {}}}}},
)
async def deliver(request: Request) -> Response:
    """Take the webhook of GitHub, Gitea, Forgejo or GitLab, or one that `automata webhook sign` made.

    It is signed by AUTOMATA_SYNC_WEBHOOK_SECRET. It only has the controller look at its branch soon.
    """
    try:
        result, sources = await _deliver(request)
    except Unsigned:
        SYNC_HINTS.labels("refused").inc()
        raise
    except Invalid:
        SYNC_HINTS.labels("invalid").inc()
        raise
    SYNC_HINTS.labels(result).inc()
    return Json({"result": result, "sources": sources}, 202)


async def _deliver(request: Request) -> tuple[str, int]:
    context = context_of(request)
    body = await read_body(request, context.settings.hook_body_bytes)
    signed = await _verified(request, body)
    if media_type(request) != JSON_MEDIA:
        raise WrongMedia("The body is not JSON.", hint="Set the webhook's content type to application/json.")
    push = read_push(lambda name: _only(request, name), parse_json(body))
    if push is None:
        return "ignored", 0
    async with context.db.connection() as conn:
        sources = await list_sources(conn)
    source_ids = [sources[place].id for place in sources_following(push, sources)]
    if not source_ids:
        return "ignored", 0
    async with context.db.transaction() as conn:
        if not await take_delivery(conn, signed.keys):
            return "repeated", len(source_ids)
        await record_hint(conn, source_ids)
    return "hinted", len(source_ids)


async def _verified(request: Request, body: bytes) -> Signed:
    settings = context_of(request).settings
    secrets = secrets_of(settings)
    arguments = (lambda name: _only(request, name), body, secrets, datetime.now(UTC).timestamp())
    # Anybody may send a large body: what it takes to digest it must not hold up this loop.
    if len(body) > LARGE:
        signed = await asyncio.to_thread(verify, *arguments, settings.hook_tolerance_sec)
    else:
        signed = verify(*arguments, settings.hook_tolerance_sec)
    if signed is None:
        raise Unsigned(
            "Nothing shows that this comes from somebody who has the secret.",
            hint="The forge and AUTOMATA_SYNC_WEBHOOK_SECRET must have the same secret of at least 16 bytes.",
        )
    return signed


def secrets_of(settings: Settings) -> list[str]:
    """What forges may sign with: none when none is set. Raises Usage for a secret that is too weak to sign anything."""
    secrets = secrets_in(settings.sync_webhook_secret)
    if secrets and (why := unfit(secrets)):
        raise Usage(f"AUTOMATA_SYNC_WEBHOOK_SECRET {why}.", hint="`openssl rand -hex 32` makes one.")
    return secrets


def _only(request: Request, name: str) -> str | None:
    """A header's value; None when it is missing or there more than once."""
    values = request.headers.getlist(name)
    return values[0] if len(values) == 1 else None
