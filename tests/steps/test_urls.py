"""One parser for everybody, and what of a URL may be shown."""

from __future__ import annotations

import pytest

from automata.steps.urls import join_url, parse_url, redacted


def test_a_url_is_normalised_to_ascii_and_outer_blanks_are_dropped() -> None:
    assert str(parse_url(" https://Bücher.de/ä b?x=ü\n")) == "https://xn--bcher-kva.de/%C3%A4%20b?x=%C3%BC"


def test_escapes_that_matter_stay() -> None:
    assert str(parse_url("https://a.test/x%2Fy?z=1%262+%20")) == "https://a.test/x%2Fy?z=1%262+%20"


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        parse_url("https://a.test/\ud800")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/b", "http://a.test/b"),
        ("c?d=1", "http://a.test/x/c?d=1"),
        ("//b.test/y", "http://b.test/y"),
        ("https://u:p@b.test/#top", "https://b.test/"),
    ],
)
def test_a_redirect_is_read_from_where_it_was_sent_and_brings_no_credentials(location: str, expected: str) -> None:
    assert str(join_url("http://a.test/x/y?q=1", location)) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@a.test:8443/x?token=secret#secret", "https://a.test:8443/x"),
        ("https://user:secret@[broken/x?token=secret", "[broken/x"),
        ("https://a.test/" + "x" * 500, "https://a.test/" + "x" * 185 + "…"),
    ],
)
def test_a_shown_url_holds_no_userinfo_and_no_query(url: str, shown: str) -> None:
    assert redacted(url) == shown
