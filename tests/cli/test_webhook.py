"""`automata webhook`: what it signs is what the API checks, and what it cannot sign it says."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from automata.cli.app import app
from automata.cli.exits import guarded

KEY = "a-canary-key-of-32-bytes-........"


@pytest.fixture
def sign(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    monkeypatch.setenv("AUTOMATA_SECRET_SHOP", KEY)

    def run(*words: str, secret: str = "SHOP") -> SimpleNamespace:
        code = guarded(lambda: app(["webhook", "sign", "--secret", secret, *words], standalone_mode=False))
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


def mac(stamp: str, delivery: str, body: bytes, key: str = KEY, where: str = "") -> str:
    return hmac.new(key.encode(), f"{stamp}.{delivery}.{where}".encode() + body, hashlib.sha256).hexdigest()


def test_the_headers_sign_the_bytes_of_the_file(sign: Callable[..., SimpleNamespace], tmp_path: Path) -> None:
    body = '{"who": "Zoë"}\r\n\n'.encode()
    (tmp_path / "body.json").write_bytes(body)
    headers = json.loads(sign("--body", str(tmp_path / "body.json"), "--delivery", "d-1", "-o", "json").out)
    stamp = headers["X-Automata-Timestamp"]
    assert abs(int(stamp) - time.time()) < 60
    assert headers["X-Automata-Delivery"] == "d-1"
    assert headers["X-Automata-Signature"] == f"sha256={mac(stamp, 'd-1', body)}"


def test_the_flow_and_the_webhook_are_signed_too(sign: Callable[..., SimpleNamespace]) -> None:
    headers = json.loads(sign("ship-order", "shop", "--delivery", "d", "-o", "json").out)
    assert headers["X-Automata-Signature"].endswith(
        mac(headers["X-Automata-Timestamp"], "d", b"", where="ship-order/shop:")
    )
    assert "the name of the webhook is missing" in sign("ship-order").err


def test_for_curl_each_header_is_a_line(sign: Callable[..., SimpleNamespace]) -> None:
    lines = sign("--delivery", "d-1").out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "X-Automata-Timestamp",
        "X-Automata-Delivery",
        "X-Automata-Signature",
    ]
    assert lines[2].endswith(mac(lines[0].partition(": ")[2], "d-1", b""))


def test_the_body_is_read_from_stdin_for_a_dash(
    sign: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\x00")))
    headers = json.loads(sign("--body", "-", "--delivery", "d", "-o", "json").out)
    assert headers["X-Automata-Signature"].endswith(mac(headers["X-Automata-Timestamp"], "d", b"\xff\x00"))


def test_without_a_delivery_every_one_is_a_new_event(sign: Callable[..., SimpleNamespace]) -> None:
    ids = {json.loads(sign("-o", "json").out)["X-Automata-Delivery"] for _ in range(2)}
    assert len(ids) == 2


def test_while_a_secret_is_changed_the_new_one_signs(
    sign: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOMATA_SECRET_SHOP", f"{KEY}\n{KEY[::-1]}\n")
    headers = json.loads(sign("--delivery", "d", "-o", "json").out)
    assert headers["X-Automata-Signature"].endswith(mac(headers["X-Automata-Timestamp"], "d", b"", KEY[::-1]))


@pytest.mark.parametrize(
    ("words", "secret", "why"),
    [
        ((), "NONE", "the secret NONE is not set"),
        ((), "SHORT", "the secret SHORT is shorter than 16 bytes"),
        (("--delivery", "a.b"), "SHOP", "without a dot"),
        (("--delivery", ""), "SHOP", "visible ASCII"),
        (("--delivery", "ü"), "SHOP", "visible ASCII"),
        (("--delivery", "x" * 121), "SHOP", "1 to 120"),
        (("--body", "/nowhere/body.json"), "SHOP", "/nowhere/body.json cannot be read"),
    ],
)
def test_what_cannot_be_signed_is_refused(
    sign: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    secret: str,
    why: str,
) -> None:
    monkeypatch.setenv("AUTOMATA_SECRET_SHORT", "canary-of-15-by")
    said = sign(*words, secret=secret)
    assert (said.code, said.out) == (3, "")
    assert why in said.err
    assert "canary" not in said.err
