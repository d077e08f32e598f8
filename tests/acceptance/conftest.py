"""What the acceptance tests of the CLI share: a server that really runs, and a shop that really answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from automata.cli.app import app
from automata.cli.demo.child_process import Child
from automata.cli.demo.example import make_repository
from automata.cli.exits import guarded

WIDE = {"name": "typed", "steps": [{"id": "a", "type": "transform", "config": {"mappings": {"all": "{{ inputs }}"}}}]}
TYPED = WIDE | {
    "inputs": {
        "text": {"type": "string"},
        "count": {"type": "integer", "required": True},
        "tags": {"type": "array", "default": []},
        "password": {"type": "string", "secret": True},
    },
    "outputs": {"all": "{{ steps.a.outputs.all }}"},
}
SHOP_HOOK = "the-secret-of-the-shop-s-webhook"
SLOW = {"name": "slow", "steps": [{"id": "wait", "type": "delay", "config": {"duration_sec": 3600}}]}


@dataclass(frozen=True)
class Place:
    api: str
    shop: str
    repository: Path


@pytest.fixture(scope="module")
def place(make_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cli")
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMATA_")}
    with Child("shop", ["automata.cli.demo.shop", "--end-with-stdin"], folder / "shop.log", plain) as shop:
        url = shop.event(30)["url"]
        repository = folder / "flows"
        make_repository(repository, url)
        for flow in (TYPED, SLOW):
            (repository / "flows" / f"{flow['name']}.json").write_text(json.dumps(flow))
        options = ["--repo", str(repository), "--watch", "--port", "0", "--allow-loopback", "-o", "json"]
        env = plain | {"AUTOMATA_DATABASE_URL": make_database(), "AUTOMATA_SECRET_SHOP_HOOK": SHOP_HOOK}
        with Child("server", ["automata.cli.demo.server", "up", *options], folder / "server.log", env) as server:
            while (event := server.event(60))["event"] != "ready":
                pass
            yield Place(event["url"], url, repository)


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def automata(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """Runs a command in this process against the server of this module."""
    monkeypatch.setenv("AUTOMATA_API_URL", place.api)

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = guarded(lambda: app(list(words), standalone_mode=False))
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return run


Automata = Callable[..., Answer]
