"""The one JSON codec of the database: values to text for `json` columns, and back, digit for digit."""

from __future__ import annotations

import json
from typing import Any

from automata.flow import exact_json

loads = exact_json.loads


def dumps(value: Any) -> str:
    """JSON text that PostgreSQL's `json` type and UTF-8 can keep.

    Whoever brings a value refuses lone surrogates. Should one come through all the same, in a message that an error
    brought, it must not fail the batch that it travels in: it becomes `?`.
    """
    try:
        return exact_json.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()


def dumps_or_none(value: Any) -> str | None:
    """Like `dumps`, but None stays an SQL NULL."""
    return None if value is None else dumps(value)
