"""The whole `http` step: over a mocked transport where rules are asked, over real servers where the wire matters."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from automata.steps.contract import HttpResponse, TransportError
from automata.steps.egress import EgressPolicy

JSON = (("Content-Type", "application/json"),)
URL = "https://crm.example.com/orders"


async def run(attempting: Any, mock: Any, config: dict[str, Any], **more: Any) -> Any:
    return await attempting(mock, {"url": URL} | config, **more)


async def test_an_answer_becomes_outputs_and_what_templates_see(attempt: Any, scripted: Any) -> None:
    outcome = await run(attempt, scripted(HttpResponse(201, JSON, b'{"data": [1]}')), {})
    expected = {"status_code": 201, "headers": {"content-type": "application/json"}, "body": {"data": [1]}}
    assert outcome.failure is None
    assert outcome.outputs == expected
    assert outcome.response == {"response": expected | {"status": 201}}


async def test_a_status_that_is_not_ok_is_a_failure_with_its_retry_after(attempt: Any, scripted: Any) -> None:
    failure = (await run(attempt, scripted(HttpResponse(429, (("Retry-After", "3"),), b"slow down")), {})).failure
    assert (failure.code, failure.status, failure.retry_after_ms) == ("http_status", 429, 3000)
    assert failure.message == f"GET {URL} answered 429: slow down"


async def test_ok_status_decides_in_both_directions(attempt: Any, scripted: Any) -> None:
    assert (await run(attempt, scripted(HttpResponse(404)), {"ok_status": [404]})).failure is None
    assert (await run(attempt, scripted(HttpResponse(200)), {"ok_status": "201-204"})).failure.status == 200
    assert (await run(attempt, scripted(HttpResponse(304)), {})).failure is None


async def test_a_failed_answer_is_not_parsed(attempt: Any, scripted: Any) -> None:
    assert (await run(attempt, scripted(HttpResponse(500, JSON, b"<html>")), {})).failure.code == "http_status"


async def test_json_that_is_none_is_a_bad_response_and_final_where_json_is_asked_for(
    attempt: Any, scripted: Any
) -> None:
    failure = (await run(attempt, scripted(HttpResponse(200, JSON, b"<html>")), {"response": "json"})).failure
    assert (failure.code, failure.status, failure.retryable) == ("bad_response", None, False)


async def test_a_bad_config_sends_nothing(attempt: Any, scripted: Any) -> None:
    for config in ({"url": "nonsense"}, {"ok_status": []}, {"body": "\ud800"}):
        mock = scripted()
        failure = (await run(attempt, mock, config)).failure
        assert (failure.code, failure.retryable, mock.sent) == ("bad_config", False, [])


@pytest.mark.parametrize(("code", "retryable"), [("timeout", True), ("egress_denied", False)])
async def test_trouble_of_the_transport_keeps_its_code(code: str, retryable: bool, attempt: Any, scripted: Any) -> None:
    failure = (await run(attempt, scripted(TransportError(code, "why", retryable)), {})).failure
    assert (failure.code, failure.message, failure.retryable) == (code, "why", retryable)


async def test_every_attempt_sends_the_same_idempotency_key(attempt: Any, scripted: Any) -> None:
    mock = scripted(HttpResponse(503), HttpResponse(200))
    for number in (1, 2):
        await run(attempt, mock, {"method": "POST"}, attempt=number)
    assert [request.header("idempotency-key") for request in mock.sent] == ["run1:fetch"] * 2


async def test_a_failure_after_a_redirect_names_the_address_that_failed(attempt: Any, scripted: Any) -> None:
    mock = scripted(HttpResponse(302, (("Location", "https://b.test/y?t=1"),)), HttpResponse(500))
    assert (await run(attempt, mock, {})).failure.message == "GET https://b.test/y answered 500."


async def test_a_step_that_reads_secrets_does_not_send_its_body_on(attempt: Any, scripted: Any) -> None:
    away = HttpResponse(308, (("Location", "https://b.test/"),))
    mock = scripted(away)
    failure = (await run(attempt, mock, {"method": "POST", "body": {"k": "v"}}, reads_secrets=True)).failure
    assert (failure.code, len(mock.sent)) == ("redirect_refused", 1)
    mock = scripted(away, HttpResponse(200))
    assert (await run(attempt, mock, {"method": "POST", "body": {"k": "v"}})).failure is None
    assert mock.sent[1].body == b'{"k":"v"}'


async def test_what_is_configured_arrives_on_the_wire(attempt: Any, serve: Any, transport: Any) -> None:
    async def echo(request: web.Request) -> web.Response:
        wanted = ("Content-Type", "Authorization", "Idempotency-Key", "User-Agent", "X-A", "Host")
        seen = {name: request.headers.get(name) for name in wanted}
        return web.json_response(
            {"method": request.method, "url": request.raw_path, "body": await request.text()} | seen
        )

    async with serve(echo) as url, transport() as real:
        config = {
            "method": "patch",
            "url": f"{url}/a%2Fb?x=1",
            "query": {"y": ["2", "3"]},
            "headers": {"X-A": "ü"},
            "auth": {"bearer": "tok"},
            "body": [{"id": 1}],
        }
        seen = (await attempt(real, config)).outputs["body"]
        assert seen == {
            "method": "PATCH",
            "url": "/a%2Fb?x=1&y=2&y=3",
            "body": '[{"id":1}]',
            "Content-Type": "application/json",
            "Authorization": "Bearer tok",
            "Idempotency-Key": "run1:fetch",
            "User-Agent": "automata/0.1.0",
            "X-A": "ü",
            "Host": url.removeprefix("http://"),
        }


async def test_redirects_are_followed_on_the_wire_and_credentials_stay_at_home(
    attempt: Any, serve: Any, transport: Any
) -> None:
    calls: list[tuple[str, str, str | None, str | None, str]] = []

    async def away(request: web.Request) -> web.Response:
        heads = request.headers
        calls.append(
            (request.method, request.path, heads.get("X-Api-Key"), heads.get("Idempotency-Key"), await request.text())
        )
        target = {"/a": "/b", "/b": request.query.get("to", "")}.get(request.path)
        return web.Response(status=307, headers={"Location": f"{target}?{request.query_string}"}) if target else done()

    def done() -> web.Response:
        return web.json_response("done")

    async with serve(away) as first, serve(away) as second, transport() as real:
        config = {
            "method": "POST",
            "url": f"{first}/a",
            "query": {"to": f"{second}/c"},
            "headers": {"X-Api-Key": "k"},
            "body": "data",
        }
        assert (await attempt(real, config)).outputs["body"] == "done"
    assert calls == [
        ("POST", "/a", "k", "run1:fetch", "data"),
        ("POST", "/b", "k", "run1:fetch", "data"),
        ("POST", "/c", None, None, "data"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://[::ffff:a9fe:a9fe]/",
        "http://127.1/",
        "http://0.0.0.0:{port}/",
        "//metadata.google.internal/",
    ],
)
async def test_a_redirect_to_a_forbidden_address_is_refused(
    target: str, attempt: Any, serve: Any, transport: Any
) -> None:
    calls = 0

    async def lure(request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        return web.Response(status=302, headers={"Location": target.format(port=request.url.port)})

    async with serve(lure) as url, transport() as real:
        failure = (await attempt(real, {"url": url})).failure
        assert (failure.code, failure.retryable) == ("egress_denied", False)
    assert calls == 1


async def test_a_redirect_to_a_denied_host_is_refused_while_the_first_host_is_allowed(
    attempt: Any, serve: Any, transport: Any
) -> None:
    async def lure(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://localhost:{request.url.port}/"})

    policy = EgressPolicy(allow_loopback=True, allow=("127.0.0.1",), deny=("localhost",))
    async with serve(lure) as url, transport(policy) as real:
        failure = (await attempt(real, {"url": url})).failure
        assert failure.code == "egress_denied"
        assert "`localhost`" in failure.message


async def test_the_largest_response_is_the_flows_to_choose(attempt: Any, serve: Any, transport: Any) -> None:
    async def big(request: web.Request) -> web.Response:
        return web.Response(text="x" * 2_000)

    async with serve(big) as url, transport() as real:
        assert (await attempt(real, {"url": url, "max_response_bytes": 2_000})).failure is None
        failure = (await attempt(real, {"url": url, "max_response_bytes": 1_999})).failure
        assert (failure.code, failure.retryable) == ("response_too_large", False)
