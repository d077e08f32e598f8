"""What a transport says of a request that failed shows no query: the libraries below write it into their messages."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import aiohttp
import pytest
from yarl import URL

from automata.steps.contract import HttpRequest, TransportError
from automata.steps.egress import _translated
from automata.steps.urls import without_queries

TARGET = "/orders?api_key=canary%2Fone&name=canary+two"


async def say(answer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(answer)
    await writer.drain()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nA\r\n\r\n"],
)
async def test_an_answer_that_is_no_http_is_told_without_the_query(
    answer: bytes, serve_raw: Any, transport: Any
) -> None:
    async with serve_raw(partial(say, answer)) as base, transport() as real:
        with pytest.raises(TransportError) as caught:
            await real.send(HttpRequest("GET", base + TARGET))
    assert "canary" not in caught.value.message
    assert f"{base}/orders" in caught.value.message


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.InvalidURL(f"http://a.test{TARGET}", "no"),
        aiohttp.ClientError(f"lost http://a.test{TARGET}"),
        aiohttp.ClientError(f"lost {URL('http://a.test' + TARGET)!r}"),
        aiohttp.ClientError("lost GET /orders?api_key=canary%2Fone&name=canary+two HTTP/1.1"),
        aiohttp.ClientError("lost api_key=canary/one&name=canary two"),
        OSError(f"at https://user:canary@b.test{TARGET}#canary"),
        ValueError(f"http://a.test{TARGET}"),
        TimeoutError(f"http://a.test{TARGET}"),
    ],
)
def test_an_error_of_a_library_is_told_without_the_query(error: Exception) -> None:
    told = _translated(error, HttpRequest("GET", f"http://a.test{TARGET}"))
    assert "canary" not in told.message


def test_a_message_without_an_address_stays_as_it_is() -> None:
    text = "Cannot connect to host a.test:443 ssl:default [Connection refused]"
    assert without_queries(text, "http://a.test/x") == text
