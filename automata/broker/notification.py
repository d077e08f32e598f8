"""The message of a notification: `{"topic": ..., "ids": [...]}`, small, and read as if a stranger had written it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

# A batch of finished steps is 500 rows. 100 ids a message make several messages of it, so that several workers wake.
MAX_IDS = 100
MAX_BYTES = 7900  # NOTIFY takes less than 8000; one limit for both brokers keeps one code path

_TOPIC = re.compile(r"[a-z][A-Za-z0-9_.-]{0,199}\Z")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,199}\Z")


class Notification(NamedTuple):
    """What listeners of a topic are told: there is work, perhaps for these ids."""

    topic: str
    ids: tuple[str, ...]


class MalformedNotification(ValueError):
    """What came is no notification; the text of the error says why, without quoting what came."""


def encode(topic: str, ids: Sequence[str]) -> Iterator[bytes]:
    """One or more messages. A name that is no id is left out: listeners look into the database all the same."""
    if not _TOPIC.match(topic):
        return
    fit = [name for name in ids if _ID.match(name)]
    room = MAX_BYTES - len(_encode(topic, []))
    batch: list[str] = []
    size = 0
    for name in fit:
        cost = len(name) + 3  # quotes and comma; an id is ASCII
        if batch and (len(batch) == MAX_IDS or size + cost > room):
            yield _encode(topic, batch)
            batch, size = [], 0
        batch.append(name)
        size += cost
    if batch or not fit:
        yield _encode(topic, batch)


def decode(body: bytes) -> Notification:
    """Raises NotARing."""
    if len(body) > MAX_BYTES:
        raise MalformedNotification(f"{len(body)} bytes; {MAX_BYTES} are allowed")
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedNotification("not JSON") from error
    if not isinstance(content, dict) or set(content) != {"topic", "ids"}:
        raise MalformedNotification("not an object of topic and ids")
    topic, ids = content["topic"], content["ids"]
    if not isinstance(topic, str) or not _TOPIC.match(topic):
        raise MalformedNotification("topic is not a name")
    if not isinstance(ids, list) or len(ids) > MAX_IDS:
        raise MalformedNotification(f"ids is not a list of at most {MAX_IDS}")
    if not all(isinstance(name, str) and _ID.match(name) for name in ids):
        raise MalformedNotification("an id is not an id")
    return Notification(topic, tuple(ids))


def _encode(topic: str, ids: Sequence[str]) -> bytes:
    return orjson.dumps({"topic": topic, "ids": ids})
