"""Notifications inside one process and one event loop; the other brokers end in it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from automata.broker.contract import BrokerState

MAX_HINTS = 1000  # ids that one listener remembers; what comes on top wakes it, but is not named

# Called once by each listener that was notified: True when its look is committed, False when it leaves without one.
Ack = Callable[[bool], None]


@dataclass(slots=True)
class _Pending:
    """Notifications that a listener has not acknowledged."""

    ids: dict[str, None] = field(default_factory=dict)
    acks: list[Ack] = field(default_factory=list)
    any: bool = False

    def add(self, ids: Iterable[str], acks: Iterable[Ack]) -> None:
        for name in ids:
            if len(self.ids) >= MAX_HINTS:
                break
            self.ids[name] = None
        self.acks += acks
        self.any = True

    def acknowledge(self, committed: bool) -> None:
        acks, self.acks = self.acks, []
        for ack in acks:
            ack(committed)


class LocalListener:
    """Is in each of the sets that its broker notifies, until it is closed."""

    def __init__(
        self,
        memberships: list[set[LocalListener]],
        unannounced: Callable[[], None] | None = None,
        closed: Callable[[], None] | None = None,
    ) -> None:
        """`unannounced` is called when a look found work although no notification had come for it."""
        self._notified = asyncio.Event()
        self._silent = False  # the last wait ended without a notification
        self._unannounced = unannounced
        self._closed = closed
        # A look acknowledges what came before it began (`_pending`), not what comes while it goes on (`_arrived`).
        self._pending = _Pending()
        self._arrived = _Pending()
        self._memberships = memberships
        for listeners in memberships:
            listeners.add(self)

    def receive(self, ids: Iterable[str] = (), ack: Ack | None = None) -> None:
        """A notification for this listener."""
        self._arrived.add(ids, [ack] if ack else ())
        self._notified.set()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a poll interval, not a deadline
        """See Listener.wait."""
        try:
            async with asyncio.timeout(timeout):
                await self._notified.wait()
            self._silent = False
        except TimeoutError:
            self._silent = True
            return False
        finally:
            self._take()
        self._notified.clear()
        return True

    def _take(self) -> None:
        arrived, self._arrived = self._arrived, _Pending()
        if arrived.any:
            self._pending.add(arrived.ids, arrived.acks)

    @property
    def ids(self) -> Sequence[str]:
        """See Listener.ids."""
        return tuple(self._pending.ids)

    def done(self, found: bool = True) -> None:
        """See Listener.done."""
        self._pending.acknowledge(committed=True)
        self._pending = _Pending()
        self._take()
        if found and self._silent and self._unannounced:
            self._unannounced()
        self._silent = False

    def close(self) -> None:
        """See Listener.close. The other listeners to its topics are notified instead."""
        for listeners in self._memberships:
            listeners.discard(self)
        if self._closed:
            self._closed()
        self._take()
        unacknowledged, self._pending = self._pending, _Pending()
        unacknowledged.acknowledge(committed=False)
        if unacknowledged.any:
            for other in {listener for listeners in self._memberships for listener in listeners}:
                other.receive(unacknowledged.ids)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalBroker:
    """Notifies the listeners of its own event loop."""

    def __init__(
        self,
        unannounced: Callable[[Sequence[str]], None] | None = None,
        changed: Callable[[], None] | None = None,
    ) -> None:
        """`unannounced(topics)` is called when a listener of these found work that no notification had announced,
        `changed` when a topic may have got its first listener or lost its last one.
        """
        self._topics: defaultdict[str, set[LocalListener]] = defaultdict(set)
        self._named: dict[tuple[str, str], set[LocalListener]] = {}
        self._unannounced = unannounced
        self._changed = changed

    def notify(self, topic: str, ids: Sequence[str] = ()) -> None:
        """See Broker.notify."""
        for listener in self._topics[topic]:
            listener.receive(ids)
        if self._named:
            for name in ids:
                for listener in self._named.get((topic, name), ()):
                    listener.receive([name])

    def notify_all_topics(self) -> None:
        """Every listener to whole topics looks once: notifications may have been missed."""
        for topic in self._topics:
            self.notify(topic)

    def deliver(self, topic: str, ids: Sequence[str], ack: Ack) -> None:
        """Notify, and call `ack` with how it ended; with False at once when nobody listens."""
        listeners = list(self._topics.get(topic, ()))
        if not listeners:
            ack(False)
            return
        shared = _SharedAck(len(listeners), ack)
        for listener in listeners:
            listener.receive(ids, shared)

    def listen(self, *topics: str, id: str | None = None) -> LocalListener:
        """See Broker.listen."""
        if id is None:
            unannounced = partial(self._unannounced, topics) if self._unannounced else None
            memberships = [self._topics[topic] for topic in topics]
            listener = LocalListener(memberships, unannounced, self._changed)
            if self._changed:
                self._changed()
            return listener
        self._drop_empty_sets()
        return LocalListener([self._named.setdefault((topic, id), set()) for topic in topics])

    def topics(self) -> set[str]:
        """Those that somebody listens to as a whole."""
        return {topic for topic, listeners in self._topics.items() if listeners}

    def _drop_empty_sets(self) -> None:
        # An id is listened to for seconds; its empty set is dropped when the table has grown, not at each close.
        if len(self._named) >= 1024:
            self._named = {key: listeners for key, listeners in self._named.items() if listeners}

    def state(self) -> BrokerState:
        """See Broker.state."""
        return BrokerState("local", True)

    async def close(self) -> None:
        """See Broker.close."""
        self._topics.clear()
        self._named.clear()


class _SharedAck:
    """One acknowledgement from several listeners: work is done when one of them did it, given back when none did."""

    def __init__(self, listeners: int, ack: Ack) -> None:
        self._left = listeners
        self._ack: Ack | None = ack

    def __call__(self, committed: bool) -> None:
        self._left -= 1
        if self._ack and (committed or not self._left):
            self._ack(committed)
            self._ack = None
