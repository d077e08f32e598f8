"""Mocks answer as a service does: headers more than once, bodies that are not read, cookies of redirects."""

from __future__ import annotations

from typing import Any

import pytest

from automata.sandbox.answers import RecordedTransport, comparable, exchanges_of
from automata.sandbox.case_file import read_cases
from automata.steps.contract import HttpRequest
from tests.sandbox.test_case_runner import problems, rehearse

URL = "https://crm.example.com/orders"


def call(outputs: dict[str, str] | None = None, **config: Any) -> dict[str, Any]:
    step = {"id": "call", "type": "http", "config": {"method": "POST", "url": URL, **config}}
    return step | ({"outputs": outputs} if outputs else {})


def answered(*steps: dict[str, Any], flow: dict[str, Any] | None = None, **response: Any) -> Any:
    return rehearse({"mocks": [{"responses": [response]}]}, *steps, **(flow or {}))


JSON = {"Content-Type": "application/json"}


def test_a_mock_gives_a_header_more_than_once() -> None:
    outputs = {"cookies": "{{ response.headers['set-cookie'] }}", "links": "{{ response.headers.link }}"}
    headers = {"Set-Cookie": ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"], "Link": ["<a>", "<b>"]}
    result = answered(call(outputs), headers=headers)
    assert result.steps["call"]["outputs"] == {"cookies": headers["Set-Cookie"], "links": "<a>, <b>"}


@pytest.mark.parametrize("values", [[], [1], ["a"] * 101, {"a": "b"}])
def test_what_is_no_list_of_values_is_refused(values: Any) -> None:
    file = b'{"flow": "f", "cases": [{"name": "n", "mocks": [{"responses": [{"headers": {"X-A": %s}}]}]}]}'
    read = read_cases(file % str(values).replace("'", '"').encode(), "tests/f.test.json", lambda _: None)
    assert read.diagnostics


def test_a_body_that_is_not_json_fails_nobody_who_does_not_read_it() -> None:
    flow = {"outputs": {"status": "{{ steps.call.outputs.status }}"}}
    result = answered(call({"status": "{{ response.status }}"}), flow=flow, headers=JSON, text="OK")
    assert (result.outputs, problems(result)) == ({"status": 200}, "")


@pytest.mark.parametrize(
    "text",
    ["{{ response.body }}", "{{ response.body.id }}", "{{ response['body'] | length }}", "x {{ response.body[0] }}"],
)
def test_who_reads_a_body_that_cannot_be_read_fails_and_is_told_why(text: str) -> None:
    result = answered(call({"x": text}), headers=JSON, text="OK")
    error = result.steps["call"]["error"]
    assert error["code"] == "bad_response"
    assert "`response.body` cannot be read in" in error["message"]
    assert "calls itself JSON and is not" in error["message"]


@pytest.mark.parametrize("text", ["{{ response.body | default('none') }}", "{{ response.body_error is defined }}"])
def test_a_flow_may_cope_with_a_body_that_cannot_be_read(text: str) -> None:
    assert answered(call({"x": text}), headers=JSON, text="OK").steps["call"]["outputs"]["x"] in ("none", True)


def test_without_outputs_the_body_is_left_out_and_a_later_reader_is_told_why() -> None:
    read = {"id": "read", "type": "transform", "depends_on": ["call"]}
    read["config"] = {"mappings": {"x": "{{ steps.call.outputs.body.id }}"}}
    result = answered(call(), read, headers=JSON, text="OK")
    outputs = result.steps["call"]["outputs"]
    assert "body" not in outputs
    assert "is not: unexpected" in outputs["body_error"]
    assert "`steps.call.outputs.body` cannot be read in" in result.steps["read"]["error"]["message"]


def test_other_objects_with_such_keys_are_not_quoted() -> None:
    step = {"id": "t", "type": "transform", "config": {"mappings": {"x": "{{ inputs.o.body }}"}}}
    case = {"inputs": {"o": {"body_error": "hunter2"}}}
    error = rehearse(case, step, inputs={"o": {"type": "object"}}).steps["t"]["error"]
    assert "hunter2" not in error["message"]


@pytest.mark.parametrize(
    ("reading", "headers", "text", "body"),
    [
        ("auto", JSON, '{"a": 1}', {"a": 1}),
        ("auto", {"Content-Type": "application/vnd.acme+json"}, '{"a": 1}', {"a": 1}),
        ("json", {"Content-Type": "text/html"}, '{"a": 1}', {"a": 1}),
        ("text", JSON, '{"a": 1}', '{"a": 1}'),
        ("text", JSON, "OK", "OK"),
        ("none", JSON, "OK", None),
    ],
)
def test_a_body_is_read_as_the_step_says(reading: str, headers: dict[str, str], text: str, body: Any) -> None:
    result = answered(call(response=reading), headers=headers, text=text)
    assert result.steps["call"]["outputs"]["body"] == body


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_has_none_in_a_rehearsal_either(status: int) -> None:
    assert answered(call(), status=status, text="hello").steps["call"]["outputs"]["body"] == ""


def test_a_body_that_is_not_read_has_no_bound() -> None:
    result = answered(call(response="none", max_response_bytes=10), text="x" * 100)
    assert result.steps["call"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize(("method", "attempts"), [("GET", 3), ("PUT", 3), ("POST", 1), ("PATCH", 1)])
def test_an_answer_that_is_no_http_is_not_asked_for_twice_where_that_does_harm(method: str, attempts: int) -> None:
    retry = {"max_attempts": 3, "initial_delay_ms": 1, "jitter": "none"}
    step = call(method=method) | {"retry": retry}
    assert answered(step, fault="malformed").steps["call"]["attempts"] == attempts


@pytest.mark.parametrize(("method", "attempts"), [("GET", 3), ("DELETE", 3), ("POST", 1), ("PATCH", 1)])
def test_a_body_that_breaks_off_is_told_as_in_production(method: str, attempts: int) -> None:
    retry = {"max_attempts": 3, "initial_delay_ms": 1, "jitter": "none"}
    result = answered(call(method=method) | {"retry": retry}, fault="truncated", text="half of it")
    assert result.steps["call"]["attempts"] == attempts
    if attempts == 1:
        outputs = result.steps["call"]["outputs"]
        assert (outputs["status_code"], outputs["body_error"]) == (200, "The body of the response breaks off.")
    else:
        assert result.steps["call"]["error"]["code"] == "connection_lost"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_body_that_nobody_reads_may_break_off(method: str) -> None:
    result = answered(call(method=method, response="none"), fault="truncated", text="half of it")
    assert result.steps["call"]["status"] == "SUCCEEDED"


def test_cookies_of_a_redirect_are_sent_on() -> None:
    mocks = [
        {
            "request": {"method": "POST"},
            "responses": [
                {"status": 303, "headers": {"Location": "/home", "Set-Cookie": ["sid=1; Path=/", "b=2; Path=/"]}}
            ],
        },
        {"request": {"method": "GET", "headers": {"Cookie": "sid=1; b=2"}}, "responses": [{"json": {"ok": True}}]},
    ]
    result = rehearse({"mocks": mocks}, call())
    assert problems(result) == ""
    assert result.steps["call"]["outputs"]["body"] == {"ok": True}


@pytest.mark.parametrize("error", ["", "The body of the response breaks off."])
async def test_a_replay_knows_what_was_not_the_whole_body(error: str) -> None:
    sent = {"method": "GET", "url": URL, "headers": [], "body": None}
    response = {"status": 200, "headers": [], "body": {"text": "ha"}} | ({"body_error": error} if error else {})
    transport = RecordedTransport(exchanges_of([{"step": "a", "request": sent, "response": response}]), lambda: 0.0)
    answer = await transport.send(HttpRequest("GET", URL), "a")
    assert (answer.body, answer.body_error) == (b"ha", error)


@pytest.mark.parametrize(
    ("body", "alike"),
    [
        (b'{"id": 18446744073709551616}', {"id": 2**64}),
        (b"\xff\xfe", "base64://4="),
        (b"text", "text"),
        (b"", None),
    ],
)
def test_bodies_are_compared_digit_for_digit_and_byte_for_byte(body: bytes, alike: Any) -> None:
    assert comparable(body) == alike
