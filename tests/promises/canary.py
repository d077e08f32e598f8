"""Where canary secrets go: the services that flows call, and every form of a value that a leak could have."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

from tests.steps.vault_double import VaultDouble

CORE_BYTES = 15
WINDOW = 10  # so much of a canary is a leak, wherever it was cut


def canary(name: str) -> str:
    """A value that each way of writing it down writes otherwise, around a core that most leave as it is."""
    return f'{name}/{secrets.token_hex(CORE_BYTES)}+"&% <z>'


def needles(value: str) -> set[bytes]:
    """What no place may hold, made without the product's own mask: pieces of the core, plain, hex and in base64."""
    raw = value.encode()
    core = value.partition("/")[2].partition("+")[0] or value
    assert len(core) >= WINDOW, "nothing would be looked for"
    pieces = {core[at : at + WINDOW].encode() for at in range(len(core) - WINDOW + 1)}
    found = pieces | {piece.hex().encode() for piece in pieces}
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode()[4:].rstrip("=")[:-2]
        found |= {text[at : at + 14].encode() for at in range(len(text) - 13)}
    return found


def leaks(values: dict[str, str], text: bytes) -> set[str]:
    """The names of those whose value is in `text`."""
    return {name for name, value in values.items() if any(needle in text for needle in needles(value))}


class Echo(ThreadingHTTPServer):
    """Sends back all that it was sent, in body, headers, `Location` and errors; takes traces at /v1/traces."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.seen = b""
        self.traces = b""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/v1/traces":
            self.server.traces += gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
            self._answer(200, {}, b"")
            return
        told = {"path": self.path, "headers": dict(self.headers), "body": body.decode()}
        self.server.seen += json.dumps(told).encode()
        own = self.headers.get("X-Key", "")
        if self.path.startswith("/moved"):
            self._answer(302, {"Location": f"/echo?was={quote(own)}", "X-Was": own}, b"moved")
            return
        status = 500 if self.path.startswith(("/fail", "/told")) else 200
        self._answer(status, {"X-Was": own, "Set-Cookie": f"k={quote(own)}"}, json.dumps(told).encode())

    do_POST = do_GET

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def echoing() -> Iterator[Echo]:
    server = Echo()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def vault(token: str, **fields: str) -> Iterator[str]:
    """The address of a Vault with these fields in its one document."""
    double = VaultDouble(tokens={token: None})
    double.put("automata", dict(fields))
    address: list[str] = []
    up, over, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        async with double.running() as url:
            address.append(url)
            up.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert up.wait(120)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(120)
        loop.close()
