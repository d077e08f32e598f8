"""What one connection may cost before there is a request on it, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from automata.services import http_connections, http_protocol, http_server
from automata.services.http_connections import Connections

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
MEBIBYTE = 1024 * 1024


class Echo:
    """An application that reads the body and answers with its length, and with whom the request is from."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(context=SimpleNamespace(stopping=asyncio.Event()))
        self.bodies = 0
        self.release = asyncio.Event()
        self.release.set()
        self.answer = b""
        self._came = asyncio.Event()

    async def come(self, number: int) -> None:
        """Wait until so many bodies have been read."""
        while self.bodies < number:
            self._came.clear()
            await self._came.wait()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        self.bodies += 1
        self._came.set()
        await self.release.wait()
        body = self.answer or f"{size} {scope['client'][0]} {scope['scheme']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


class Server:
    def __init__(self, app: Echo, port: int) -> None:
        self.app = app
        self.port = port

    async def open(self, local: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(local, 0))

    async def ask(self, request: bytes = GET + b"Connection: close\r\n\r\n", local: str = "127.0.0.1") -> bytes:
        reader, writer = await self.open(local)
        try:
            writer.write(request)
            return await read_all(reader)
        finally:
            writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    try:
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b"reset"


@asynccontextmanager
async def serving(*proxies: str) -> AsyncIterator[Server]:
    app, end = Echo(), asyncio.Event()
    with http_server.bind("127.0.0.1", 0) as listening:
        task = asyncio.create_task(http_server.serve_http(app, listening, end, proxies))
        try:
            yield Server(app, listening.getsockname()[1])
        finally:
            end.set()
            await task


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as server:
        yield server


ENDLESS = {
    "a header's value": GET + b"X: " + b"a" * MEBIBYTE,
    "a header's name": GET + b"a" * MEBIBYTE,
    "an address": b"GET /" + b"a" * MEBIBYTE,
    "headers": GET + b"x: y\r\n" * (MEBIBYTE // 6),
    "a trailer": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + b"a" * MEBIBYTE,
    "a chunk's extension": POST + b"Transfer-Encoding: chunked\r\n\r\n1;x=" + b"a" * MEBIBYTE,
}


@pytest.mark.parametrize("sent", ENDLESS.values(), ids=ENDLESS)
async def test_what_has_no_end_is_cut_off_before_much_of_it_was_read(sent: bytes, server: Server) -> None:
    reader, writer = await server.open()
    answer = asyncio.create_task(read_all(reader))
    written = 0
    try:
        while not answer.done() and written < 100:
            writer.write(sent if not written else sent[-MEBIBYTE // 2 :])
            await writer.drain()
            written += 1
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert (await answer)[:12] in (b"HTTP/1.1 431", b"HTTP/1.1 400", b"reset", b"")
    writer.close()
    assert b"200 OK" in await server.ask()


async def test_a_large_body_and_many_requests_on_one_connection_are_fine(server: Server) -> None:
    reader, writer = await server.open()
    body = b"b" * 3 * MEBIBYTE
    for _ in range(3):
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    writer.write((GET + b"\r\n") * 200 + GET + b"Connection: close\r\n\r\n")
    answer = await read_all(reader)
    assert (answer.count(b"200 OK"), answer.count(b"%d 127.0.0.1" % len(body))) == (204, 3)
    small = b"".join(b"1\r\na\r\n" for _ in range(50_000))
    chunked = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + small + b"0\r\n\r\n"
    assert b"50000 127.0.0.1" in await server.ask(chunked)
    writer.close()


@pytest.mark.parametrize(
    "sent", [b"", b"GET", GET, POST + b"Content-Length: 5\r\n\r\nab", GET + b"\r\n"], ids=lambda sent: len(sent)
)
async def test_who_waits_too_long_is_hung_up_on(sent: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SEC", 0.05)
    monkeypatch.setattr(http_protocol, "BODY_SEC", 0.05)
    monkeypatch.setattr(http_connections, "SWEEP_SEC", 0.02)
    reader, writer = await server.open()
    writer.write(sent)
    answer = await read_all(reader)  # it ends: somebody hung up
    writer.close()
    assert (b"200 OK" in answer, b"408" in answer) == (sent.endswith(b"a\r\n\r\n"), sent not in (b"", GET + b"\r\n"))


async def test_who_reads_nothing_of_an_answer_is_hung_up_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "READ_SEC", 0.05)
    monkeypatch.setattr(http_connections, "SWEEP_SEC", 0.02)
    server.app.answer = b"x" * 64 * MEBIBYTE
    reader, writer = await server.open()
    writer.write(GET + b"\r\n")
    await server.app.come(1)
    await asyncio.sleep(0.3)
    assert len(await read_all(reader)) < 64 * MEBIBYTE
    writer.close()


async def test_a_request_that_is_being_answered_has_all_the_time_that_it_takes(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SEC", 0.05)
    monkeypatch.setattr(http_protocol, "BODY_SEC", 0.05)
    monkeypatch.setattr(http_connections, "SWEEP_SEC", 0.02)
    server.app.release.clear()
    asking = asyncio.create_task(server.ask())
    await asyncio.sleep(0.3)
    server.app.release.set()
    assert b"200 OK" in await asking


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for eight connections, four of them of one client."""
    monkeypatch.setattr(http_server, "Connections", lambda proxies: Connections(proxies, most=8, share=4))


@pytest.mark.usefixtures("few")
async def test_silent_connections_make_room_for_requests_also_of_the_same_client(server: Server) -> None:
    silent = [await server.open(f"127.0.0.{1 + n % 5}") for n in range(40)]
    for address in ("127.0.0.1", "127.0.0.2", "127.0.0.77"):
        assert b"200 OK" in await server.ask(local=address)
    for _, writer in silent:
        writer.close()


@pytest.mark.usefixtures("few")
async def test_a_client_has_its_share_of_requests_and_the_others_theirs(server: Server) -> None:
    server.app.release.clear()
    ours = [asyncio.create_task(server.ask(local="127.0.0.1")) for _ in range(4)]
    await server.app.come(4)
    assert await server.ask(local="127.0.0.1") in (b"", b"reset")
    theirs = asyncio.create_task(server.ask(local="127.0.0.2"))
    await server.app.come(5)
    server.app.release.set()
    assert all(b"200 OK" in answer for answer in [*await asyncio.gather(*ours), await theirs])
    assert b"200 OK" in await server.ask(local="127.0.0.1")


FORWARDED = b"X-Forwarded-For: 203.0.113.9, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n"


@pytest.mark.parametrize(
    ("proxies", "told"),
    [
        ((), b"127.0.0.1 http"),
        (("10.0.0.0/8",), b"127.0.0.1 http"),
        (("127.0.0.1",), b"198.51.100.7 https"),
        (("127.0.0.0/8", "198.51.100.7"), b"203.0.113.9 https"),
    ],
)
async def test_whom_a_request_is_from_is_believed_of_named_proxies_alone(proxies: tuple[str, ...], told: bytes) -> None:
    async with serving(*proxies) as server:
        assert told in await server.ask(GET + FORWARDED + b"Connection: close\r\n\r\n")


@pytest.mark.usefixtures("few")
async def test_connections_of_a_proxy_are_not_one_clients() -> None:
    async with serving("127.0.0.1") as server:
        server.app.release.clear()
        asking = [asyncio.create_task(server.ask()) for _ in range(8)]
        await server.app.come(8)
        server.app.release.set()
        assert all(b"200 OK" in answer for answer in await asyncio.gather(*asking))
