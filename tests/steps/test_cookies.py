"""Cookies live as long as a chain of redirects, and go where RFC 6265 lets them."""

from __future__ import annotations

from typing import Any

import pytest

from automata.steps.contract import HttpRequest, HttpResponse
from automata.steps.cookies import Jar
from automata.steps.http_redirect import follow

LOGIN = "https://shop.example.com/auth/login"


def jar(*cookies: str, url: str = LOGIN, date: str = "Mon, 05 Jan 2026 09:00:00 GMT") -> Jar:
    jar = Jar()
    jar.take(url, HttpResponse(302, (("Date", date), *(("Set-Cookie", cookie) for cookie in cookies))))
    return jar


def sent(jar: Jar, url: str, own: str = "", headers: tuple[tuple[str, str], ...] = ()) -> str | None:
    return HttpRequest("GET", url, jar.give(HttpRequest("GET", url, headers), own)).header("cookie")


@pytest.mark.parametrize(
    ("cookie", "url", "given"),
    [
        ("a=1", "https://shop.example.com/auth/x", "a=1"),
        ("a=1", "https://shop.example.com/auth", "a=1"),
        ("a=1", "https://shop.example.com/", None),
        ("a=1", "https://shop.example.com/authors", None),
        ("a=1; Path=/", "https://shop.example.com/", "a=1"),
        ("a=1; path=/x", "https://shop.example.com/x/y?q=1", "a=1"),
        ("a=1; path=/x", "https://shop.example.com/xy", None),
        ("a=1; path=relative", "https://shop.example.com/auth/x", "a=1"),
        ("a=1; Path=/", "http://shop.example.com/", "a=1"),
        ("a=1; Path=/", "https://shop.example.com:8443/", "a=1"),
        ("a=1; Path=/; Secure", "https://shop.example.com/", "a=1"),
        ("a=1; Path=/; Secure", "http://shop.example.com/", None),
        ("a=1; Path=/", "https://www.shop.example.com/", None),
        ("a=1; Path=/", "https://evil.example.net/", None),
        ("a=1; Path=/; Domain=example.com", "https://api.example.com/", "a=1"),
        ("a=1; Path=/; Domain=.Example.com", "https://example.com/", "a=1"),
        ("a=1; Path=/; Domain=example.com", "https://notexample.com/", None),
        ("a=1; Path=/; Domain=shop.example.com", "https://deep.shop.example.com/", "a=1"),
        ("a=1; Path=/; Domain=api.example.com", "https://api.example.com/", None),
        ("a=1; Path=/; Domain=com", "https://evil.com/", None),
        ("a=1; Path=/; Domain=example.net", "https://example.net/", None),
        ("a=1; Path=/; Max-Age=60; HttpOnly; SameSite=Lax", "https://shop.example.com/", "a=1"),
        ("a=1; Path=/; Max-Age=0", "https://shop.example.com/", None),
        ("a=1; Path=/; Expires=Wed, 21-Oct-2015 07:28:00 GMT", "https://shop.example.com/", None),
        ("a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "https://shop.example.com/", "a=1"),
        ("a=1; Path=/; Max-Age=60; Expires=Wed, 21 Oct 2015 07:28:00 GMT", "https://shop.example.com/", "a=1"),
        ("a=1; Path=/; Expires=nonsense", "https://shop.example.com/", "a=1"),
        ('a="b=c d"; Path=/', "https://shop.example.com/", 'a="b=c d"'),
        ("a=; Path=/", "https://shop.example.com/", "a="),
        ("=1; Path=/", "https://shop.example.com/", None),
        ("nameless; Path=/", "https://shop.example.com/", None),
        ("a=" + "x" * 5000, "https://shop.example.com/auth/", None),
    ],
)
def test_a_cookie_goes_where_it_belongs(cookie: str, url: str, given: str | None) -> None:
    assert sent(jar(cookie), url) == given


@pytest.mark.parametrize("host", ["10.0.0.1", "[fd00::1]"])
def test_an_address_has_no_domain_above_it(host: str) -> None:
    url = f"https://{host}/"
    assert sent(jar("a=1", "b=2; Domain=0.0.1", "c=3; Domain=1", url=url), url) == "a=1"
    assert sent(jar("a=1", url=url), "https://20.0.0.1/") is None


def test_a_secure_cookie_is_not_taken_from_an_insecure_answer() -> None:
    assert not jar("a=1; Secure", url="http://shop.example.com/")


def test_a_later_cookie_replaces_and_a_stale_one_takes_back() -> None:
    cookies = jar("a=1; Path=/", "b=2; Path=/")
    cookies.take(LOGIN, HttpResponse(302, (("set-cookie", "a=3; Path=/"), ("Set-Cookie", "b=; Path=/; Max-Age=-1"))))
    assert sent(cookies, "https://shop.example.com/") == "a=3"


def test_longer_paths_come_first_and_the_flows_own_cookies_give_way_by_name() -> None:
    cookies = jar("a=root; Path=/", "a=auth; Path=/auth")
    url = "https://shop.example.com/auth/x"
    headers = (("Cookie", "old=1"), ("X-A", "1"))
    assert sent(cookies, url, "own=7; a=mine", headers) == "own=7; a=auth; a=root"
    assert [name for name, _ in cookies.give(HttpRequest("GET", url, headers), "")] == ["X-A", "Cookie"]


def test_a_chain_keeps_so_many_cookies_and_a_header_of_so_much() -> None:
    assert (sent(jar(*(f"c{n}=1; Path=/" for n in range(200))), "https://shop.example.com/") or "").count("=") == 50
    large = jar(*(f"c{n}={'x' * 1000}; Path=/" for n in range(20)))
    assert len(sent(large, "https://shop.example.com/") or "") <= 8192


def hop(location: str, *cookies: str) -> HttpResponse:
    return HttpResponse(302, (("Location", location), *(("Set-Cookie", cookie) for cookie in cookies)))


async def chain(scripted: Any, *answers: HttpResponse, headers: tuple[tuple[str, str], ...] = ()) -> list[str | None]:
    mock = scripted(*answers, HttpResponse(200))
    await follow(mock, HttpRequest("POST", LOGIN, headers), keep_body_at_home=False)
    return [request.header("cookie") for request in mock.sent]


async def test_cookies_of_a_redirect_are_sent_on_within_the_chain(scripted: Any) -> None:
    answers = (hop("/home", "sid=1; Path=/", "lang=de; Path=/home"), hop("/home/x", "sid=2; Path=/"))
    assert await chain(scripted, *answers) == [None, "lang=de; sid=1", "lang=de; sid=2"]


async def test_cookies_do_not_follow_to_another_host_and_are_there_when_the_chain_comes_back(scripted: Any) -> None:
    answers = (hop("https://idp.test/", "sid=1; Path=/"), hop("https://shop.example.com/back", "idp=9; Path=/"))
    assert await chain(scripted, *answers) == [None, None, "sid=1"]


async def test_the_flows_own_cookie_stays_at_home_and_does_not_come_back(scripted: Any) -> None:
    answers = (hop("/a", "sid=1; Path=/"), hop("https://idp.test/"), hop("https://shop.example.com/back"))
    own = (("Cookie", "own=7"),)
    assert await chain(scripted, *answers, headers=own) == ["own=7", "own=7; sid=1", None, "sid=1"]


async def test_without_cookies_a_request_is_as_the_flow_wrote_it(scripted: Any) -> None:
    assert await chain(scripted, hop("/a"), headers=(("Cookie", " own = 7 ;x"),)) == [" own = 7 ;x"] * 2
