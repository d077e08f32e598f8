"""An answer whose head has arrived is an answer, whatever comes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from multidict import CIMultiDict

from automata.steps.answer_body import read_body
from automata.steps.contract import HttpRequest, HttpResponse, TransportError

OK = b"HTTP/1.1 200 OK\r\n"
NONE = b"HTTP/1.1 204 No Content\r\n"
TO_THE_END = OK + b"\r\nall "


class Service:
    """Sends these pieces to each request, with a turn of the loop between them, and counts the requests.

    `closes`: it hangs up behind each; else it waits for another on the same connection.
    """

    def __init__(self, *pieces: bytes, closes: bool = True) -> None:
        self.pieces = pieces
        self.closes = closes
        self.calls = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            self.calls += 1
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)  # so that they are not sent as one
            if self.closes:
                return
            await reader.readuntil(b"\r\n\r\n")


WHOLE: list[tuple[str, Sequence[bytes], int, bytes]] = [
    ("204 with a body", [NONE + b"Content-Length: 5\r\n\r\nhello"], 204, b""),
    ("204 with a body apart", [NONE + b"Content-Length: 5\r\n\r\n", b"hello"], 204, b""),
    ("204 with a body of no length", [NONE + b"\r\n<html>none</html>"], 204, b""),
    ("204 in chunks", [NONE + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"], 204, b""),
    ("204 with JSON", [NONE + b'Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a": 10}'], 204, b""),
    ("304 with a body", [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"], 304, b""),
    ("more than its length", [OK + b"Content-Length: 2\r\n\r\nOK and more"], 200, b"OK"),
    ("more than nothing", [OK + b"Content-Length: 0\r\n\r\nmore"], 200, b""),
    ("more behind the last chunk", [OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\nmore"], 200, b"OK"),
    ("byte by byte", [bytes([one]) for one in NONE + b"Content-Length: 2\r\n\r\nno"], 204, b""),
    ("100 before it", [b"HTTP/1.1 100 Continue\r\n\r\n" + NONE + b"Content-Length: 2\r\n\r\nno"], 204, b""),
    (
        "103 before it",
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK + b"Content-Length: 2\r\n\r\nOK"],
        200,
        b"OK",
    ),
    ("line feeds alone", [b"HTTP/1.1 204 No Content\nContent-Length: 2\n\nno"], 204, b""),
    ("to the end of the connection", [TO_THE_END, b"of it"], 200, b"all of it"),
    ("plain", [OK + b"Content-Length: 2\r\n\r\n", b"O", b"K"], 200, b"OK"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("pieces", "status", "body"), [one[1:] for one in WHOLE], ids=[one[0] for one in WHOLE])
async def test_what_comes_behind_an_answer_does_not_take_it_away(
    pieces: Sequence[bytes], status: int, body: bytes, method: str, serve_raw: Any, transport: Any
) -> None:
    service = Service(*pieces, closes=pieces[0] == TO_THE_END)
    async with serve_raw(service.talk) as url, transport() as real:
        for times in (1, 2):
            answer = await real.send(HttpRequest(method, url))
            assert (answer.status, answer.body, answer.body_error) == (status, body, "")
            assert service.calls == times, "it was sent once, and what was left over is not the next answer"


async def test_a_head_request_does_not_read_the_body_that_it_is_sent(serve_raw: Any, transport: Any) -> None:
    service = Service(OK + b"Content-Length: 5\r\n\r\nhello")
    async with serve_raw(service.talk) as url, transport() as real:
        for _ in range(2):
            answer = await real.send(HttpRequest("HEAD", url))
            assert (answer.status, answer.body, answer.body_error) == (200, b"", "")


async def test_a_connection_is_kept_for_the_next_request(serve_raw: Any, transport: Any) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for head in (NONE, NONE + b"Content-Length: 0\r\n", OK + b"Content-Length: 0\r\n"):
            writer.write(head + b"\r\n")
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    async with serve_raw(talk) as url, transport() as real:
        assert [(await real.send(HttpRequest("POST", url))).status for _ in range(3)] == [204, 204, 200]
    assert connections == 1


class Quitter:
    """Answers the first request of each connection, and hangs up on the second when it has read it."""

    def __init__(self) -> None:
        self.calls = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        writer.write(OK + b"Content-Length: 2\r\n\r\nOK")
        await writer.drain()
        await reader.readuntil(b"\r\n\r\n")
        self.calls += 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "POST", "PATCH"])
async def test_an_attempt_is_one_call_also_on_a_connection_that_was_kept(
    method: str, serve_raw: Any, transport: Any
) -> None:
    service = Quitter()
    async with serve_raw(service.talk) as url, transport() as real:
        assert (await real.send(HttpRequest("GET", url))).status == 200
        with pytest.raises(TransportError) as caught:
            await real.send(HttpRequest(method, url))
    assert (caught.value.code, caught.value.retryable, service.calls) == ("connection_lost", True, 2)


BROKEN: list[tuple[str, bytes, bytes]] = [
    ("half of its length", OK + b"Content-Length: 100\r\n\r\nhalf", b"half"),
    ("none of its length", OK + b"Content-Length: 100\r\n\r\n", b""),
    ("half a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", b"half"),
    ("no last chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"half"),
    ("a chunk of no size", OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n\r\n", b""),
]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(("sent", "body"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
async def test_a_call_that_may_not_be_repeated_keeps_an_answer_whose_body_breaks_off(
    sent: bytes, body: bytes, method: str, serve_raw: Any, transport: Any
) -> None:
    service = Service(sent)
    async with serve_raw(service.talk) as url, transport() as real:
        answer = await real.send(HttpRequest(method, url))
    assert (answer.status, answer.body, service.calls) == (200, body, 1)
    assert answer.body_error == "The body of the response breaks off."


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(("sent", "body"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
async def test_a_call_that_may_be_repeated_is_worth_another_attempt(
    sent: bytes, body: bytes, method: str, serve_raw: Any, transport: Any
) -> None:
    service = Service(sent)
    async with serve_raw(service.talk) as url, transport() as real:
        with pytest.raises(TransportError) as caught:
            await real.send(HttpRequest(method, url))
    assert (caught.value.code, caught.value.retryable) == ("connection_lost", True)


@pytest.mark.parametrize(("method", "again"), [("GET", True), ("DELETE", True), ("POST", False), ("PATCH", False)])
@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH_9.6\r\n", OK + b"Content-Length: x\r\n\r\n"])
async def test_what_is_no_http_is_asked_again_only_where_that_does_no_harm(
    sent: bytes, method: str, again: bool, serve_raw: Any, transport: Any
) -> None:
    service = Service(sent)
    async with serve_raw(service.talk) as url, transport() as real:
        with pytest.raises(TransportError) as caught:
            await real.send(HttpRequest(method, url))
    assert (caught.value.code, caught.value.retryable) == ("protocol_error", again)


class Stalled:
    """An answer of aiohttp's that sends some bytes, and then nothing for ever."""

    content_length = None
    closed = False

    def __init__(self) -> None:
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.content = self

    async def iter_any(self) -> Any:
        yield b"some"
        await asyncio.Event().wait()

    def at_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


