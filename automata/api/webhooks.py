"""Webhooks: signed requests from elsewhere that start runs.

Failure argument. A sender that heard no answer sends again: the key of the run, unique in the database, holds the
webhook and the delivery, so that there is one run however often, and to however many processes, it is sent. A request
that someone recorded is worth nothing after the tolerance, by its timestamp, and before it, by its delivery; a run is
kept for a day at least, so its key outlives every timestamp that it could be sent again with.

What is asked before the signature is right says nothing of which flows there are: an unknown flow or webhook, one that
is switched off, one without a usable secret and one with a wrong signature take the same steps in the same order (one
read, MAX_SECRETS digests) and get the same answer, byte by byte.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import uuid5

from fastapi import APIRouter, Request
from starlette.responses import Response

from automata.api.schemas.runs import CreatedAnswer
from automata.engine.states import Trigger
from automata.errors import Conflict, Invalid
from automata.flow.inputs import check_inputs
from automata.flow.model import Webhook
from automata.flow.webhook import (
    DELIVERY,
    DELIVERY_PATTERN,
    MAX_DELIVERY,
    MAX_SECRETS,
    SIGNATURE,
    TIMESTAMP,
    Delivery,
    is_delivery,
    matches,
    webhook_inputs,
)
from automata.http.authorization import open_to_everybody
from automata.http.bodies import JSON_MEDIA, V1, Json, media_type, parse_json, read_body
from automata.http.context import context_of
from automata.http.errors import BadBody, Malformed, Unsigned, WrongMedia
from automata.operations.context import AppContext
from automata.operations.idempotency import WEBHOOK_PREFIX
from automata.store.inbound_webhooks import WebhookTarget
from automata.store.new_runs import CreatedRun, NewRun, run_of_key
from automata.telemetry import HOOK_DELIVERIES

MAX_FIELDS = 1000  # of a query
LARGE = 64 * 1024  # bytes; 0.4 ms of digests
# These let their bearer in elsewhere: a run's inputs are kept, and shown.
WITHHELD = frozenset({"authorization", "proxy-authorization", "cookie", SIGNATURE.lower()})
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
# Stands where a secret is missing: an unknown webhook costs what a known one does, and no signature ever fits.
_NOBODY = secrets.token_hex(32)

log = logging.getLogger(__name__)
router = APIRouter(prefix=f"{V1}/hooks", tags=["webhooks"])


def _header(name: str, description: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return {"name": name, "in": "header", "required": True, "description": description, "schema": schema}


_DESCRIBED = {
    "parameters": [
        _header(TIMESTAMP, "Seconds since 1970, UTC; five minutes from the server's clock at most.", "[0-9]{1,12}"),
        _header(DELIVERY, "The same one to the same webhook gives the first run again.", DELIVERY_PATTERN),
        _header(
            SIGNATURE,
            "HMAC-SHA256 by the webhook's secret over `<timestamp>.<delivery>.<body>`, in lower-case hex.",
            "sha256=[0-9a-f]{64}",
        ),
    ],
    "requestBody": {"required": False, "content": {JSON_MEDIA: {"schema": {}}}},
}


@dataclass(frozen=True, slots=True)
class _Signed:
    timestamp: str
    delivery: str
    signature: str


@router.post(
    "/{flow}/{trigger}",
    dependencies=[open_to_everybody()],
    status_code=201,
    responses={200: {"model": CreatedAnswer}, 201: {"model": CreatedAnswer}},
    openapi_extra=_DESCRIBED,
)
async def deliver(request: Request, flow: str, trigger: str) -> Response:
    """Start a run. 201 means that it is committed; 200 is the run that this delivery started before."""
    try:
        run = await _deliver(request, flow, trigger)
    except Unsigned:
        HOOK_DELIVERIES.labels("refused").inc()
        raise
    except Invalid:
        HOOK_DELIVERIES.labels("invalid").inc()
        raise
    HOOK_DELIVERIES.labels("created" if run.created else "repeated").inc()
    answer = {"id": run.id, "created_at": run.created_at}
    return Json(answer, 201 if run.created else 200, headers={"Location": f"{V1}/runs/{run.id}"})


async def _deliver(request: Request, flow: str, trigger: str) -> CreatedRun:
    context, received = context_of(request), datetime.now(UTC)
    signed = _signed(request, received, context.settings.hook_tolerance_sec)
    body = await read_body(request, context.settings.hook_body_bytes)
    door = await context.webhooks.find(flow)
    webhook = await _opened(context, door, trigger, signed, body)
    if door is None or webhook is None:
        log.info("a delivery is refused", extra={"flow": flow[:100], "webhook": trigger[:100]})
        raise Unsigned(
            "There is no such webhook, or the signature is not by its secret.",
            hint=f"The signature is over `<{TIMESTAMP}>.<{DELIVERY}>.<body>`, byte by byte as it is sent.",
        )
    key = f"{WEBHOOK_PREFIX}{webhook.name}:{signed.delivery}"
    try:
        return await context.run_creator.create(
            await _run(request, door, webhook, signed.delivery, key, received, body)
        )
    except (Invalid, Conflict):
        # The flow may have changed since it took this delivery, or what was sent: the first answer stands.
        async with context.db.connection() as conn:
            if earlier := await run_of_key(conn, door.flow_id, key):
                return earlier
        raise


def _signed(request: Request, received: datetime, tolerance_sec: float) -> _Signed:
    """The three headers, each in its form. Raises Unsigned, BadBody; none of it depends on what there is."""
    timestamp, delivery, signature = (_only(request, name) for name in (TIMESTAMP, DELIVERY, SIGNATURE))
    if not _TIMESTAMP.fullmatch(timestamp):
        raise Unsigned(f"{TIMESTAMP} must be seconds since 1970.", code="bad_timestamp")
    away = abs(received.timestamp() - int(timestamp))
    if away > tolerance_sec:
        raise Unsigned(
            f"{TIMESTAMP} is {away:.0f} s away from this server's clock; {tolerance_sec:g} s are allowed.",
            code="stale_timestamp",
            hint="Sign each attempt anew, with the time that it is then and the same delivery id.",
        )
    if not is_delivery(delivery):
        raise BadBody(
            f"{DELIVERY} must be 1 to {MAX_DELIVERY} visible ASCII characters without a dot.",
            code="invalid_delivery",
            pointer=f"/header/{DELIVERY}",
        )
    return _Signed(timestamp, delivery, signature)


def _only(request: Request, name: str) -> str:
    values = request.headers.getlist(name)
    if len(values) != 1:
        problem = "is missing" if not values else "is given more than once"
        raise Unsigned(f"The header {name} {problem}.", code="unsigned", hint="See `automata webhook sign --help`.")
    return values[0]


async def _opened(
    context: AppContext, door: WebhookTarget | None, trigger: str, signed: _Signed, body: bytes
) -> Webhook | None:
    """The webhook, when the signature is by its secret."""
    webhook = door.webhooks.get(trigger) if door else None
    secrets_known = context.webhook_secrets.secrets(webhook.secret) if webhook and webhook.enabled else []
    padded = [*secrets_known, *[_NOBODY] * MAX_SECRETS][:MAX_SECRETS]
    arguments = (padded, signed.signature, signed.timestamp, signed.delivery, body)
    # Anybody may send a large body: what it takes to digest it must not hold up this loop.
    fits = await asyncio.to_thread(matches, *arguments) if len(body) > LARGE else matches(*arguments)
    return webhook if fits and secrets_known else None


async def _run(
    request: Request, door: WebhookTarget, webhook: Webhook, delivery: str, key: str, received: datetime, body: bytes
) -> NewRun:
    """The run that a delivery starts, whose signature was right. Raises Invalid."""
    version = await context_of(request).versions.get(door.version_id)
    sent = Delivery(delivery, received, _body(request, body), _headers(request), _query(request))
    uuid = str(uuid5(door.flow_id, key))
    if webhook.inputs is None:
        inputs = webhook_inputs(webhook, sent, {}, uuid)
    else:
        # What a template makes of the largest body takes a while, and others are waiting for this loop.
        inputs = await asyncio.to_thread(webhook_inputs, webhook, sent, version.variables, uuid)
    return NewRun(
        door.flow_id,
        version.id,
        check_inputs(version.inputs, inputs),
        Trigger.WEBHOOK,
        idempotency_key=key,
        created_by=f"webhook {webhook.name}",
    )


def _body(request: Request, body: bytes) -> Any:
    """Raises WrongMedia, Malformed."""
    if not body:
        return None
    media = media_type(request)
    if media == JSON_MEDIA or media.endswith("+json"):
        return parse_json(body)
    raise WrongMedia(
        f"The body is {media[:60]!r}, not JSON." if media else "The body has no Content-Type.",
        hint="Send the header Content-Type: application/json.",
    )


def _query(request: Request) -> Mapping[str, Any]:
    """A name that is given more than once has a list. Raises Malformed."""
    fields: dict[str, Any] = {}
    try:
        text = request.scope["query_string"].decode()
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        message = f"The query is not UTF-8 of at most {MAX_FIELDS} fields."
        raise Malformed(message, code="malformed_query") from error
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _headers(request: Request) -> Mapping[str, str]:
    """By their names in lower case; what is given more than once is joined by commas."""
    names = dict.fromkeys(request.headers.keys())
    return {name: ", ".join(request.headers.getlist(name)) for name in names if name not in WITHHELD}
