"""Answers of mocks held to an OpenAPI document: what is promised, what is not, and documents that are hostile."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml

from automata.errors import Invalid
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import Flows, run_case
from automata.sandbox.contract import read_contract
from automata.sandbox.mocks import Answer

CRM = """
openapi: 3.0.3
info: {title: CRM, version: "1"}
servers: [{url: "https://crm.example.com/v2"}]
paths:
  /orders/{id}:
    get:
      responses:
        200: {$ref: "#/components/responses/Order"}
        4XX: {content: {application/problem+json: {schema: {type: object, required: [title]}}}}
    delete: {responses: {204: {description: gone}}}
  /orders/latest:
    get: {responses: {default: {content: {"text/*": {}}}}}
components:
  responses:
    Order: {content: {application/json: {schema: {$ref: "#/components/schemas/Order"}}}}
  schemas:
    Order:
      type: object
      required: [id, total, secret]
      properties:
        id: {type: string, pattern: "^o-[0-9]+$"}
        total: {type: number, minimum: 0, exclusiveMinimum: true}
        secret: {type: string, writeOnly: true}
        note: {type: string, nullable: true}
        parts: {type: array, items: {$ref: "#/components/schemas/Order"}}
"""
ORDER = {"id": "o-1", "total": 5}
FLOW = {
    "name": "a",
    "inputs": {"id": {}},
    "steps": [{"id": "get", "type": "http", "config": {"url": "https://crm.example.com/v2/orders/{{ inputs.id }}"}}],
}


def answer(body: Any, status: int = 200, media: str = "application/json") -> Answer:
    sent = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Answer(status, (("Content-Type", media),) if media else (), sent)


@pytest.mark.parametrize(
    ("method", "path", "given", "says"),
    [
        ("GET", "/orders/o-1", answer(ORDER), None),
        ("GET", "/v2/orders/o-1", answer({**ORDER, "note": None, "parts": [ORDER]}), None),
        ("GET", "/orders/o-1", answer({"title": "x"}, 404, "application/problem+json"), None),
        ("GET", "/orders/latest", answer("o-1", media="text/plain; charset=utf-8"), None),
        ("DELETE", "/orders/o-1", answer(None, 204, ""), None),
        ("GET", "/orders/o-1", answer({"id": "o-1"}), "the body at `/` lacks `total`"),
        ("GET", "/orders/o-1", answer({**ORDER, "total": "5"}), "`/total` must be of type number"),
        ("GET", "/orders/o-1", answer({**ORDER, "total": 0}), "`/total`"),
        ("GET", "/orders/o-1", answer({**ORDER, "id": None}), "`/id` must be of type string"),
        ("GET", "/orders/o-1", answer({**ORDER, "parts": [ORDER, {"id": "x", "total": 1}]}), "`/parts/1/id`"),
        ("GET", "/orders/o-1", answer("{"), "is not JSON"),
        ("GET", "/orders/o-1", answer(ORDER, media="text/plain"), "promises application/json"),
        ("GET", "/orders/o-1", answer(None, media=""), "it has no body"),
        ("GET", "/orders/o-1", answer(ORDER, 201), "no status 201 for GET `/orders/{id}`, only 200, 4XX"),
        ("DELETE", "/orders/o-1", answer(ORDER, 204), "promises none"),
        ("PUT", "/orders/o-1", answer(ORDER), "no PUT for `/orders/{id}`"),
        ("GET", "/orders", answer(ORDER), "no path like `/orders`"),
        ("GET", "/orders/a/b", answer(ORDER), "no path like"),
    ],
)
def test_an_answer_is_held_to_path_method_status_and_body(
    method: str, path: str, given: Answer, says: str | None
) -> None:
    said = read_contract(CRM.encode(), "crm.yaml").breach(method, path, given)
    assert said is None if says is None else says in (said or ""), said


def test_version_3_1_is_json_schema_as_it_is() -> None:
    text = CRM.replace("3.0.3", "3.1.0").replace("minimum: 0, exclusiveMinimum: true", "exclusiveMinimum: 0")
    contract = read_contract(text.replace("type: string, nullable: true", 'type: [string, "null"]').encode(), "c.yaml")
    assert contract.breach("GET", "/orders/o-1", answer({**ORDER, "note": None})) is None
    assert "`/total`" in (contract.breach("GET", "/orders/o-1", answer({**ORDER, "total": 0})) or "")


def read(value: dict[str, Any], specs: dict[str, bytes] | None = None) -> Any:
    files = {"tests/specs/crm.yaml": CRM.encode(), **(specs or {})}
    return read_cases(json.dumps(value).encode(), "tests/a.test.yaml", files.get)


def case(mock: dict[str, Any], **top: Any) -> dict[str, Any]:
    mock = {"id": "orders", **mock}
    return {"flow": "a", "cases": [{"name": "one", "inputs": {"id": "o-1"}, "mocks": [mock]}], **top}


EXACT = {"method": "GET", "url": {"host": "crm.example.com", "path": "/v2/orders/o-1"}}
WRONG = [{"json": ORDER}, {"json": {**ORDER, "total": "5"}}]


@pytest.mark.parametrize("where", ["file", "mock"])
def test_a_mock_that_breaks_it_is_told_with_its_place_before_anything_runs(where: str) -> None:
    named = {"openapi": "specs/crm.yaml"}
    mock = {"request": EXACT, "responses": WRONG}
    held = read(case(mock, **named) if where == "file" else case({**mock, **named}))
    (one,) = held.diagnostics
    assert (one.code, one.pointer, held.cases) == ("AF409", "/cases/0/mocks/0/responses/1", ())
    assert "the mock `orders` breaks GET /v2/orders/o-1: the body at `/total`" in one.message


def test_a_mock_may_be_left_out_and_a_fault_is_not_checked() -> None:
    assert read(case({"request": EXACT, "responses": WRONG, "openapi": False}, openapi="specs/crm.yaml")).cases
    faults = [{"fault": "malformed", "json": {"not": "promised"}}, {"json": ORDER}]
    assert read(case({"request": EXACT, "responses": faults}, openapi="specs/crm.yaml")).cases


def test_a_mock_of_any_path_is_held_to_it_by_the_request_that_it_answers() -> None:
    held = read(
        case({"request": {"url": {"path": {"glob": "/v2/*"}}}, "responses": WRONG[1:]}, openapi="specs/crm.yaml")
    )
    (one,) = held.cases
    result = run_case(one, Flows({"a": (FLOW, {})}))
    assert not result.passed
    (told,) = [problem for problem in result.problems if problem["where"] == "openapi"]
    assert "mock `orders` to GET https://crm.example.com/v2/orders/o-1: the body at `/total`" in told["message"]
    good = read(case({"request": {"method": "GET"}, "responses": [{"json": ORDER}]}, openapi="specs/crm.yaml"))
    assert run_case(good.cases[0], Flows({"a": (FLOW, {})})).passed
    assert good.cases[0].read == ("tests/specs/crm.yaml",), "a change of the file touches the case"


def spec(schema: Any, **more: Any) -> bytes:
    responses = {"200": {"content": {"application/json": {"schema": schema}}}}
    document = {"openapi": "3.1.0", "paths": {"/": {"get": {"responses": responses}}}, **more}
    return json.dumps(document).encode()


def bomb(depth: int) -> bytes:
    """Each schema asks for the next one twice."""
    twice = [{"allOf": [{"$ref": f"#/components/schemas/{n + 1}"}] * 2} for n in range(depth)]
    schemas = {str(n): one for n, one in enumerate([*twice, {"type": "object"}])}
    return spec({"$ref": "#/components/schemas/0"}, components={"schemas": schemas})


LOOP = {"/": {"$ref": "#/paths/~1"}}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (spec({"$ref": "https://example.com/schema.json"}), "nothing is fetched"),
        (spec({"$ref": "other.yaml#/x"}), "nothing is fetched"),
        (spec({"$ref": "#/components/none"}), "leads nowhere"),
        (spec({"type": "strange"}), "not a JSON Schema"),
        (spec({"pattern": "(" * 50}), "regular expression"),
        (spec({"type": "object"}, paths=LOOP), "references follow each other"),
        (spec({}, paths={"/": {"get": {"responses": 7}}}), "an object is missing"),
        (spec({"$ref": "#/paths/~1/get/responses/200/content/application~1json/schema"}), "cannot be"),
        (bomb(40), "too much work"),
    ],
    ids=["http", "file", "nowhere", "no schema", "pattern", "loop of paths", "no object", "itself", "bomb"],
)
def test_a_document_that_cannot_be_used_is_told_in_time(content: bytes, says: str) -> None:
    began = time.process_time()
    said = read_contract(content, "a.json").breach("GET", "/", answer({}))
    assert says in (said or ""), said
    assert time.process_time() - began < 25


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"openapi: 2.0.0\n",
        b"swagger: '2.0'\n",
        b"openapi: 3\n",
        b"x: &a 1\ny: *a\n",
        b"openapi: 3.1.0\nx: " + b"[" * 60,
        b"openapi: 3.1.0\n#" + b"x" * (1024 * 1024),
        b"openapi: 3.1.0\nx: [" + b"1," * 100_001 + b"]",
        yaml.safe_dump({"openapi": "4.0.0"}).encode(),
    ],
)
def test_what_is_no_openapi_document_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        read_contract(content, "a.yaml")
    held = read(case({"request": EXACT, "responses": WRONG}, openapi="bad.yaml"), {"tests/bad.yaml": content})
    assert {one.code for one in held.diagnostics} == {"AF409"}


@pytest.mark.parametrize("path", ["none.yaml", "../../etc/passwd", "/etc/passwd"])
def test_a_file_that_is_not_in_the_repository_is_not_read(path: str) -> None:
    assert read(case({"request": EXACT, "responses": WRONG}, openapi=path)).diagnostics[0].code == "AF401"