async def test_an_answer_whose_body_stalls_is_told_before_the_attempt_is_over() -> None:
    answer: Any = Stalled()
    request = HttpRequest("POST", "http://a.test/", timeout_sec=7)
    body, error = await read_body(answer, request, asyncio.get_running_loop().time())
    assert (body, answer.closed) == (b"some", True)
    assert error == "The body of the response did not come to its end within 7 s."


async def test_a_body_that_nobody_reads_is_not_waited_for() -> None:
    answer: Any = Stalled()
    request = HttpRequest("POST", "http://a.test/", skip_body=True)
    body = await read_body(answer, request, asyncio.get_running_loop().time())
    assert body == (b"some", "The body of the response was not read.")
    assert answer.closed


@pytest.mark.parametrize("sent", [OK + b"Content-Length: 300000\r\n\r\n" + b"x" * 300_000, BROKEN[0][1], BROKEN[4][1]])
async def test_a_body_that_is_not_read_has_no_size_and_cannot_break(
    sent: bytes, serve_raw: Any, attempt: Any, transport: Any
) -> None:
    service = Service(sent)
    async with serve_raw(service.talk) as url, transport() as real:
        outcome = await attempt(real, {"url": url, "response": "none", "max_response_bytes": 10})
    assert outcome.failure is None
    assert (outcome.outputs["status_code"], outcome.outputs["body"]) == (200, None)


@pytest.mark.parametrize(
    ("reading", "code"), [("auto", None), ("none", None), ("json", "bad_response"), ("text", "bad_response")]
)
async def test_a_step_says_how_its_answer_is_read(reading: str, code: str | None, attempt: Any, scripted: Any) -> None:
    broken = HttpResponse(200, (("Content-Type", "application/json"),), b"\xff", body_error="")
    outcome = await attempt(scripted(broken), {"url": "http://a.test/", "method": "POST", "response": reading})
    assert (outcome.failure and outcome.failure.code) == code
    assert outcome.failure is None or not outcome.failure.retryable


@pytest.mark.parametrize("config", [{"response": "bytes"}, {"response": None}, {"charset": "klingon"}, {"charset": 7}])
async def test_a_reading_that_is_none_sends_nothing(config: dict[str, Any], attempt: Any, scripted: Any) -> None:
    mock = scripted()
    outcome = await attempt(mock, {"url": "http://a.test/"} | config)
    assert (outcome.failure.code, mock.sent) == ("bad_config", [])
