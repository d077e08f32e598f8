"""Single flight, values that are good for a time, and values that may be a little old."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from automata.caching import SingleFlight, SingleFlightCache, StaleWhileRevalidate

pytestmark = pytest.mark.anyio


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Answers reads from a list, an exception by raising it; a read waits where `gate` is closed."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.reads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, *key: object) -> object:
        self.reads += 1
        answer = self.answers.pop(0)
        await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def settled() -> None:
    """Everything that can go on has gone on: a read needs a task, its answer and a callback."""
    for _ in range(5):
        await asyncio.sleep(0)


async def waiting(source: Source, get: Callable[[], object], callers: int) -> list[asyncio.Task[object]]:
    """Callers who have all asked while the gate of the source is closed."""
    source.gate.clear()
    tasks = [asyncio.ensure_future(get()) for _ in range(callers)]
    await settled()
    return tasks


async def test_who_asks_while_a_read_runs_gets_its_answer() -> None:
    source, flight = Source("a"), SingleFlight[str, object]()
    tasks = await waiting(source, lambda: flight.run("key", source), 3)
    assert (source.reads, len(flight)) == (1, 1)
    source.gate.set()
    assert await asyncio.gather(*tasks) == ["a"] * 3
    assert len(flight) == 0


async def test_two_keys_are_read_side_by_side() -> None:
    first, second, flight = Source("a"), Source("b"), SingleFlight[str, object]()
    assert await asyncio.gather(flight.run("1", first), flight.run("2", second)) == ["a", "b"]


async def test_a_caller_who_leaves_does_not_end_the_read_for_the_others() -> None:
    source, flight = Source("a"), SingleFlight[str, object]()
    first, second = await waiting(source, lambda: flight.run("key", source), 2)
    first.cancel()
    await settled()
    source.gate.set()
    assert await second == "a"
    assert first.cancelled()


async def test_a_failure_is_for_those_who_wait_and_the_next_caller_reads_again() -> None:
    source, flight = Source(OSError("away"), "a"), SingleFlight[str, object]()
    tasks = await waiting(source, lambda: flight.run("key", source), 2)
    source.gate.set()
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(failure) for failure in failures] == [OSError, OSError]
    assert await flight.run("key", source) == "a"


async def test_a_value_is_good_from_before_its_read_and_for_the_shorter_of_both_times(clock: Clock) -> None:
    source = Source(("a", 60.0), ("b", 2.0), ("c", 60.0))
    cache: SingleFlightCache[str, str] = SingleFlightCache(source, ttl_sec=5.0, clock=clock)
    (task,) = await waiting(source, lambda: cache.get("key"), 1)
    clock.now += 4  # the read takes this long
    source.gate.set()
    assert await task == "a"
    clock.now += 0.9
    assert await cache.get("key") == "a"
    clock.now += 0.1
    assert await cache.get("key") == "b"
    clock.now += 2
    assert await cache.get("key") == "c"


async def test_what_is_not_there_is_not_kept_and_drops_what_was(clock: Clock) -> None:
    source = Source(("a", 60.0), None, None)
    cache: SingleFlightCache[str, str] = SingleFlightCache(source, ttl_sec=5.0, clock=clock)
    assert await cache.get("key") == "a"
    clock.now += 10
    assert "key" in cache  # for whoever asks whether it was good once
    assert await cache.get("key") is None
    assert ("key" in cache, len(cache)) == (False, 0)
    assert await cache.get("key") is None
    assert source.reads == 3


async def test_clearing_makes_the_next_caller_read(clock: Clock) -> None:
    source = Source(("a", 60.0), ("b", 60.0))
    cache: SingleFlightCache[str, str] = SingleFlightCache(source, ttl_sec=5.0, clock=clock)
    assert await cache.get("key") == "a"
    cache.clear()
    assert await cache.get("key") == "b"


async def test_of_many_keys_the_oldest_are_dropped(clock: Clock) -> None:
    source = Source(*[(number, 60.0) for number in range(5)])
    cache: SingleFlightCache[int, int] = SingleFlightCache(
        source,
        ttl_sec=5.0,
        max_keys=3,
        clock=clock,
    )
    for number in range(5):
        assert await cache.get(number) == number
    assert [number in cache for number in range(5)] == [False, False, True, True, True]


async def test_an_old_value_is_given_while_one_task_reads_a_newer_one(clock: Clock) -> None:
    source = Source("a", "b")
    value: StaleWhileRevalidate[object] = StaleWhileRevalidate(source, 5.0, 60.0, clock)
    assert await value.get() == "a"
    clock.now += 5
    source.gate.clear()
    assert [await value.get(), await value.get()] == ["a", "a"]
    source.gate.set()
    await settled()
    assert (await value.get(), source.reads) == ("b", 2)


async def test_past_its_limit_an_old_value_is_never_given(clock: Clock) -> None:
    source = Source("a", OSError("away"), OSError("away"), "b")
    value: StaleWhileRevalidate[object] = StaleWhileRevalidate(source, 5.0, 60.0, clock)
    assert await value.get() == "a"
    clock.now += 59
    assert await value.get() == "a"  # the read behind it fails, and nobody hears of it
    await settled()
    clock.now += 1
    with pytest.raises(OSError, match="away"):
        await value.get()
    assert await value.get() == "b"


async def test_forgetting_makes_the_next_caller_wait_for_a_read(clock: Clock) -> None:
    source = Source("a", "b")
    value: StaleWhileRevalidate[object] = StaleWhileRevalidate(source, 5.0, 60.0, clock)
    assert await value.get() == "a"
    value.clear()
    assert await value.get() == "b"
