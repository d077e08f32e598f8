"""JSONPath (RFC 9535) for matchers and comparisons, by the `python-jsonpath` library."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import jsonpath

from automata.errors import Invalid

MAX_CHARS = 500


@cache
def find(path: str) -> Callable[[Any], list[Any]]:
    """A function from data to the values at `path`. Raises Invalid (`bad_path`) when `path` is no JSONPath."""
    query = _compiled(path)
    return lambda data: list(query.findall(data))


@cache
def locate(path: str) -> Callable[[Any], list[tuple[int | str, ...]]]:
    """Like `find`, but where the values are: keys and indexes from the root."""
    query = _compiled(path)
    return lambda data: [match.parts for match in query.finditer(data)]


def _compiled(path: str) -> Any:
    if len(path) > MAX_CHARS:
        raise Invalid(f"A JSONPath has at most {MAX_CHARS} characters.", code="bad_path")
    try:
        return jsonpath.compile(path)
    except Exception as error:
        raise Invalid(f"`{path}` is no JSONPath: {error}.", code="bad_path", hint="Write $.items[0].id") from error
