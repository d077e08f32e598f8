"""How aiohttp is told of an answer whose head is fine and whose rest is not.

aiohttp's parser is given bytes as they come off the wire, and drops all that it has read of a piece when an error is
in it. A server that sends a body after `204 No Content` (or more than its `Content-Length`) mostly does so in one
piece: its answer would be no answer, and a call that was carried out would be made again. Here the head of an answer is
handed to the parser apart from what follows it. Once the head is known the answer has arrived; what cannot be read
behind it costs the connection, or the body, and never the answer.
"""

from __future__ import annotations

from typing import Any

from aiohttp.client_exceptions import ClientPayloadError
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import EMPTY_PAYLOAD

_ENDS = (b"\r\n\r\n", b"\n\n")  # of a head; aiohttp reads the second too


class AnswerHandler(ResponseHandler):
    """The protocol of one connection; it serves one request after another."""

    _in_head = False
    _over = False
    _last = b""

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent: the next bytes are the head of its answer."""
        self._in_head, self._over, self._last = True, False, b""
        super().set_response_params(**params)

    def feed_data(self, data: Any, size: int = 0) -> None:
        """The parser has read a head; `100 Continue` and its like come before the one that counts."""
        message, payload = data
        if not 100 <= message.code < 200 or message.code == 101:
            self._in_head = False
            self._over = payload is EMPTY_PAYLOAD
            if self._over and not self._skip_payload and _announces_body(message):
                self._should_close = True
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Bytes off the wire; none of them: go on with what was held back."""
        if not data:
            super().data_received(data)
        while data and self._in_head:
            size = self._head_size(data)
            head, data = data[:size], data[size:]
            self._last = (self._last + head)[-3:]
            super().data_received(head)
            if self._exception is not None:
                return
        if not data:
            return
        if self._over:
            self._should_close = True  # behind an answer that has no body: nobody asked for it
            return
        super().data_received(data)
        if self._exception is not None and self._payload is not None and not self._payload.is_eof():
            # aiohttp tells this to who waits for the next head, and lets who reads the body run into a closed door.
            self._payload.set_exception(ClientPayloadError("The body is not in the form that its head announces."))

    def _head_size(self, data: bytes) -> int:
        """How many bytes of `data` belong to the head, all of them when it does not end here."""
        before = len(self._last)
        text = self._last + data
        ends = [place + len(end) - before for end in _ENDS if (place := text.find(end)) >= 0]
        return min((end for end in ends if end > 0), default=len(data))


def _announces_body(message: Any) -> bool:
    """A 204 that says how long its body is; that of a 304 is the length that it would have."""
    if message.code == 304:
        return False
    return message.headers.get("Content-Length", "0").strip() != "0" or "Transfer-Encoding" in message.headers
