"""What a service answers after its work never makes a run do that work twice, and fails nobody who does not read it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from automata.engine.states import RunStatus
from automata.steps.registry import load_types
from tests.drive import Drive, drive

OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
RETRY = {"max_attempts": 3, "initial_delay_ms": 1, "jitter": "none"}


@dataclass
class Service:
    """Answers every request with `answer` and hangs up."""

    base: str = ""
    answer: bytes = b""
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            length = LENGTH.search(self.heads[-1])
            self.bodies.append(await reader.readexactly(int(length[1])) if length else b"")
            writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    server = await asyncio.start_server(service.talk, "127.0.0.1", 0)
    service.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield service
    server.close()


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Drive]:
    async with drive(database_url, {"http": load_types()["http"]}) as site:
        yield site


def pay(service: Service, **more: Any) -> dict[str, Any]:
    config = {"method": "POST", "url": service.base, **more.pop("config", {})}
    return {"id": "pay", "type": "http", "retry": RETRY, "config": config, **more}


STATUS = {"status": "{{ response.status }}"}
ANSWERS = {
    "204 with a body": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
    "broken off": OK + b"Content-Length: 100\r\n\r\nhalf",
    "broken chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n\r\n",
    "not its encoding": OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nhalf",
    "an encoding of its own": OK + b"Content-Encoding: klingon\r\nContent-Length: 4\r\n\r\nhalf",
    "json that is none": OK + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\nOK",
    "bytes": OK + b"Content-Type: image/png\r\nContent-Length: 4\r\n\r\n\x89PNG",
    "more than it says": OK + b"Content-Length: 2\r\n\r\nOK and more",
}


@pytest.mark.parametrize("outputs", [None, STATUS], ids=["all outputs", "the status alone"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_arrived_is_an_answer(
    answer: bytes, outputs: dict[str, str] | None, site: Drive, service: Service
) -> None:
    service.answer = answer
    run = await site.start(await site.put("pays", pay(service, **({"outputs": outputs} if outputs else {}))))
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert len(service.heads) == 1
    task = (await site.tasks(run))["pay"]
    assert task.outputs["status" if outputs else "status_code"] in (200, 204)


@pytest.mark.parametrize("answer", list(ANSWERS.values())[1:-1], ids=list(ANSWERS)[1:-1])
async def test_who_reads_a_body_that_cannot_be_read_fails_once(answer: bytes, site: Drive, service: Service) -> None:
    service.answer = answer
    run = await site.start(await site.put("reads", pay(service, outputs={"id": "{{ response.body.id }}"})))
    ended = await site.ended(run)
    assert (ended.status, ended.error["code"]) == (RunStatus.FAILED, "bad_response")
    assert "`response.body` cannot be read" in ended.error["message"]
    assert len(service.heads) == 1


async def test_a_download_that_is_no_text_is_never_sent_on_as_one(site: Drive, service: Service) -> None:
    service.answer = OK + b"Content-Type: application/pdf\r\nContent-Length: 9\r\n\r\n%PDF\xe2\xe3\xcf\xd3\n"
    fetch = {"id": "fetch", "type": "http", "config": {"url": service.base}}
    send = pay(service, config={"body": "{{ steps.fetch.outputs.body }}"}, depends_on=["fetch"])
    run = await site.start(await site.put("passes", fetch, send))
    ended = await site.ended(run)
    assert (ended.status, ended.error["step"]) == (RunStatus.FAILED, "pay")
    assert "that are no text in utf-8" in ended.error["message"]
    assert [head.split()[0] for head in service.heads] == [b"GET"]


async def test_a_document_in_another_charset_arrives_byte_for_byte(site: Drive, service: Service) -> None:
    document = '<?xml version="1.0" encoding="ISO-8859-1"?><n>Müller</n>'.encode("latin-1")
    service.answer = OK + b"Content-Type: application/xml\r\nContent-Length: %d\r\n\r\n" % len(document) + document
    fetch = {"id": "fetch", "type": "http", "config": {"url": service.base}}
    headers = {"Content-Type": "application/xml"}
    send = pay(service, config={"body": "{{ steps.fetch.outputs.body }}", "headers": headers}, depends_on=["fetch"])
    run = await site.start(await site.put("passes-xml", fetch, send))
    assert (await site.ended(run)).status is RunStatus.SUCCEEDED
    assert service.bodies == [b"", document]


async def test_cookies_come_apart(site: Drive, service: Service) -> None:
    cookies = ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]
    lines = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in cookies)
    service.answer = OK + lines.encode() + b"Content-Length: 0\r\n\r\n"
    outputs = {"cookies": "{{ response.headers['set-cookie'] }}"}
    run = await site.start(await site.put("logs-in", pay(service, outputs=outputs)))
    await site.ended(run)
    assert (await site.tasks(run))["pay"].outputs == {"cookies": cookies}
