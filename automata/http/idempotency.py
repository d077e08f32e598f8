"""The `Idempotency-Key` header: the same key with the same inputs gives the same run again."""

from __future__ import annotations

import re

from fastapi import Request

from automata.http.errors import BadBody

MAX_KEY = 255
WEBHOOK_PREFIX = "hook:"  # begins the keys of deliveries: nobody else may take one of theirs
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same inputs gives the same run again, with 200.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def idempotency_key(request: Request) -> str | None:
    """Raises BadBody for one that is not 1 to MAX_KEY visible ASCII characters, or one of a webhook's."""
    key = request.headers.get("idempotency-key")
    if key is not None:
        check_key_format(key, "/header/Idempotency-Key")
    return key


def check_key_format(key: str, pointer: str) -> None:
    """Raises BadBody for one that nobody may use."""
    if not _KEY.fullmatch(key):
        raise BadBody(
            f"An idempotency key must be 1 to {MAX_KEY} visible ASCII characters.",
            code="invalid_idempotency_key",
            pointer=pointer,
        )
    if key.startswith(WEBHOOK_PREFIX):
        raise BadBody(
            f"An idempotency key that begins with `{WEBHOOK_PREFIX}` belongs to the delivery of a webhook.",
            code="invalid_idempotency_key",
            pointer=pointer,
        )
