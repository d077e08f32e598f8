"""Addresses of repositories, and that no credential survives in what people and tables see."""

from __future__ import annotations

from pathlib import Path

import pytest

from automata.errors import Usage
from automata.git.address import parse_address, redact


def test_a_path_is_read_in_place_and_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = parse_address("x")
    assert (address.local, address.url, address.scheme) == (tmp_path / "x", str(tmp_path / "x"), "path")


@pytest.mark.parametrize(
    ("text", "url", "username", "password"),
    [
        ("https://u:p%40ss@host.example/a.git", "https://host.example/a.git", "u", "p@ss"),
        ("https://host.example:8443/a", "https://host.example:8443/a", "", ""),
        ("ssh://git@host.example:22/a", "ssh://git@host.example:22/a", "git", ""),
        ("ssh://git:secret@host.example/a", "ssh://git@host.example/a", "git", "secret"),
        ("git@host.example:team/a.git", "git@host.example:team/a.git", "git", ""),
        ("http://t@127.0.0.1:99/a", "http://127.0.0.1:99/a", "t", ""),
        ("file:///srv/a.git", "file:///srv/a.git", "", ""),
    ],
)
def test_credentials_are_parted_from_the_url(text: str, url: str, username: str, password: str) -> None:
    address = parse_address(text)
    assert (address.url, address.username, address.password) == (url, username, password)
    assert not password or password not in repr(address)


@pytest.mark.parametrize(
    "text",
    ["", " ", "http://example.com/x", "git://example.com/x", "ext::sh -c id", "ftp://h/x", "https:///x", "https://h", "https://h/x?y=1",
     "file://host/x", "https://h:port/x", "javascript://x/%0a", "https://h/a\nb"],
)  # fmt: skip
def test_other_transports_and_broken_urls_are_refused(text: str) -> None:
    with pytest.raises(Usage) as caught:
        parse_address(text)
    assert caught.value.code == "repository_url"


def test_gits_own_protocol_is_refused_beyond_loopback_with_its_reason() -> None:
    for host in ("example.com", "192.0.2.1", "127.0.0.1.example.com", "[2001:db8::1]"):
        with pytest.raises(Usage, match="proves neither the server nor you"):
            parse_address(f"git://{host}/x")
    with pytest.raises(Usage, match="no credentials"):
        parse_address("git://ada:S3@127.0.0.1/x")
    assert parse_address("git://127.0.0.1:9418/flows.git").url == "git://127.0.0.1:9418/flows.git"


@pytest.mark.parametrize(
    "text", ["http://u:S3CRET@example.com/x", "https://u:S3/CRET@h/x", "git://S3CRET@h/x", "https://u:S3CRET@h"]
)
def test_a_refusal_does_not_repeat_the_credentials(text: str) -> None:
    with pytest.raises(Usage) as caught:
        parse_address(text)
    assert "S3" not in str(caught.value)


def test_credentials_are_taken_out_of_any_text() -> None:
    address = parse_address("https://u:p%40ss@host.example/a")
    text = redact("failed: https://u:p%40ss@host.example/a with p@ss; see https://x:y@z/", address)
    assert text == "failed: https://host.example/a with ***; see https://z/"
