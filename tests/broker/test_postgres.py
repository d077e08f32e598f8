"""LISTEN/NOTIFY when PostgreSQL is not there, goes away, or when strangers speak on the channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from automata import telemetry
from automata.broker.contract import RUNS_PENDING
from automata.broker.notification import MAX_BYTES, encode
from automata.broker.postgres import PostgresBroker
from automata.errors import Unavailable
from automata.store import listen_notify
from automata.store.listen_notify import CHANNEL, NotifyConnection, open_notify_connection
from tests.broker.conftest import connected
from tests.broker.test_notification import HOSTILE
from tests.promises.proxy import Proxy, postgres_target


def metric(name: str, **labels: str) -> float:
    return telemetry.REGISTRY.get_sample_value(name, labels) or 0.0


def broker_on(url: str) -> PostgresBroker:
    return PostgresBroker(lambda: open_notify_connection(url))


def cut(url: str) -> int:
    """End every connection of a broker, as a restart of the server would."""
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'automata bell' AND datname = current_database()"
        ).rowcount


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_connections_that_were_cut_come_back_and_every_listener_looks_once(fresh_database_url: str) -> None:
    broker = broker_on(fresh_database_url)
    with broker.listen(RUNS_PENDING) as listener:
        await connected(broker)
        assert await listener.wait(120)
        assert await asyncio.to_thread(cut, fresh_database_url) == 2
        assert await listener.wait(120), "who was away cannot know what it missed"
        await connected(broker)
        broker.notify(RUNS_PENDING, ["after"])
        while "after" not in listener.ids:
            assert await listener.wait(120)
    await broker.close()


async def test_a_route_that_swallows_everything_is_noticed_without_any_traffic(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listen_notify.QUIET_SEC + listen_notify.ANSWER_SEC < 30, "the real ones keep the promise"
    monkeypatch.setattr(listen_notify, "QUIET_SEC", 0.2)
    monkeypatch.setattr(listen_notify, "ANSWER_SEC", 0.3)

    with Proxy(postgres_target(fresh_database_url)) as proxy:
        ringer, deaf = broker_on(fresh_database_url), broker_on(proxy.url(fresh_database_url))
        with deaf.listen(RUNS_PENDING) as listener:
            await connected(ringer, deaf)
            proxy.swallow = True
            await until(lambda: not deaf.state().connected)
            proxy.swallow = False
            await connected(deaf)
            ringer.notify(RUNS_PENDING, ["after"])
            while "after" not in listener.ids:
                assert await listener.wait(120)
        await asyncio.gather(ringer.close(), deaf.close())


async def test_without_a_server_rings_are_dropped_counted_and_heard_in_their_own_process() -> None:
    broker = broker_on("postgresql://nobody@127.0.0.1:1/nothing")
    labels = {"topic": RUNS_PENDING, "result": "dropped"}
    before = metric("automata_broker_rings_total", **labels)
    with broker.listen(RUNS_PENDING) as listener:
        broker.notify(RUNS_PENDING, ["a", "b"])
        assert await listener.wait(120)
        await until(lambda: "not connected yet" not in broker.state().detail)
    assert not broker.state().connected
    assert "127.0.0.1" in broker.state().detail
    assert metric("automata_broker_rings_total", **labels) - before == 2
    started = time.monotonic()
    await broker.close()
    assert time.monotonic() - started < 3


async def test_a_server_that_comes_late_is_found_and_hears_what_was_missed(fresh_database_url: str) -> None:
    up = asyncio.Event()

    @asynccontextmanager
    async def connect() -> AsyncIterator[NotifyConnection]:
        if not up.is_set():
            raise Unavailable("not yet")
        async with open_notify_connection(fresh_database_url) as wire:
            yield wire

    late, other = PostgresBroker(connect), broker_on(fresh_database_url)
    with other.listen(RUNS_PENDING) as listener:
        await connected(other)
        assert await listener.wait(120)
        late.notify(RUNS_PENDING, ["a"])
        assert not await listener.wait(0.1)
        up.set()
        assert await listener.wait(120)
    await asyncio.gather(late.close(), other.close())


def sayable(body: bytes) -> bool:
    """What PostgreSQL lets through: text of 1 to 7999 bytes."""
    try:
        return 0 < len(body) < 8000 and b"\x00" not in body and bool(body.decode())
    except UnicodeDecodeError:
        return False


@pytest.mark.parametrize("name", [name for name, body in HOSTILE.items() if sayable(body)])
async def test_a_stranger_on_the_channel_is_counted_and_harms_nothing(fresh_database_url: str, name: str) -> None:
    payload = HOSTILE[name].decode()

    broker = broker_on(fresh_database_url)
    before = metric("automata_broker_poison_total", broker="postgres")
    with broker.listen(RUNS_PENDING) as listener:
        await connected(broker)
        assert await listener.wait(120)
        async with await psycopg.AsyncConnection.connect(fresh_database_url, autocommit=True) as conn:
            await conn.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
        await until(lambda: metric("automata_broker_poison_total", broker="postgres") == before + 1)
        assert not await listener.wait(0)
        broker.notify(RUNS_PENDING, ["good"])
        assert await listener.wait(120)
    await broker.close()


async def test_the_largest_ring_fits_into_a_notification(database_url: str) -> None:
    ids = ["x" * 200] * 100
    bodies = [body.decode() for body in encode(RUNS_PENDING, ids)]
    assert MAX_BYTES - 210 < max(map(len, bodies)) <= MAX_BYTES

    async with open_notify_connection(database_url) as wire:
        await wire.notify(bodies)


async def test_a_silent_ear_is_built_anew_when_work_is_found_that_nothing_announced(fresh_database_url: str) -> None:
    ringer, deaf = broker_on(fresh_database_url), broker_on(fresh_database_url)
    watchdog = deaf._watchdogs[RUNS_PENDING,]
    hours = iter([0.0, 16.0])
    watchdog._clock = lambda: next(hours)
    with deaf.listen(RUNS_PENDING) as listener:
        await connected(ringer, deaf)
        assert await listener.wait(120)
        rebuilds = metric("automata_broker_rebuilds_total", broker="postgres", role="ear")
        for _ in range(2):
            assert not await listener.wait(0.01)
            listener.done(found=True)
        assert metric("automata_broker_rebuilds_total", broker="postgres", role="ear") == rebuilds + 1
        assert await listener.wait(120)
        await connected(deaf)
        ringer.notify(RUNS_PENDING, [name := str(uuid4())])
        while name not in listener.ids:
            assert await listener.wait(120)
    await asyncio.gather(ringer.close(), deaf.close())
