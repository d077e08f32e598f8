"""Rendered config -> request bytes, and every way a config can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from automata import __version__
from automata.errors import Invalid
from automata.steps.contract import HttpRequest
from automata.steps.http_body import parse_text
from automata.steps.http_request import build_request, parse_ok_status


def built(**config: Any) -> HttpRequest:
    return build_request({"url": "https://api.test/x"} | config, 7.5, "run1:fetch")


def problem(**config: Any) -> str:
    with pytest.raises(Invalid) as caught:
        built(**config)
    assert caught.value.code == "bad_config"
    return caught.value.message


def test_a_bare_url_is_a_get_with_the_idempotency_key_and_our_name() -> None:
    assert built() == HttpRequest(
        method="GET",
        url="https://api.test/x",
        headers=(("Idempotency-Key", "run1:fetch"), ("User-Agent", f"automata/{__version__}")),
        body=None,
        timeout_sec=7.5,
        max_bytes=10 * 1024 * 1024,
        follow_redirects=True,
        verify_tls=True,
    )


@pytest.mark.parametrize("name", ["Idempotency-Key", "idempotency-key", "IDEMPOTENCY-KEY"])
def test_the_flows_own_idempotency_key_wins_in_any_case(name: str) -> None:
    keys = [value for key, value in built(headers={name: "mine"}).headers if key.lower() == "idempotency-key"]
    assert keys == ["mine"]


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ({"a": [1, None, "ü"]}, '{"a":[1,null,"ü"]}', "application/json"),
        ([], "[]", "application/json"),
        (3, "3", "application/json"),
        (1.5, "1.5", "application/json"),
        (False, "false", "application/json"),
        ("plain ü", "plain ü", "text/plain; charset=utf-8"),
        ("", "", "text/plain; charset=utf-8"),
    ],
)
def test_a_body_is_json_unless_it_is_text(body: Any, sent: str, content_type: str) -> None:
    request = built(method="POST", body=body)
    assert request.body == sent.encode()
    assert request.header("content-type") == content_type


XML = '<?xml version="1.0" encoding="ISO-8859-1"?><n>Müller</n>'


@pytest.mark.parametrize(
    ("body", "content_type", "codec"),
    [
        ("Müller", "text/plain; charset=ISO-8859-1", "latin-1"),
        ("Müller €", 'text/csv; charset="windows-1252"', "cp1252"),
        ("日本", "text/plain; charset=Shift_JIS", "shift_jis"),
        ("Müller", "text/plain; charset=utf-16-be", "utf-16-be"),
        ("Müller", "text/plain", "utf-8"),
        (XML, "application/xml", "latin-1"),
        (XML, "application/soap+xml; action=x", "latin-1"),
        (XML, "text/xml; charset=utf-8", "utf-8"),
        (XML, "text/plain", "latin-1"),
        (XML, "text/plain; charset=utf-8", "utf-8"),
        ("<n>Müller</n>", "text/xml", "utf-8"),
    ],
)
def test_a_text_is_sent_in_the_charset_that_it_is_announced_in(body: str, content_type: str, codec: str) -> None:
    request = built(method="POST", body=body, headers={"Content-Type": content_type})
    assert request.body == body.encode(codec)
    assert parse_text(request.body, content_type) == body, "and is read as it was"


def test_json_is_written_in_the_charset_that_the_flow_names() -> None:
    request = built(method="POST", body={"a": "ü"}, headers={"Content-Type": "application/json; charset=latin-1"})
    assert request.body == b'{"a":"\xfc"}'


@pytest.mark.parametrize(
    "content_type", ["text/plain; charset=latin-1", "text/plain; charset=klingon", "application/xml"]
)
def test_a_text_that_its_charset_cannot_hold_is_refused(content_type: str) -> None:
    body = "<?xml version='1.0' encoding='us-ascii'?><n>日本</n>"
    with pytest.raises(Invalid, match="`body`"):
        built(method="POST", body=body, headers={"Content-Type": content_type})


def test_no_body_and_null_send_nothing() -> None:
    assert built(method="POST", body=None).body is None
    assert built(method="POST").header("content-type") is None


def test_the_flows_content_type_wins() -> None:
    assert built(method="POST", body={}, headers={"content-type": "application/ld+json"}).headers[0] == (
        "content-type",
        "application/ld+json",
    )


def test_a_form_is_url_encoded_and_lists_repeat() -> None:
    request = built(method="POST", form={"a": "1 &ü", "b": [1, True], "c": None})
    assert request.body == b"a=1+%26%C3%BC&b=1&b=true"
    assert request.header("content-type") == "application/x-www-form-urlencoded"


def test_query_is_merged_into_the_url_and_lists_repeat() -> None:
    request = built(
        url="https://api.test/x?keep=1&page=1", query={"page": 2, "tag": ["a b", "ü"], "on": True, "no": None}
    )
    assert request.url == "https://api.test/x?keep=1&page=2&tag=a+b&tag=%C3%BC&on=true"


@pytest.mark.parametrize(
    ("url", "query", "sent"),
    [
        ("?Signature=a%2Bb%2Fc%27&x=%5B1%5D", {"page": 2}, "?Signature=a%2Bb%2Fc%27&x=%5B1%5D&page=2"),
        ("?a=%2F&a=%27&b=c+d", {"a": "e/f"}, "?b=c+d&a=e/f"),
        ("?%61=1&b", {"a": 2}, "?b&a=2"),
        ("", {"zeta": 1, "a": 2, "bb": [3, 4]}, "?zeta=1&a=2&bb=3&bb=4"),
        ("?keep=%2F", {"a": None}, "?keep=%2F"),
        ("?keep=%2F#part", {"a": 1}, "?keep=%2F&a=1"),
    ],
)
def test_a_query_beside_one_that_is_written_leaves_it_as_it_was(url: str, query: dict[str, Any], sent: str) -> None:
    assert built(url=f"https://api.test/x%2Fy{url}", query=query).url == f"https://api.test/x%2Fy{sent}"


def test_bearer_and_basic_become_the_authorization_header() -> None:
    assert built(auth={"bearer": "tok"}).header("authorization") == "Bearer tok"
    assert built(auth={"basic": {"username": "ü", "password": "p:w"}}).header("authorization") == "Basic w7w6cDp3"


def test_userinfo_of_the_url_becomes_basic_and_leaves_the_url() -> None:
    request = built(url="https://us%40er:pw@api.test/x")
    assert request.url == "https://api.test/x"
    assert request.header("authorization") == "Basic dXNAZXI6cHc="
    assert built(url="https://u:p@api.test/", auth={"bearer": "tok"}).header("authorization") == "Bearer tok"
    assert built(url="https://u:p@api.test/", headers={"Authorization": "X y"}).header("authorization") == "X y"


def test_a_fragment_is_not_sent() -> None:
    assert built(url="https://api.test/x#part").url == "https://api.test/x"


def test_scalars_are_written_as_json_writes_them_and_null_leaves_a_header_out() -> None:
    request = built(headers={"X-N": 5, "X-B": True, "X-None": None, "X-T": " t\t"})
    assert request.headers[:3] == (("X-N", "5"), ("X-B", "true"), ("X-T", "t"))


def test_the_host_header_may_repeat_the_host_and_nothing_else() -> None:
    assert built(headers={"Host": "API.test"}).header("host") is None
    assert "Host" in problem(headers={"Host": "other.test"})
    assert "Host" in problem(headers={"hOST": "api.test:8080"})


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "a\x7f", "\ud800", "x" * 9000])
def test_a_header_value_that_would_break_out_is_refused(value: str) -> None:
    assert "headers.X-A" in problem(headers={"X-A": value})


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ü", "x" * 201])
def test_a_header_name_that_is_no_token_is_refused(name: str) -> None:
    assert "name of a header" in problem(headers={name: "1"})


@pytest.mark.parametrize(
    "name",
    ["Connection", "transfer-encoding", "Content-Length", "TE", "Upgrade", "Proxy-Authorization", "Expect", "Trailer"],
)
def test_headers_of_the_connection_are_refused(name: str) -> None:
    assert "connection" in problem(headers={name: "x"})


def test_a_header_given_twice_in_different_cases_is_refused() -> None:
    assert "twice" in problem(headers={"X-A": "1", "x-a": "2"})


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"url": None}, "url"),
        ({"url": 5}, "url"),
        ({"url": "not a url"}, "url"),
        ({"url": "ftp://a.test/"}, "http"),
        ({"url": "https://a.test/\ud800"}, "surrogate"),
        ({"url": "https://a.test/\r\nX: y"}, "control"),
        ({"method": "G T"}, "method"),
        ({"method": None}, "method"),
        ({"method": "CONNECT"}, "method"),
        ({"method": "trace"}, "method"),
        ({"query": "a=1"}, "query"),
        ({"query": {"a": {"b": 1}}}, "query.a"),
        ({"query": {"a": "\ud800"}}, "query.a"),
        ({"query": {"\ud800": "1"}}, "query"),
        ({"headers": [1]}, "headers"),
        ({"headers": {"X": [1]}}, "headers.X"),
        ({"form": "a=1"}, "form"),
        ({"form": {}, "body": {}}, "form"),
        ({"body": {"a": "\ud800"}}, "body"),
        ({"body": "\udfff"}, "body"),
        ({"body": 2**4096}, "body"),
        ({"body": object()}, "body"),
        ({"auth": "x"}, "auth"),
        ({"auth": {}}, "auth"),
        ({"auth": {"digest": "x"}}, "auth"),
        ({"auth": {"bearer": "a", "basic": {}}}, "auth"),
        ({"auth": {"bearer": 5}}, "auth.bearer"),
        ({"auth": {"bearer": "a\r\nb"}}, "auth"),
        ({"auth": {"basic": "a:b"}}, "auth.basic"),
        ({"auth": {"bearer": ""}}, "auth.bearer"),
        ({"auth": {"bearer": " "}}, "auth.bearer"),
        ({"auth": {"basic": {"username": "", "password": ""}}}, "auth.basic"),
        ({"query": {"": "1"}}, "without a name"),
        ({"form": {"": "1"}}, "without a name"),
        ({"auth": {"basic": {"username": "a"}}}, "auth.basic"),
        ({"auth": {"basic": {"username": "a:b", "password": ""}}}, "colon"),
        ({"auth": {"bearer": "x"}, "headers": {"authorization": "y"}}, "both"),
        ({"verify_tls": "no"}, "verify_tls"),
        ({"follow_redirects": 1}, "follow_redirects"),
        ({"max_response_bytes": 0}, "max_response_bytes"),
        ({"max_response_bytes": True}, "max_response_bytes"),
        ({"max_response_bytes": 10**9}, "max_response_bytes"),
        ({"max_response_bytes": "10"}, "max_response_bytes"),
        ({"methd": "GET"}, "methd"),
    ],
)
def test_a_wrong_config_is_named(config: dict[str, Any], word: str) -> None:
    assert word in problem(**config)


def test_a_wrong_credential_is_not_shown() -> None:
    assert "hunter2" not in problem(auth={"bearer": ["hunter2"]})
    assert "hunter2" not in problem(auth={"basic": {"username": "a:b", "password": "hunter2"}})
    assert "hunter2" not in problem(auth={"bearer": "hunter2\n"})
    assert "hunter2" not in problem(url="ftp://u:hunter2@a.test/?k=hunter2")
    assert "hunter2" not in problem(url="https://u:hunter2@[a.test/?k=hunter2")


def test_a_deep_body_is_a_bad_config_and_no_crash() -> None:
    deep: list[Any] = []
    for _ in range(2_000):
        deep = [deep]
    assert "body" in problem(body=deep)


@pytest.mark.parametrize(
    ("given", "inside", "outside"),
    [
        (["200-299"], (200, 299), (199, 300)),
        ([200, 404], (200, 404), (201,)),
        (204, (204,), (200,)),
        ("404", (404,), (200,)),
        (["200-204", 304], (204, 304), (303,)),
    ],
)
def test_ok_status_takes_codes_and_ranges(given: Any, inside: tuple[int, ...], outside: tuple[int, ...]) -> None:
    codes = parse_ok_status({"ok_status": given})
    assert all(any(status in part for part in codes) for status in inside)
    assert not any(any(status in part for part in codes) for status in outside)


def test_ok_status_is_200_to_399_by_default() -> None:
    assert parse_ok_status({}) == (range(200, 400),)


@pytest.mark.parametrize("given", [[], ["2xx"], "all", [99], [True], [None], {"a": 1}, ["200-"], 600, 2.5])
def test_a_wrong_ok_status_is_refused(given: Any) -> None:
    with pytest.raises(Invalid, match="ok_status"):
        parse_ok_status({"ok_status": given})
