"""HTTP on one connection, with bounds before the parser and an end for whoever sends or reads too slowly.

The parser joins the pieces of a header or a trailer by copying all that came before, so a header without an end costs
the square of its length. What may come without anything to show for it (a whole head, some of a body) is bounded here.
Uvicorn's own protocol does the rest; `tests/services/test_http_protocol.py` holds what is used of it.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from automata.services.http_connections import NEVER, Connections

MAX_SILENT_BYTES = 64 * 1024  # request_checks.py refuses a head of 40 KiB, in words; this stops the parser
HEAD_SEC = 10.0
BODY_SEC = 30.0  # and a second more for each BODY_BYTES_PER_SEC that have come
BODY_BYTES_PER_SEC = 8 * 1024
READ_SEC = 60.0  # a client that takes nothing of its answer
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """A connection of `doors`; `protocol_of` makes the class of one server."""

    doors: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadline = self.loop.time() + HEAD_SEC
        self.client_key = self.doors.key_of(self.client[0] if self.client else "")
        self._body_from = 0.0
        self._body_bytes = 0
        self._silent_bytes = 0
        self._moved = False
        if not self.doors.admit(self):
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.doors.leave(self)
        super().connection_lost(exc)

    def end(self) -> None:
        """Close a connection that waits, with an answer where a request has begun and none has been sent."""
        if self.transport.is_closing():
            return
        if self._is_answering() or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        if self._silent_bytes or self._is_waiting_for_body():
            self.transport.write(_TOO_SLOW)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._moved = False
        super().data_received(data)
        if self._moved or self.transport.is_closing():
            self._silent_bytes = 0
            return
        self._silent_bytes += len(data)
        if self._silent_bytes > MAX_SILENT_BYTES:
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.deadline = self.loop.time() + HEAD_SEC

    def on_headers_complete(self) -> None:
        self._moved = True
        self._body_bytes = 0
        self._body_from = self.loop.time()
        self.deadline = self._body_from + BODY_SEC
        self.doors.works(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._moved = True
        self._body_bytes += len(body)
        self.deadline = self._body_from + BODY_SEC + self._body_bytes / BODY_BYTES_PER_SEC
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        self.deadline = NEVER
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.pipeline:
            self.doors.waits(self)

    def pause_writing(self) -> None:
        self.deadline = self.loop.time() + READ_SEC
        super().pause_writing()

    def resume_writing(self) -> None:
        self.deadline = self.loop.time() + BODY_SEC if self._is_waiting_for_body() else NEVER
        super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete

    def _is_waiting_for_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete

    def _refuse(self) -> None:
        if self._is_answering():
            self.transport.abort()
            return
        self.transport.write(_TOO_LARGE)
        self.transport.close()


def protocol_of(connections: Connections) -> type[asyncio.Protocol]:
    """The protocol class of the server that has these connections, which Uvicorn takes as its setting `http`."""
    return type("BoundedProtocol", (BoundedProtocol,), {"doors": connections})
