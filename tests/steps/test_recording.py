"""What a recording keeps, and what it never does."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from typing import Any

import pytest

from automata.steps.contract import HttpRequest, HttpResponse, TransportError
from automata.steps.masking import describe_request
from automata.steps.recording import MAX_ATTEMPT_BYTES, MAX_BODY_BYTES, MAX_EXCHANGES, RecordingTransport, body_bytes
from automata.steps.secrets import masker

OK = HttpResponse(200)
JSON = (("Content-Type", "application/json; charset=utf-8"),)


class Answer:
    def __init__(self, *answers: HttpResponse | TransportError) -> None:
        self.answers = list(answers)

    async def send(self, request: HttpRequest) -> HttpResponse:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, TransportError):
            raise answer
        return answer


async def kept(*requests: HttpRequest, answer: Any = OK, secret: str = "s3cr3t", fields: Any = ()) -> Any:
    transport = RecordingTransport(Answer(answer))
    for request in requests:
        with suppress(TransportError):
            await transport.send(request)
    return json.loads(transport.exchanges(masker({"S": secret}), fields))


def post(body: bytes | None = None, headers: Any = JSON, url: str = "https://erp.example.com/x") -> HttpRequest:
    return HttpRequest("POST", url, headers, body)


async def test_a_request_and_its_answer_are_kept() -> None:
    (one,) = await kept(post(b'{"a": 1.0}'), answer=HttpResponse(201, JSON, b'["x"]'))
    assert one.pop("took_ms") >= 0
    kind = ["Content-Type", "application/json; charset=utf-8"]
    assert one == {
        "request": {
            "method": "POST",
            "url": "https://erp.example.com/x",
            "headers": [kind],
            "body": {"json": {"a": 1.0}},
        },
        "response": {"status": 201, "headers": [kind], "body": {"json": ["x"]}},
    }


async def test_a_fault_is_kept_as_what_it_was() -> None:
    (one,) = await kept(post(), answer=TransportError("dns_error", "no s3cr3t.example.com", retryable=True))
    assert one["fault"] == {"code": "dns_error", "message": "no ***.example.com", "retryable": True}


class Hang:
    async def send(self, request: HttpRequest) -> HttpResponse:
        await asyncio.Event().wait()
        raise AssertionError


async def test_an_attempt_that_ran_out_of_time_has_a_request_that_timed_out() -> None:
    transport = RecordingTransport(Hang())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await transport.send(post())
    (one,) = json.loads(transport.exchanges(masker({})))
    assert one["fault"]["code"] == "timeout"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"password": "hunter22"}', JSON),
        (b'{"deep": [{"Access_Token": "hunter22"}]}', JSON),
        (b'{"client-secret": {"is": "hunter22"}}', JSON),
        (b"a=1&password=hunter22", (("Content-Type", "application/x-www-form-urlencoded"),)),
        (b'{"mine": "hunter22"}', JSON),
        (b"{}", (*JSON, ("X-Mine", "hunter22"), ("Cookie", "hunter22"), ("X-Api-Key", "hunter22"))),
    ],
)
async def test_credentials_are_blanked_wherever_they_stand(body: bytes, headers: Any) -> None:
    told = json.dumps(await kept(post(body, headers), fields=["MINE", "x-mine"]))
    assert "hunter22" not in told
    assert "***" in told


async def test_what_is_no_credential_stays() -> None:
    body = {"key": "k-1", "token_count": 3, "secretary": "Ada", "author": "Bob", "password": None}
    (one,) = await kept(post(json.dumps(body).encode()))
    assert one["request"]["body"]["json"] == body


async def test_a_query_keeps_its_other_parts() -> None:
    (one,) = await kept(post(url="https://a.example.com/x?page=2&access_token=abcdef&q=a+b&s=s3cr3t"))
    assert one["request"]["url"] == "https://a.example.com/x?page=2&access_token=***&q=a+b&s=***"


async def test_a_secret_is_found_in_every_form() -> None:
    coded = base64.b64encode(b"user:s3cr3t-long").decode()
    told = json.dumps(await kept(post(f'{{"note": "{coded}"}}'.encode()), secret="s3cr3t-long"))
    assert coded not in told


@pytest.mark.parametrize("body", [b"plain", b"", b"\xff\x00", b'{"a": [1, "\\u0000"]}', "\u00e9".encode()])
async def test_a_body_comes_back_as_it_was(body: bytes) -> None:
    (one,) = await kept(post(body))
    again = body_bytes(one["request"]["body"])
    assert again == body or json.loads(again) == json.loads(body)


async def test_bytes_that_hold_a_secret_are_not_kept() -> None:
    (one,) = await kept(post(b"\xff s3cr3t"))
    assert one["request"]["body"] == {"cut": 8}


async def test_what_is_too_large_is_cut_and_cannot_be_sent_again() -> None:
    (one,) = await kept(post(b"x" * (MAX_BODY_BYTES + 1)))
    assert one["request"]["body"] == {"cut": MAX_BODY_BYTES + 1}
    with pytest.raises(ValueError, match="not kept"):
        body_bytes(one["request"]["body"])


async def test_an_attempt_keeps_so_many_requests_and_bytes() -> None:
    many = await kept(*[post(b"{}")] * (MAX_EXCHANGES + 5))
    assert len(many) == MAX_EXCHANGES
    assert "cut" in many[0]["request"]["body"], "what lacks a request must not look whole"
    large = await kept(*[post(b"x" * MAX_BODY_BYTES)] * (MAX_ATTEMPT_BYTES // MAX_BODY_BYTES + 1))
    assert len(json.dumps(large)) < MAX_ATTEMPT_BYTES


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("pw=pässwort".encode("latin-1"), "text/plain; charset=latin-1"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?><n>pässwort</n>'.encode("latin-1"), "application/xml"),
        ("pässwort".encode("utf-16"), "text/csv"),
    ],
)
async def test_a_secret_is_found_in_every_charset(body: bytes, content_type: str) -> None:
    (one,) = await kept(post(body, (("Content-Type", content_type),)), secret="pässwort")
    assert one["request"]["body"] == {"cut": len(body)}
    described = describe_request(post(body, (("Content-Type", content_type),)), masker({"S": "pässwort"}))
    assert "***" in described["body"]
    assert "sswort" not in described["body"]


async def test_why_a_body_is_not_whole_is_kept_and_masked() -> None:
    (one,) = await kept(post(), answer=HttpResponse(200, JSON, b"ha", body_error="It breaks off at s3cr3t."))
    assert one["response"]["body_error"] == "It breaks off at ***."
    (one,) = await kept(post(), answer=HttpResponse(200, JSON, b"[1]"))
    assert "body_error" not in one["response"]


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**40 + 7], ids=str)
async def test_numbers_keep_their_digits(number: int) -> None:
    body = b'{"id": [%d]}' % number
    (one,) = await kept(post(body), answer=HttpResponse(200, JSON, body))
    assert one["request"]["body"] == one["response"]["body"] == {"json": {"id": [number]}}
    assert body_bytes(one["response"]["body"]) == body.replace(b" ", b"")
