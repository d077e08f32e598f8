"""Idempotency keys: the same key with the same inputs gives the same run again."""

from __future__ import annotations

import re

from automata.errors import Invalid

MAX_KEY = 255
WEBHOOK_PREFIX = "hook:"  # begins the keys of deliveries: nobody else may take one of theirs
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MAX_KEY}}}")


def check_key_format(key: str, pointer: str) -> None:
    """Raises Invalid for one that nobody may use."""
    if not _KEY.fullmatch(key):
        raise Invalid(
            f"An idempotency key must be 1 to {MAX_KEY} visible ASCII characters.",
            code="invalid_idempotency_key",
            pointer=pointer,
        )
    if key.startswith(WEBHOOK_PREFIX):
        raise Invalid(
            f"An idempotency key that begins with `{WEBHOOK_PREFIX}` belongs to the delivery of a webhook.",
            code="invalid_idempotency_key",
            pointer=pointer,
        )
