"""The one JSON codec of the database: values to text for `json` columns."""

from __future__ import annotations

import json
from typing import Any

import orjson


def dumps(value: Any) -> str:
    """JSON text that PostgreSQL's `json` type and UTF-8 can keep.

    orjson refuses integers past 64 bits and lone surrogates. Both may come from a template or a service, and one
    such value must not fail the batch that it travels in: the integer is written out, the surrogate becomes `?`.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace").decode()


loads = orjson.loads


def dumps_or_none(value: Any) -> str | None:
    """Like `dumps`, but None stays an SQL NULL."""
    return None if value is None else dumps(value)
