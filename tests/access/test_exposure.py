"""Who has to say who they are: AUTOMATA_AUTH and where a server listens."""

from __future__ import annotations

import pytest

from automata.access.exposure import authenticates, reached_by_others, shows_metrics
from automata.access.principal import Role
from automata.errors import Refused, Usage
from automata.settings import Settings

HERE = ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")
OPEN_TO_OTHERS = ("0.0.0.0", "::", "192.0.2.1", "automata.example.com", "127.0.0.1.example.com", "")


@pytest.mark.parametrize("host", HERE)
def test_on_loopback_nobody_is_asked_unless_it_says_so(host):
    assert not authenticates(Settings(host=host))
    assert not authenticates(Settings(host=host, auth="off"))
    assert authenticates(Settings(host=host, auth="on"))
    assert shows_metrics(Settings(host=host))


@pytest.mark.parametrize("host", OPEN_TO_OTHERS)
def test_whatever_others_may_reach_asks_and_cannot_be_told_not_to(host):
    assert authenticates(Settings(host=host))
    assert not shows_metrics(Settings(host=host))
    with pytest.raises(Refused) as refused:
        authenticates(Settings(host=host, auth="off"))
    assert (refused.value.code, refused.value.exit_code) == ("open_to_everybody", 5)


BEHIND_A_PROXY = (
    {"public_url": "https://automata.example.com"},
    {"public_url": "http://10.0.0.7:8080"},
    {"public_url": "automata.example.com"},
    {"public_url": "https://[::1"},
    {"trusted_proxies": ("127.0.0.1",)},
    {"trusted_proxies": ("10.0.0.0/8",), "public_url": "http://localhost:8080"},
)


@pytest.mark.parametrize("named", BEHIND_A_PROXY)
def test_a_public_url_or_a_proxy_means_that_others_reach_it_on_loopback_too(named):
    settings = Settings(host="127.0.0.1", **named)
    assert reached_by_others(settings)
    assert authenticates(settings)
    assert not shows_metrics(settings)
    with pytest.raises(Refused) as refused:
        authenticates(Settings(host="127.0.0.1", auth="off", **named))
    assert "AUTOMATA_PUBLIC_URL" in (refused.value.hint or "")


def test_a_public_url_of_this_machine_is_for_nobody_else():
    for url in ("http://localhost:8080", "http://127.0.0.1:9", "http://[::1]:8080/"):
        assert not reached_by_others(Settings(public_url=url))


@pytest.mark.parametrize("word", ["maybe", "none", "o ff", "disabled"])
def test_a_word_that_is_neither_is_refused_rather_than_guessed(word):
    with pytest.raises(Usage):
        authenticates(Settings(auth=word))
    with pytest.raises(Usage):
        shows_metrics(Settings(metrics=word))


def test_roles_are_in_order_and_an_unknown_one_is_refused():
    assert [role.word for role in sorted(Role)] == ["viewer", "operator", "author", "reviewer", "admin"]
    assert Role.read(" Admin ") is Role.ADMIN
    with pytest.raises(Usage):
        Role.read("root")
