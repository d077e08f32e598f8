"""What of an attempt may be kept: masked first and cut afterwards, so that no half of a secret survives a cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from automata.steps.contract import HttpRequest
from automata.steps.urls import redacted

Mask = Callable[[str], str]

MASKED = "***"
MAX_MESSAGE_CHARS = 1_000
MAX_BODY_CHARS = 4_096

_CREDENTIAL = re.compile(r"auth|cookie|token|secret|key|password|signature|credential", re.IGNORECASE)


def cut_message(text: str, mask: Mask) -> str:
    """A message that fits a row and an eye, and that UTF-8 can carry."""
    text = mask(text.encode(errors="replace").decode())
    return text if len(text) <= MAX_MESSAGE_CHARS else text[: MAX_MESSAGE_CHARS - 1] + "…"


def mask_tree(value: Any, mask: Mask) -> Any:
    """JSON data with every text masked, keys too. Nesting is what orjson writes, far under Python's own limit."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {mask(str(key)): mask_tree(item, mask) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_tree(item, mask) for item in value]
    return value


def describe_request(request: HttpRequest, mask: Mask) -> dict[str, Any]:
    """`{method, url, headers, body, body_bytes}` for a dead letter: no query, credential headers as `***`."""
    body = request.body or b""
    return {
        "method": request.method,
        "url": mask(redacted(request.url)),
        "headers": {name: MASKED if _is_credential(name) else mask(value) for name, value in request.headers},
        "body": mask(body.decode(errors="replace"))[:MAX_BODY_CHARS] if body else None,
        "body_bytes": len(body),
    }


def _is_credential(name: str) -> bool:
    return name.lower() != "idempotency-key" and _CREDENTIAL.search(name) is not None
