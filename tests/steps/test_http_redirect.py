"""Redirects by the rules of browsers, with nothing of value carried to a host that the flow did not name."""

from __future__ import annotations

from typing import Any

import pytest

from automata.steps.contract import HttpRequest, HttpResponse, TransportError
from automata.steps.http_redirect import follow, next_hop

POST = HttpRequest(
    "POST",
    "https://a.test/x",
    (("Authorization", "Bearer t"), ("X-Api-Key", "k"), ("Idempotency-Key", "i"),
     ("Content-Type", "text/plain"), ("Accept", "*/*")),
    b"data",
)  # fmt: skip


def names(request: HttpRequest) -> list[str]:
    return [name for name, _ in request.headers]


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
        (302, "GET", "GET"),
    ],
)
def test_the_method_changes_as_in_a_browser(status: int, method: str, becomes: str) -> None:
    request = HttpRequest(method, POST.url, POST.headers, POST.body)
    following = next_hop(request, status, "/y", False)
    assert (following.method, following.url) == (becomes, "https://a.test/y")
    assert (following.body is None) == (becomes != method)
    assert ("Content-Type" in names(following)) == (becomes == method)


def test_the_same_site_keeps_credentials_and_the_idempotency_key() -> None:
    assert names(next_hop(POST, 307, "/y", True)) == names(POST)
    plain = HttpRequest("GET", "http://a.test/x", POST.headers)
    assert names(next_hop(plain, 302, "https://a.test/x", True)) == names(POST)


@pytest.mark.parametrize(
    "location", ["https://b.test/", "http://a.test/", "https://a.test:8443/", "//b.test/", "https://a.test.evil/"]
)
def test_another_site_gets_no_credentials_no_api_key_and_no_idempotency_key(location: str) -> None:
    assert names(next_hop(POST, 307, location, False)) == ["Content-Type", "Accept"]


def test_a_body_that_may_hold_secrets_is_not_repeated_to_another_host() -> None:
    with pytest.raises(TransportError) as caught:
        next_hop(POST, 307, "https://b.test/", True)
    assert (caught.value.code, caught.value.retryable) == ("redirect_refused", False)
    assert next_hop(POST, 307, "/y", True).body == b"data"
    assert next_hop(POST, 302, "https://b.test/", True).body is None


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "gopher://a.test/", "http://", "javascript:1", "http://a\\@b/", "http://[x"]
)
def test_a_redirect_that_cannot_be_called_is_final(location: str) -> None:
    with pytest.raises(TransportError) as caught:
        next_hop(POST, 302, location, False)
    assert (caught.value.code, caught.value.retryable) == ("bad_redirect", False)


def to(location: str, status: int = 302) -> HttpResponse:
    return HttpResponse(status, (("Location", location),))


async def test_every_hop_goes_through_the_transport(scripted: Any) -> None:
    mock = scripted(to("/1"), to("https://b.test/2", 303), HttpResponse(200))
    request, response = await follow(mock, POST, False)
    assert [sent.url for sent in mock.sent] == ["https://a.test/x", "https://a.test/1", "https://b.test/2"]
    assert (request, response.status) == (mock.sent[-1], 200)


async def test_ten_redirects_are_followed_and_the_eleventh_is_not(scripted: Any) -> None:
    ten = scripted(*[to("/again")] * 10, HttpResponse(200))
    assert (await follow(ten, POST, False))[1].status == 200
    with pytest.raises(TransportError) as caught:
        await follow(scripted(*[to("/again")] * 11), POST, False)
    assert (caught.value.code, caught.value.retryable) == ("too_many_redirects", False)


async def test_a_redirect_without_a_location_and_one_not_to_be_followed_are_answers(scripted: Any) -> None:
    assert (await follow(scripted(HttpResponse(302)), POST, False))[1].status == 302
    stay = HttpRequest("GET", POST.url, follow_redirects=False)
    assert (await follow(scripted(to("/y")), stay, False))[1].status == 302
    assert (await follow(scripted(to("/y", 304)), POST, False))[1].status == 304


async def _after(scripted: Any, status: int, method: str, error: TransportError) -> tuple[TransportError, list[str]]:
    mock = scripted(HttpResponse(status, (("Location", "/there"),)), error)
    with pytest.raises(TransportError) as caught:
        await follow(mock, HttpRequest(method, "https://a.test/pay?token=hunter2", body=b"x"), keep_body_at_home=False)
    return caught.value, [request.method for request in mock.sent]


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("code", ["connection_lost", "timeout", "dns_error"])
async def test_a_post_that_was_answered_is_not_sent_again_for_what_its_redirect_leads_to(
    status: int, code: str, scripted: Any
) -> None:
    error, methods = await _after(scripted, status, "POST", TransportError(code, "Trouble there.", retryable=True))
    assert methods == ["POST", "GET"]
    assert (error.code, error.retryable) == (code, False)
    assert error.message == "Trouble there. The POST to https://a.test/pay was answered; it is not sent again."


@pytest.mark.parametrize(
    ("method", "status"), [("POST", 307), ("POST", 308), ("GET", 302), ("PUT", 303), ("DELETE", 302)]
)
async def test_what_was_not_done_yet_or_may_be_repeated_is_tried_again(method: str, status: int, scripted: Any) -> None:
    error, _ = await _after(scripted, status, method, TransportError("connection_lost", "Trouble.", retryable=True))
    assert (error.message, error.retryable) == ("Trouble.", True)


async def test_a_later_hop_has_the_time_that_earlier_ones_left(scripted: Any) -> None:
    answers = [HttpResponse(302, (("Location", f"/{n}"),)) for n in range(3)]
    mock = scripted(*answers, HttpResponse(200))
    await follow(mock, HttpRequest("GET", "https://a.test/", timeout_sec=5), keep_body_at_home=False)
    times = [request.timeout_sec for request in mock.sent]
    assert times[0] == 5
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 4
