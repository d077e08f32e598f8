"""The bell inside one process and one event loop; the other brokers end in it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from automata.broker.contract import BrokerState

MAX_HINTS = 1000  # ids that one listener remembers; what comes on top is rung for, but not named

# Told once by each listener that heard: True when its look is committed, False when it leaves without one.
Ack = Callable[[bool], None]


@dataclass(slots=True)
class _Pending:
    ids: dict[str, None] = field(default_factory=dict)
    pending_acks: list[Ack] = field(default_factory=list)
    rang: bool = False

    def add(self, ids: Iterable[str], owed: Iterable[Ack]) -> None:
        for name in ids:
            if len(self.ids) >= MAX_HINTS:
                break
            self.ids[name] = None
        self.pending_acks += owed
        self.rang = True

    def answer(self, committed: bool) -> None:
        owed, self.pending_acks = self.pending_acks, []
        for tell in owed:
            tell(committed)


class LocalListener:
    def __init__(
        self,
        homes: list[set[LocalListener]],
        unannounced: Callable[[], None] | None = None,
        closed: Callable[[], None] | None = None,
    ) -> None:
        """`unannounced` is called when a look found work although nothing had rung for it."""
        self._rang = asyncio.Event()
        self._silent = False  # the last wait ended without a ring
        self._unannounced = unannounced
        self._closed = closed
        # A look answers for what rang before it began (`_hand`), not for what rings while it goes on (`_arrived`).
        self._hand = _Pending()
        self._arrived = _Pending()
        self._homes = homes
        for home in homes:
            home.add(self)

    def receive(self, ids: Iterable[str] = (), answer: Ack | None = None) -> None:
        self._arrived.add(ids, [answer] if answer else ())
        self._rang.set()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        try:
            async with asyncio.timeout(timeout):
                await self._rang.wait()
            self._silent = False
        except TimeoutError:
            self._silent = True
            return False
        finally:
            self._take()
        self._rang.clear()
        return True

    def _take(self) -> None:
        arrived, self._arrived = self._arrived, _Pending()
        if arrived.rang:
            self._hand.add(arrived.ids, arrived.pending_acks)

    @property
    def ids(self) -> Sequence[str]:
        return tuple(self._hand.ids)

    def done(self, found: bool = True) -> None:
        self._hand.answer(committed=True)
        self._hand = _Pending()
        self._take()
        if found and self._silent and self._unannounced:
            self._unannounced()
        self._silent = False

    def close(self) -> None:
        for home in self._homes:
            home.discard(self)
        if self._closed:
            self._closed()
        self._take()
        unanswered, self._hand = self._hand, _Pending()
        unanswered.answer(committed=False)
        if unanswered.rang:
            for other in {listener for home in self._homes for listener in home}:
                other.receive(unanswered.ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalBroker:
    def __init__(
        self,
        unannounced: Callable[[Sequence[str]], None] | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """`unannounced(topics)` is called when a listener of these found work that no ring had announced, `changed`
        when a topic may have got its first listener or lost its last one.
        """
        self._topics: defaultdict[str, set[LocalListener]] = defaultdict(set)
        self._named: dict[tuple[str, str], set[LocalListener]] = {}
        self._unannounced = unannounced
        self._changed = changed

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        for listener in self._topics[topic]:
            listener.receive(ids)
        if self._named:
            for name in ids:
                for listener in self._named.get((topic, name), ()):
                    listener.receive([name])

    def notify_all_topics(self) -> None:
        """Every listener to whole topics looks once: rings may have been missed."""
        for topic in self._topics:
            self.notify(topic)

    def deliver(self, topic: str, ids: Sequence[str], answer: Ack) -> None:
        """A ring that wants an answer: from every listener that hears it; False at once when nobody does."""
        hearers = list(self._topics.get(topic, ()))
        if not hearers:
            answer(False)
            return
        told = _SharedAck(len(hearers), answer)
        for listener in hearers:
            listener.receive(ids, told)

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        if id is None:
            report = self._unannounced
            homes = [self._topics[topic] for topic in topics]
            listener = LocalListener(homes, (lambda: report(topics)) if report else None, self._changed)
            if self._changed:
                self._changed()
            return listener
        self._forget_the_silent()
        return LocalListener([self._named.setdefault((topic, id), set()) for topic in topics])

    def topics(self) -> set[str]:
        """Those that somebody listens to as a whole."""
        return {topic for topic, listeners in self._topics.items() if listeners}

    def _forget_the_silent(self) -> None:
        # An id is listened to for seconds; its empty set is dropped when the table has grown, not at each close.
        if len(self._named) >= 1024:
            self._named = {key: home for key, home in self._named.items() if home}

    def state(self) -> BrokerState:
        return BrokerState("local", True)

    async def close(self) -> None:
        self._topics.clear()
        self._named.clear()


class _SharedAck:
    """One answer out of several listeners': the work is done when one of them has done it, given back when none did."""

    def __init__(self, hearers: int, answer: Ack) -> None:
        self._left = hearers
        self._answer: Ack | None = answer

    def __call__(self, committed: bool) -> None:
        self._left -= 1
        if self._answer and (committed or not self._left):
            self._answer(committed)
            self._answer = None
