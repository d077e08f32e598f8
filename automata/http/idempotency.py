"""The `Idempotency-Key` header."""

from __future__ import annotations

from fastapi import Request

from automata.operations.idempotency import MAX_KEY, check_key_format

KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same inputs gives the same run again, with 200.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def idempotency_key(request: Request) -> str | None:
    """Raises Invalid for one that is not 1 to MAX_KEY visible ASCII characters, or one of a webhook's."""
    key = request.headers.get("idempotency-key")
    if key is not None:
        check_key_format(key, "/header/Idempotency-Key")
    return key
