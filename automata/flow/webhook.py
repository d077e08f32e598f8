"""Deliveries of webhooks: how one is signed, and how it becomes the inputs of a run. What was sent is data, never text
of a template."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from automata.errors import Diagnostic, Invalid
from automata.flow.model import Webhook
from automata.flow.template import AMBIENT_KEY, Ambient, TemplateError, compile_value
from automata.flow.timefilters import iso

TIMESTAMP, DELIVERY, SIGNATURE = "X-Automata-Timestamp", "X-Automata-Delivery", "X-Automata-Signature"
MAX_DELIVERY = 120  # with a webhook's name of 100 it fits into the key of a run
MIN_SECRET_BYTES = 16  # shorter ones can be found by trying, by anyone who has seen one delivery
MAX_SECRETS = 2  # the old one and the new one, while a secret is being changed

# Without a dot, because dots part what is signed: `7` with the body `1.x` would have the signature of `7.1` with `x`.
DELIVERY_PATTERN = rf"[!-\-/-~]{{1,{MAX_DELIVERY}}}"
_DELIVERY = re.compile(DELIVERY_PATTERN)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived and was signed; `body` is JSON data, or None when nothing was sent."""

    id: str
    received: datetime
    body: Any
    headers: Mapping[str, str]
    query: Mapping[str, Any]


def is_delivery(text: str) -> bool:
    """Whether it may be a delivery's id: 1 to MAX_DELIVERY visible ASCII characters, none of them a dot."""
    return _DELIVERY.fullmatch(text) is not None


def signature(secret: str, timestamp: str, delivery: str, body: bytes, address: str = "") -> str:
    """`sha256=` and 64 lower-case hex digits: HMAC-SHA256 over `<timestamp>.<delivery>.<flow>/<webhook>:<body>`.

    `address` is `<flow>/<webhook>`; without it (and its colon) the signature is good wherever the secret is, as
    deliveries were signed before. No name has a colon, so no text is signed for two webhooks.
    """
    where = f"{address}:" if address else ""
    message = f"{timestamp}.{delivery}.{where}".encode(errors="replace") + body
    return "sha256=" + hmac.new(secret.encode(errors="surrogateescape"), message, hashlib.sha256).hexdigest()


def secrets_in(value: str) -> list[str]:
    """The secrets that a secret's value holds, one a line; blank lines do not count."""
    return [line.strip() for line in value.splitlines() if line.strip()]


def unfit(secrets: Sequence[str]) -> str | None:
    """Why these secrets sign nothing, to be put after their name; None when they do."""
    if not secrets:
        return "is not set"
    if len(secrets) > MAX_SECRETS:
        return f"has {len(secrets)} lines, of which it may have {MAX_SECRETS}"
    if any(len(secret.encode(errors="surrogateescape")) < MIN_SECRET_BYTES for secret in secrets):
        return f"is shorter than {MIN_SECRET_BYTES} bytes"
    return None


def matches(secrets: Sequence[str], sent: str, timestamp: str, delivery: str, body: bytes, address: str = "") -> bool:
    """Whether `sent` is the signature by one of `secrets`; takes as long whichever it is, or none."""
    expected = sent.encode(errors="replace")
    signatures = [signature(secret, timestamp, delivery, body, address).encode() for secret in secrets]
    # All of them are compared before any result is looked at.
    fits = [hmac.compare_digest(candidate, expected) for candidate in signatures]
    return any(fits)


def webhook_inputs(webhook: Webhook, delivery: Delivery, variables: Mapping[str, Any], uuid: str) -> dict[str, Any]:
    """The inputs that a delivery gives, not yet checked; `uuid` is what `uuid()` answers.

    Raises Invalid (`invalid_input`) that names the input whose template cannot be rendered, or for a body that must be
    an object and is none.
    """
    if webhook.inputs is None:
        return _body_as_inputs(delivery.body)
    context = {
        "vars": variables,
        "webhook": {
            "body": delivery.body,
            "headers": delivery.headers,
            "query": delivery.query,
            "delivery": delivery.id,
            "received_at": iso(delivery.received),
        },
        AMBIENT_KEY: Ambient(lambda: delivery.received, lambda: uuid),
    }
    try:
        inputs: dict[str, Any] = compile_value(webhook.inputs).render(context)
    except TemplateError as error:
        raise _unmade(error) from error
    return inputs


def _body_as_inputs(body: Any) -> dict[str, Any]:
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise Invalid(
            "The body must be a JSON object: it is the inputs of the run.",
            code="invalid_input",
            hint="Or the webhook says in `inputs` what to take from it.",
            pointer="",
        )
    return body


def _unmade(error: TemplateError) -> Invalid:
    pointer = f"/inputs{error.pointer or ''}"
    name = pointer.split("/")[2].replace("~1", "/").replace("~0", "~") if error.pointer else ""
    message = f"The input `{name}` cannot be made from this delivery: {error.message}"
    diagnostic = Diagnostic(error.code, message, pointer=pointer, suggestion=error.hint)
    return Invalid(message, code="invalid_input", hint=error.hint, pointer=pointer, diagnostics=[diagnostic])
