"""A Git server on loopback: `git http-backend` behind basic authentication, and what may go wrong with one."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

USER, TOKEN = "robot", "S3CRET"


class GitServer(ThreadingHTTPServer):
    """Serves the repositories below `root` at `url`.

    `elsewhere` redirects everything there. `spoil` hears of each request (method, path) and answers None, "refuse"
    (500), "half" (half of the answer, then the connection ends) or "mute" (done, but never answered).
    """

    daemon_threads = True

    def __init__(self, root: Path, *, elsewhere: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = str(root)
        self.elsewhere = elsewhere
        self.expected = "Basic " + base64.b64encode(f"{USER}:{TOKEN}".encode()).decode()
        self.seen: list[str | None] = []
        self.asked: list[str] = []
        self.spoil: Callable[[str, str], str | None] = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(root: Path, *, elsewhere: str = "") -> Iterator[GitServer]:
    server = GitServer(root, elsewhere=elsewhere)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _serve(self, body: bytes) -> None:
        if self.server.elsewhere:
            self._answer(302, {"Location": self.server.elsewhere + self.path})
            return
        if (given := self.headers.get("Authorization")) != self.server.expected:
            self.server.seen.append(given)
            self._answer(401, {"WWW-Authenticate": 'Basic realm="git"'})
            return
        self.server.asked.append(f"{self.command} {self.path}")
        fate = self.server.spoil(self.command, self.path)
        if fate == "refuse":
            self._answer(500, {})
            return
        headers, content = self._backend(body)
        if fate == "mute":
            self.close_connection = True
            self.connection.close()
            return
        self._answer(200, headers, content, half=fate == "half")

    def _backend(self, body: bytes) -> tuple[dict[str, str], bytes]:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.server.root, "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": USER,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "CONTENT_LENGTH": str(len(body)), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        pairs = (line.partition(": ") for line in head.decode().splitlines())
        return {name: value for name, _, value in pairs}, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes = b"", *, half: bool = False) -> None:
        code = headers.pop("Status", "").split(" ")[0] or status
        self.send_response(int(code))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if half else content)
        if half:
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
