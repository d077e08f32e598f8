"""What an answer was packed in is taken off to the last byte, or the answer says that it cannot be."""

from __future__ import annotations

import gzip
import os
import zlib
from typing import Any

import pytest
from aiohttp import web

from automata.steps.content_encoding import Decoder, EncodingError, TooLargeError
from automata.steps.contract import HttpRequest

TEXT = b"umlauts \xc3\xbc and bytes \x00\xff " * 500
MANY = 10 * 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


PACKED = [
    (["gzip"], gzip.compress(TEXT)),
    (["x-gzip"], gzip.compress(TEXT)),
    (["GZip"], gzip.compress(TEXT)),
    (["deflate"], zlib.compress(TEXT)),
    (["deflate"], raw_deflate(TEXT)),
    (["identity"], TEXT),
    ([""], TEXT),
    (["gzip, gzip"], gzip.compress(gzip.compress(TEXT))),
    (["gzip", "gzip"], gzip.compress(gzip.compress(TEXT))),
    (["deflate, identity, x-gzip"], gzip.compress(zlib.compress(TEXT))),
    (["gzip, deflate"], zlib.compress(gzip.compress(TEXT))),
    (["gzip"], gzip.compress(TEXT[:7000]) + gzip.compress(TEXT[7000:])),
    (["gzip"], gzip.compress(TEXT) + b"\0" * 512),
    (["gzip"], gzip.compress(b"") + gzip.compress(TEXT)),
]
BROKEN = [
    (["gzip"], b"not gzip at all"),
    (["gzip"], gzip.compress(TEXT)[:-20]),
    (["gzip"], gzip.compress(TEXT)[:5]),
    (["gzip"], gzip.compress(TEXT) + b"and a tail"),
    (["gzip"], gzip.compress(TEXT)[:-8] + b"\0" * 8),
    (["gzip, gzip"], gzip.compress(TEXT)),
    (["deflate"], b"\x78"),
    (["deflate"], zlib.compress(TEXT) + b"tail"),
    (["br"], TEXT),
    (["zstd"], TEXT),
    (["gzip, klingon"], gzip.compress(TEXT)),
    (["gzip, " * 5], TEXT),
]


def names(pairs: list[tuple[list[str], bytes]]) -> list[str]:
    return [f"{number}-{'+'.join(codings)}" for number, (codings, _) in enumerate(pairs)]


def decoded(codings: list[str], data: bytes, size: int) -> bytes:
    decoder = Decoder(codings, MANY)
    out = b"".join(b"".join(decoder.feed(data[at : at + size])) for at in range(0, len(data), size))
    decoder.finish()
    return out


@pytest.mark.parametrize("size", [1, 7, 4096, MANY])
@pytest.mark.parametrize(("codings", "data"), PACKED, ids=names(PACKED))
def test_every_layer_is_taken_off_however_the_bytes_arrive(codings: list[str], data: bytes, size: int) -> None:
    assert decoded(codings, data, size) == TEXT


@pytest.mark.parametrize("size", [1, MANY])
@pytest.mark.parametrize(("codings", "data"), BROKEN, ids=names(BROKEN))
def test_what_cannot_be_taken_off_is_told(codings: list[str], data: bytes, size: int) -> None:
    with pytest.raises(EncodingError):
        decoded(codings, data, size)


@pytest.mark.parametrize("size", [65_536, 65_536 * 3, 65_537])
def test_output_that_fills_whole_pieces_is_not_left_inside(size: int) -> None:
    data = os.urandom(16) * (size // 16) + b"x" * (size % 16)
    assert decoded(["gzip"], gzip.compress(data), MANY) == data


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_cut_off_in_any_layer(layers: int) -> None:
    data = bytes(64 * 1024 * 1024)
    for _ in range(layers):
        data = gzip.compress(data)
    decoder = Decoder(["gzip"] * layers, 1024)
    with pytest.raises(TooLargeError):
        for _ in decoder.feed(data):
            pass


@pytest.mark.parametrize(("codings", "data"), PACKED, ids=names(PACKED))
async def test_a_real_answer_is_decoded(codings: list[str], data: bytes, serve: Any, transport: Any) -> None:
    async def packed(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept-Encoding"] == "gzip, deflate"
        headers = [("Content-Encoding", coding) for coding in codings]
        return web.Response(body=data, headers=headers)  # type: ignore[arg-type]

    async with serve(packed) as url, transport() as real:
        answer = await real.send(HttpRequest("GET", url))
        assert (answer.body, answer.body_error) == (TEXT, "")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("codings", "data"), BROKEN, ids=names(BROKEN))
async def test_an_answer_that_cannot_be_decoded_is_one_and_says_so(
    codings: list[str], data: bytes, method: str, serve: Any, transport: Any, attempt: Any
) -> None:
    async def packed(request: web.Request) -> web.StreamResponse:
        headers = [("Content-Encoding", coding) for coding in codings]
        return web.Response(body=data, headers=headers)  # type: ignore[arg-type]

    async with serve(packed) as url, transport() as real:
        outcome = await attempt(real, {"url": url, "method": method})
        assert outcome.failure is None
        assert outcome.outputs["status_code"] == 200
        assert "body" not in outcome.outputs
        assert outcome.outputs["body_error"].startswith("The response ")


async def test_an_empty_answer_with_an_encoding_is_empty(serve: Any, transport: Any) -> None:
    async def empty(request: web.Request) -> web.Response:
        return web.Response(body=b"", headers={"Content-Encoding": "gzip"})

    async with serve(empty) as url, transport() as real:
        for method in ("GET", "HEAD", "POST"):
            answer = await real.send(HttpRequest(method, url))
            assert (answer.body, answer.body_error) == (b"", "")


async def test_a_flow_may_ask_for_an_encoding_itself(serve: Any, transport: Any) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Accept-Encoding"])

    async with serve(told) as url, transport() as real:
        request = HttpRequest("GET", url, (("accept-encoding", "identity"),))
        assert (await real.send(request)).body == b"identity"
