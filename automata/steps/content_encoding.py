"""The `Content-Encoding` of an answer taken off, in pieces, within a bound, and to the last byte or not at all.

A bomb is cut off by the size of what comes out of any of its layers, so that it chooses neither memory nor time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

ACCEPTED = "gzip, deflate"
MAX_LAYERS = 4
PIECE_BYTES = 64 * 1024
# A packed text of random bytes is larger than they are: what an inner layer may have beyond the bound of the outermost.
_SLACK_BYTES = 256 * 1024
_GZIP = frozenset({"gzip", "x-gzip"})
_ZLIB_METHOD = 8


class EncodingError(Exception):
    """The body is not in its encoding, or in one that is not known. The text goes behind `The response `."""


class TooLargeError(Exception):
    """More comes out than may be read."""


class Decoder:
    """Takes off all layers that a list of codings names. Raises EncodingError, TooLargeError."""

    def __init__(self, headers: Sequence[str], max_bytes: int) -> None:
        codings = [coding.strip().lower() for header in headers for coding in header.split(",")]
        applied = [coding for coding in codings if coding not in ("", "identity")]
        if len(applied) > MAX_LAYERS:
            raise EncodingError(f"is encoded {len(applied)} times over; {MAX_LAYERS} are taken off")
        if unknown := [coding for coding in applied if coding not in _GZIP and coding != "deflate"]:
            raise EncodingError(f"is in the encoding {unknown[0][:40]!a}, which is not known ({ACCEPTED} are)")
        # The first that was put on is the last to be taken off.
        self._layers = [_Layer(coding, max_bytes + _SLACK_BYTES) for coding in reversed(applied)]

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What comes out for what came in, in pieces of PIECE_BYTES."""
        return _through(self._layers, data)

    def finish(self) -> None:
        """Raises EncodingError when a layer has not come to its end."""
        for layer in self._layers:
            layer.finish()


def _through(layers: Sequence[_Layer], data: bytes) -> Iterator[bytes]:
    if not layers:
        yield data
        return
    for piece in layers[0].feed(data):
        yield from _through(layers[1:], piece)


class _Layer:
    def __init__(self, coding: str, max_bytes: int) -> None:
        self._coding = coding
        self._left = max_bytes
        self._inflater: zlib._Decompress | None = None
        self._head = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        data = self._begun(data)
        while data and self._inflater is not None:
            yield from self._member(self._inflater, data)
            data = self._next_member(self._inflater.unused_data) if self._inflater.eof else b""

    def finish(self) -> None:
        # An answer without a byte is empty, not broken: HEAD, 304, and many a 200.
        if self._head or (self._inflater is not None and not self._inflater.eof):
            raise EncodingError(f"breaks off inside its encoding, {self._coding}")

    def _begun(self, data: bytes) -> bytes:
        """What is to be inflated next, nothing while it cannot be known how."""
        if self._inflater is not None:
            return self._next_member(data) if self._inflater.eof else data
        data = self._head + data
        window = self._window(data)
        self._head = b"" if window else data
        if not window:
            return b""
        self._inflater = zlib.decompressobj(window)
        return data

    def _window(self, data: bytes) -> int:
        """How zlib calls the format; 0 for too few bytes to know."""
        if self._coding in _GZIP:
            return 16 + zlib.MAX_WBITS if data else 0
        if len(data) < 2:
            return 0
        # "deflate" means zlib; some servers leave out the two bytes that zlib puts before it.
        wrapped = data[0] & 0x0F == _ZLIB_METHOD and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS

    def _member(self, inflater: zlib._Decompress, data: bytes) -> Iterator[bytes]:
        full = True
        # A full piece may leave output inside zlib although all input is used up.
        while (data or full) and not inflater.eof:
            try:
                piece = inflater.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise EncodingError(f"is not in its encoding, {self._coding}") from None
            self._left -= len(piece)
            if self._left < 0:
                raise TooLargeError
            if piece:
                yield piece
            data, full = inflater.unconsumed_tail, len(piece) == PIECE_BYTES

    def _next_member(self, rest: bytes) -> bytes:
        """A gzip file may be several, one after another; zeros behind the last fill it up to a block."""
        if not rest.strip(b"\0"):
            return b""
        if self._coding not in _GZIP:
            raise EncodingError(f"goes on behind the end of its encoding, {self._coding}")
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        return rest
