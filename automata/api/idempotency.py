"""The `Idempotency-Key` header: the same key with the same inputs gives the same run again."""

from __future__ import annotations

import re

from fastapi import Request

from automata.api.refusals import BadBody

MAX_KEY = 255
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")
KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same inputs gives the same run again, with 200.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY, "pattern": "^[!-~]+$"},
}


def idempotency_key(request: Request) -> str | None:
    """Raises BadBody for one that is not 1 to MAX_KEY visible ASCII characters."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise BadBody(
            f"The Idempotency-Key must be 1 to {MAX_KEY} visible ASCII characters.",
            code="invalid_idempotency_key",
            pointer="/header/Idempotency-Key",
        )
    return key
