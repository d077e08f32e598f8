"""The body of an answer off the wire: decoded, within its bounds, and never at the price of the answer.

A body that breaks off, stalls or is not in its encoding comes after the status and the headers: the service has done
what it was asked. A call that may be repeated is (`connection_lost`, `timeout`); one that may not, a POST, keeps its
answer, which says what is wrong with its body.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from automata.steps.content_encoding import Decoder, EncodingError, TooLargeError
from automata.steps.contract import BROKEN_OFF, HttpRequest, TransportError, headroom_sec
from automata.steps.urls import redacted

MAX_SKIPPED_BYTES = 64 * 1024  # of a body that nobody reads: less than this is cheaper to read than a new connection
MAX_SKIPPING_SEC = 1.0
_BROKEN = (aiohttp.ClientError, HttpProcessingError, OSError)


async def read_body(answer: aiohttp.ClientResponse, request: HttpRequest, deadline: float) -> tuple[bytes, str]:
    """The decoded body, and why it is not all of it, "" when it is; `deadline` by the loop's clock.

    Raises TransportError `response_too_large`, and for a request that may be repeated what aiohttp raises.
    """
    if request.skip_body:
        return await _skipped(answer, deadline)
    if request.idempotent:
        return await _read(answer, request)
    got = bytearray()
    try:
        # The attempt ends with `timeout_sec` itself; an answer that is kept must be told before that.
        async with asyncio.timeout_at(deadline - headroom_sec(request.timeout_sec)):
            return await _read(answer, request, got)
    except TimeoutError:
        answer.close()
        return bytes(got), f"The body of the response did not come to its end within {request.timeout_sec:g} s."
    except _BROKEN:
        return bytes(got), BROKEN_OFF


async def _read(
    answer: aiohttp.ClientResponse, request: HttpRequest, got: bytearray | None = None
) -> tuple[bytes, str]:
    """In pieces, so that nothing beyond the limit is ever held; what came so far is in `got`."""
    announced = answer.content_length or 0
    if announced > request.max_bytes and "Content-Encoding" not in answer.headers and request.method != "HEAD":
        answer.close()
        raise _too_large(request, f"announces {announced} bytes")
    body = bytearray() if got is None else got
    try:
        decoder = _decoder(answer, request)
        async for data in answer.content.iter_any():
            for piece in decoder.feed(data) if decoder else (data,):
                body += piece
                if len(body) > request.max_bytes:
                    raise TooLargeError
            await asyncio.sleep(0)  # a thousandfold of what came may have come out, and others wait for this loop
        if decoder:
            decoder.finish()
    except TooLargeError:
        answer.close()
        raise _too_large(request, "sent more") from None
    except EncodingError as error:
        answer.close()
        return bytes(body), f"The response {error}."
    return bytes(body), ""


def _decoder(answer: aiohttp.ClientResponse, request: HttpRequest) -> Decoder | None:
    """None where there is nothing to decode, whatever the headers say."""
    encodings = answer.headers.getall("Content-Encoding", [])
    return Decoder(encodings, request.max_bytes) if encodings and not answer.content.at_eof() else None


async def _skipped(answer: aiohttp.ClientResponse, deadline: float) -> tuple[bytes, str]:
    """What a message about the answer may quote. However the body goes on, nobody asks for it.

    A recording is replayed by flows that may read it: it has to know what is not the whole body.
    """
    body = bytearray()
    whole = False
    with suppress(*_BROKEN, TimeoutError):
        async with asyncio.timeout_at(min(deadline, asyncio.get_running_loop().time() + MAX_SKIPPING_SEC)):
            async for piece in answer.content.iter_any():
                body += piece
                if len(body) > MAX_SKIPPED_BYTES:
                    break
            else:
                whole = True
    if not whole:
        answer.close()
    packed = "Content-Encoding" in answer.headers and bool(body)
    error = "The body of the response was not read." if packed or not whole else ""
    return b"" if packed else bytes(body[:MAX_SKIPPED_BYTES]), error


def _too_large(request: HttpRequest, what: str) -> TransportError:
    message = (
        f"{request.method} {redacted(request.url)}: the response {what}; max_response_bytes is {request.max_bytes}."
    )
    return TransportError("response_too_large", message)
