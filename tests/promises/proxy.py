"""A TCP proxy that breaks what runs through it: cuts, swallows, drops the reply to what was carried out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from psycopg.conninfo import conninfo_to_dict

Chunk = bytes


class Proxy:
    """Listens on `port` of 127.0.0.1 and passes on to `target`: (host, port), or the path of a Unix socket.

    `swallow`: nothing is passed on in either direction, connections stay open. `refuse`: new connections are closed.
    `lose_reply(chunk)` is asked for each chunk of a client; when it says yes the chunk goes through, the server's
    answer is awaited and thrown away, and both ends are cut: the client cannot know that it was carried out.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.port = 0
        self.swallow = False
        self.refuse = False
        self.lose_reply: Callable[[Chunk], bool] = lambda chunk: False
        self.lost = 0
        self._pairs: set[_Pair] = set()
        self._serving: set[asyncio.Task[Any]] = set()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def cut(self) -> None:
        """Close every connection, without a word."""
        self._loop.call_soon_threadsafe(lambda: [pair.close() for pair in list(self._pairs)])

    def url(self, database_url: str) -> str:
        """The same database, through here."""
        parts = conninfo_to_dict(database_url)
        return f"postgresql://{parts['user']}@127.0.0.1:{self.port}/{parts['dbname']}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(120)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._run())
        finally:
            self._loop.close()

    async def _run(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        await self._stop.wait()
        server.close()
        for pair in list(self._pairs):
            pair.close()
        await asyncio.gather(*self._serving)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        try:
            upstream = await self._dial()
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(self, (reader, writer), upstream)
        self._pairs.add(pair)
        if task := asyncio.current_task():
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            await pair.run()
        finally:
            self._pairs.discard(pair)

    def _dial(self) -> Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        if isinstance(self.target, str):
            return asyncio.open_unix_connection(self.target)
        return asyncio.open_connection(*self.target)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Pair:
    def __init__(self, proxy: Proxy, client: Ends, server: Ends) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.losing = False

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests())
                group.create_task(self._replies())
        except* (OSError, EOFError):
            pass
        finally:
            self.close()

    def close(self) -> None:
        for _, writer in (self.client, self.server):
            with suppress(RuntimeError):
                writer.transport.abort()

    async def _requests(self) -> None:
        while chunk := await self.client[0].read(65536):
            if not self.proxy.swallow:
                self.losing = self.losing or self.proxy.lose_reply(chunk)
                self.server[1].write(chunk)
                await self.server[1].drain()
        raise EOFError

    async def _replies(self) -> None:
        while chunk := await self.server[0].read(65536):
            if self.losing:
                self.proxy.lost += 1
                break
            if not self.proxy.swallow:
                self.client[1].write(chunk)
                await self.client[1].drain()
        raise EOFError


def postgres_target(database_url: str) -> tuple[str, int] | str:
    """Where a database URL leads to, for Proxy."""
    parts = conninfo_to_dict(database_url)
    host, port = str(parts.get("host") or "127.0.0.1"), int(parts.get("port") or 5432)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)
