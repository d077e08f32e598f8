"""The bell inside one process and one event loop."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from types import TracebackType
from typing import Self


class LocalListener:
    def __init__(self, homes: list[set[LocalListener]]) -> None:
        self._rang = asyncio.Event()
        self._homes = homes
        for home in homes:
            home.add(self)

    def hear(self) -> None:
        self._rang.set()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        try:
            async with asyncio.timeout(timeout):
                await self._rang.wait()
        except TimeoutError:
            return False
        self._rang.clear()
        return True

    def close(self) -> None:
        for home in self._homes:
            home.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalBroker:
    def __init__(self) -> None:
        self._topics: defaultdict[str, set[LocalListener]] = defaultdict(set)
        self._named: dict[tuple[str, str], set[LocalListener]] = {}

    def ring(self, topic: str, ids: Sequence[str] = ()) -> None:
        for listener in self._topics[topic]:
            listener.hear()
        if self._named:
            for name in ids:
                for listener in self._named.get((topic, name), ()):
                    listener.hear()

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        if id is None:
            return LocalListener([self._topics[topic] for topic in topics])
        self._forget_the_silent()
        return LocalListener([self._named.setdefault((topic, id), set()) for topic in topics])

    def _forget_the_silent(self) -> None:
        # An id is listened to for seconds; its empty set is dropped when the table has grown, not at each close.
        if len(self._named) >= 1024:
            self._named = {key: home for key, home in self._named.items() if home}

    async def close(self) -> None:
        self._topics.clear()
        self._named.clear()
