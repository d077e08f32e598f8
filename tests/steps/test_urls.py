"""One parser for everybody, and what of a URL may be shown."""

from __future__ import annotations

import pytest

from automata.steps.urls import join_url, parse_url, redacted


def test_a_url_is_normalised_to_ascii_and_outer_blanks_are_dropped() -> None:
    assert str(parse_url(" https://Bücher.de/ä b?x=ü\n")) == "https://xn--bcher-kva.de/%C3%A4%20b?x=%C3%BC"


@pytest.mark.parametrize(
    "tail",
    [
        "x%2Fy?z=1%262+%20",
        "foo%27bar?response-content-type=application%2Fgzip&Signature=a%2Bb",
        "foo'bar?a=b/c&d=e:f@g",
        "%7Euser/~user/%41?%61=%3D&b=[1]&c=%5B1%5D",
        "%e2%82%ac/%E2%82%AC",
        "a/../b/./c//d",
        "a;v=1,2/(b)!$*?q=a?b=c&&e=&=f",
        "?a=%",
    ],
)
def test_what_can_be_sent_is_sent_as_it_was_written(tail: str) -> None:
    sent = str(parse_url(f"https://a.test/{tail}"))
    assert sent == f"https://a.test/{tail}".removesuffix("%") + ("%25" if tail.endswith("%") else "")
    assert str(parse_url(sent)) == sent


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://a.test", "https://a.test/"),
        ("HTTPS://A.test/B", "https://a.test/B"),
        ("https://a.test?x=a b", "https://a.test/?x=a+b"),
        ('https://a.test/a b/100%/{x}|"', "https://a.test/a%20b/100%25/%7Bx%7D%7C%22"),
        ("https://a.test:443/x", "https://a.test/x"),
    ],
)
def test_only_what_cannot_be_sent_is_escaped(written: str, sent: str) -> None:
    assert str(parse_url(written)) == sent


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
        ("https://b.test/%27%2F'?s=a%2Fb%27&t=[1]", "https://b.test/%27%2F'?s=a%2Fb%27&t=[1]"),
        ("d%2Fe?s=%27", "http://a.test/x/d%2Fe?s=%27"),
        ("../d/./e", "http://a.test/d/e"),
        ("../../../d", "http://a.test/d"),
        ("..", "http://a.test/"),
        (".", "http://a.test/x/"),
        ("?s=%2F", "http://a.test/x/y?s=%2F"),
        ("", "http://a.test/x/y?q=1"),
        ("#top", "http://a.test/x/y?q=1"),
        ("/ü b", "http://a.test/%C3%BC%20b"),
    ],
)
def test_a_redirect_is_read_from_where_it_was_sent_and_brings_no_credentials(location: str, expected: str) -> None:
    assert str(join_url("http://a.test/x/y?q=1", location)) == expected


def test_a_relative_redirect_keeps_the_escapes_of_the_path_that_it_is_relative_to() -> None:
    assert str(join_url("http://a.test/x%2Fy/z%27/end", "next")) == "http://a.test/x%2Fy/z%27/next"


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
