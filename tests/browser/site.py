"""The whole product as one process that asks who is there, a repository that it follows, and what its flows call."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from automata.cli.demo.child_process import Child
from tests.browser.flows import flows
from tests.repositories import GitRepo

PEOPLE = {"vera": "viewer", "ada": "author", "grace": "reviewer"}


class Shop(ThreadingHTTPServer):
    """What the flows call; charging fails while `is_broken`."""

    daemon_threads = True
    is_broken = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answers(BaseHTTPRequestHandler):
    server: Shop

    def do_GET(self) -> None:
        self._answer(200, {"id": self.path.rpartition("/")[2], "total": 42, "lines": ["tea", "<b>cups</b>"]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/charge" and self.server.is_broken:
            self._answer(500, {"error": "the bank is closed <script>alert(1)</script>"})
        else:
            self._answer(200, {"ok": True})

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass(frozen=True)
class Site:
    """`tokens` by name of the people who may come; `origin` is the repository that the server follows."""

    url: str
    shop: Shop
    work: GitRepo
    origin: Path
    tokens: dict[str, str]

    def api(self, path: str, body: Any = None, *, by: str = "admin") -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.tokens[by]}"}
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def run(self, flow: str, **inputs: Any) -> str:
        return str(self.api(f"/flows/{flow}/runs", {"inputs": inputs})["id"])

    def ended(self, run: str) -> dict[str, Any]:
        return dict(self.api(f"/runs/{run}?wait_sec=15"))

    def push(self, files: dict[str, str | bytes], message: str, *, author: str = "Ada", branch: str = "main") -> None:
        self.work.commit(files, message, author=author)
        self.work.git("push", "-q", str(self.origin), f"HEAD:refs/heads/{branch}")

    def until_version(self, flow: str, number: int) -> None:
        until = time.monotonic() + 120
        while number not in [one["version"] for one in self.api("/flows")["items"] if one["name"] == flow]:
            assert time.monotonic() < until, f"{flow} did not come to version {number}"
            time.sleep(0.1)


def admin_token(log: Path) -> str:
    """The token of a first start, which is shown on stderr."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        events = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and "}" in line]
        for event in events:
            if event.get("event") == "admin token":
                return str(event["token"])
        time.sleep(0.05)
    raise AssertionError(f"no token was shown: {log.read_text()[-500:]}")


@contextmanager
def running_site(database: str, folder: Path) -> Iterator[Site]:
    """A server with two versions of its flows, and people of three roles."""
    shop = Shop()
    work, origin = GitRepo(folder / "work"), folder / "flows.git"
    work.git("init", "-q", "--bare", "-b", "main", str(origin))
    tokens: dict[str, str] = {}
    options = ["--repo", str(origin), "--port", "0", "--allow-loopback", "-o", "json"]
    found = Site("", shop, work, origin, tokens)
    found.push(flows(shop.url, version=1), "Sell things")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    env = plain | {
        "AUTOMATA_DATABASE_URL": database,
        "AUTOMATA_SYNC_INTERVAL_SEC": "1",
        "AUTOMATA_AUTH": "on",
    }
    with Child("server", ["automata.cli.demo.server", "up", *options], folder / "server.log", env) as server:
        ready: dict[str, Any] = {}
        while "url" not in ready:
            ready = server.event(60)
        tokens["admin"] = admin_token(folder / "server.log")
        found = Site(ready["url"], shop, work, origin, tokens)
        for name, role in PEOPLE.items():
            asked = {"name": name, "role": role, "mail": f"{name}@example.com"}
            tokens[name] = found.api("/tokens", asked)["token"]
        found.push(flows(shop.url, version=2), "Ask for the tier", author="Grace")
        found.until_version("checkout", 2)
        yield found
    shop.shutdown()
    shop.server_close()
