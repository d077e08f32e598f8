"""Mocks to begin with, from the requests that no mock answered."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

MAX_MOCKS = 500  # as many as a file of mocks may have


def skeletons(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One mock for each method and URL, in the order they were first sent, answering 200 with an empty object.

    `requests` are those of a Result. What was sent is not copied: a body may hold what does not belong in a repository.
    """
    mocks: dict[tuple[str, str], dict[str, Any]] = {}
    for request in requests:
        key = (request["method"], request["url"])
        if key not in mocks and len(mocks) < MAX_MOCKS:
            mocks[key] = _mock(*key, taken={mock["id"] for mock in mocks.values()})
    return list(mocks.values())


def _mock(method: str, address: str, taken: set[str]) -> dict[str, Any]:
    url = urlsplit(address)
    matched: dict[str, Any] = {"host": url.hostname or "", "path": url.path or "/"}
    if query := _query(url.query):
        matched["query"] = query
    return {
        "id": _name(method, url.hostname or "", url.path, taken),
        "request": {"method": method, "url": matched},
        "responses": [{"status": 200, "json": {}}],
    }


def _query(text: str) -> dict[str, str | list[str]]:
    """Each parameter with its value, or with all of them in order where it is there several times."""
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    return {name: sent if len(sent) > 1 else sent[0] for name, sent in values.items()}


def _name(method: str, host: str, path: str, taken: set[str]) -> str:
    words = [method.lower(), *re.split(r"[^A-Za-z0-9]+", f"{host.split('.')[0]} {path}")]
    name = "-".join(word for word in words if word)[:90]
    number, free = 2, name
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free
