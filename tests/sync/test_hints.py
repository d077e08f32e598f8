"""Webhooks of forges: whose they are, and which sources they are about. Signatures are made without the product."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from automata.sync.hints import Push, Signed, read_push, sources_following, verify

NOW = 1_767_600_000.0
SECRET = "canary-0a1b2c3d4e5f"
BODY = b'{"ref": "refs/heads/main"}'
HUB, HUB_ID = "X-Hub-Signature-256", "X-GitHub-Delivery"
LAB, LAB_ID = "X-Gitlab-Token", "Idempotency-Key"


def mac(message: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


def ours(delivery: str = "d-1", *, at: float = NOW, body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    signature = mac(f"{at:.0f}.{delivery}.".encode() + body, secret)
    return {
        "X-Automata-Timestamp": f"{at:.0f}", "X-Automata-Delivery": delivery, "X-Automata-Signature": signature,
    }  # fmt: skip


def check(headers: Mapping[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> Signed | None:
    return verify(headers.get, body, secrets, NOW, 300)


def test_githubs_own_example_is_verified() -> None:
    """The values of "Validating webhook deliveries" in GitHub's documentation."""
    headers = {HUB: "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17", HUB_ID: "1"}
    assert check(headers, b"Hello, World!", ("It's a Secret to Everybody",))


@pytest.mark.parametrize(
    ("scheme", "headers"),
    [
        ("automata", ours()),
        ("automata", ours(at=NOW - 299)),
        ("automata", ours(at=NOW + 299)),
        ("github", {HUB: mac(BODY), HUB_ID: "72d3162e"}),
        ("github", {HUB: mac(BODY)}),
        ("gitlab", {LAB: SECRET, LAB_ID: "f5e5f430"}),
        ("gitlab", {LAB: SECRET}),
    ],
)
def test_what_somebody_with_the_secret_sent_is_taken(scheme: str, headers: dict[str, str]) -> None:
    signed = check(headers)
    assert signed is not None
    assert signed.scheme == scheme
    assert check(headers, secrets=("another-secret-of-16", SECRET)) == signed, "while a secret is being changed"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {HUB: ""},
        {HUB: mac(BODY)[7:]},
        {HUB: mac(BODY).upper()},
        {HUB: mac(BODY)[:-1]},
        {HUB: mac(BODY, "guess")},
        {HUB: mac(BODY, "")},
        {HUB: mac(BODY + b" ")},
        {HUB: "sha256=\u00e9\ud800"},
        {HUB: mac(BODY).replace("sha256", "sha1")},
        {"X-Hub-Signature": "sha1=" + "0" * 40},
        {LAB: ""},
        {LAB: SECRET[:-1]},
        {LAB: SECRET + "\n"},
        {LAB: SECRET, HUB: mac(BODY)},
        {HUB: mac(BODY), **ours()},
        ours(secret="guess"),
        ours(body=b"{}"),
        ours(at=NOW - 301),
        ours(at=NOW + 301),
        ours("a.b"),
        ours("d" * 121),
        ours() | {"X-Automata-Delivery": "d-2"},
        ours() | {"X-Automata-Timestamp": f"{NOW - 1:.0f}"},
        ours() | {"X-Automata-Timestamp": "9" * 5000},
        ours() | {"X-Automata-Timestamp": "\u0661"},
    ],
)
def test_nothing_else_is(headers: dict[str, str]) -> None:
    assert check(headers) is None
    assert check(headers, secrets=()) is None


def test_without_a_secret_nothing_is_taken() -> None:
    assert check({LAB: ""}, secrets=()) is None
    assert check({HUB: mac(BODY, "")}, secrets=()) is None


def test_a_recorded_delivery_is_known_whatever_its_unsigned_headers_say() -> None:
    first, again = (check({HUB: mac(BODY), HUB_ID: id}) for id in ("1", "2"))
    assert first is not None
    assert again is not None
    assert first.keys & again.keys
    assert first.keys != again.keys
    assert {len(key) for key in first.keys} == {len("github ") + 64}


def hub(ref: Any = "refs/heads/main", **repository: Any) -> dict[str, Any]:
    urls = {"clone_url": "https://git.example.com/team/flows.git", "ssh_url": "git@git.example.com:team/flows.git"}
    return {"ref": ref, "repository": urls | repository}


def test_a_push_of_each_forge_is_read() -> None:
    github = read_push({"X-GitHub-Event": "push"}.get, hub())
    assert github is not None
    assert (github.branch, "https://git.example.com/team/flows.git" in github.urls) == ("main", True)
    project = {"git_http_url": "https://gitlab.example.com/a/b.git", "git_ssh_url": "git@gitlab.example.com:a/b.git"}
    gitlab = read_push({"X-Gitlab-Event": "Push Hook"}.get, {"ref": "refs/heads/a/b", "project": project})
    assert gitlab == Push("a/b", set(project.values()))
    assert read_push({}.get, {"ref": "refs/heads/main", "repository": "/srv/flows"}) == Push("main", {"/srv/flows"})


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({"X-GitHub-Event": "ping"}, hub()),
        ({"X-Gitlab-Event": "Tag Push Hook"}, hub()),
        ({}, hub("refs/tags/v1")),
        ({}, hub("main")),
        ({}, hub(None)),
        ({}, hub(["refs/heads/main"])),
        ({}, {"ref": "refs/heads/main"}),
        ({}, {"ref": "refs/heads/main", "repository": 7}),
        ({}, {"ref": "refs/heads/main", "repository": {"clone_url": {"a": 1}, "url": "x" * 3000}}),
        ({}, []),
        ({}, None),
        ({}, "refs/heads/main"),
    ],
)
def test_what_is_no_push_to_a_branch_is_none(headers: dict[str, str], payload: Any) -> None:
    assert read_push(headers.get, payload) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/flows.git",
        "https://git.example.com/team/flows",
        "https://git.example.com:8443/team/flows.git/",
        "https://GIT.example.com/Team/Flows.git",
        "ssh://git@git.example.com:2222/team/flows.git",
        "git@git.example.com:team/flows.git",
    ],
)
def test_one_repository_is_known_by_every_way_to_write_its_address(url: str) -> None:
    push = read_push({}.get, hub())
    assert push is not None
    sources = [SimpleNamespace(url=url, branch=branch) for branch in ("main", "develop")]
    assert sources_following(push, sources) == [0]


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/team/other.git",
        "https://git.example.org/team/flows.git",
        "/team/flows.git",
        "file:///team/flows.git",
    ],
)
def test_another_repository_is_another(url: str) -> None:
    push = read_push({}.get, hub())
    assert push is not None
    assert sources_following(push, [SimpleNamespace(url=url, branch="main")]) == []


@pytest.mark.parametrize(
    "text", ["~nobody-of-this-name/x", "h1:" + "x" * 1500, "\x00", "https://[", "a b", "::", "ext::sh"]
)
def test_an_address_that_is_none_concerns_nobody(text: str) -> None:
    source = SimpleNamespace(url="https://git.example.com/team/flows.git", branch="main")
    assert sources_following(Push("main", {text}), [source]) == []
