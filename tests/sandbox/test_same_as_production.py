"""Where a rehearsal is easily another thing than production: other flows, groups in the order, repeated values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from yarl import URL

from automata.errors import Invalid
from automata.flow.model import FlowContent
from automata.sandbox.answers import address
from automata.sandbox.case_file import read_cases
from automata.sandbox.case_runner import CaseResult, Flows, run_case
from automata.sandbox.matching import Seen, compile_request
from automata.sandbox.skeleton import skeletons
from automata.steps.http_request import build_request

NAP = {"type": "delay", "config": {"duration_ms": 10}}
GET = {"type": "http", "config": {"url": "https://crm.example.com/orders"}}
ANY = {"id": "any", "request": {}, "responses": [{"json": {}}]}


def rehearse(case: dict[str, Any], **contents: FlowContent) -> CaseResult:
    text = json.dumps({"flow": "orders", "cases": [{"name": "it", **case}]}).encode()
    read = read_cases(text, "tests/orders.test.yaml", lambda _: None)
    assert read.diagnostics == (), read.diagnostics
    return run_case(read.cases[0], Flows(contents))


def content(name: str, *steps: dict[str, Any], variables: dict[str, Any] | None = None, **more: Any) -> FlowContent:
    return FlowContent({"name": name, "steps": list(steps), **more}, variables or {})


def reading(name: str, *others: dict[str, Any], **variables: Any) -> FlowContent:
    """A flow that reads the variable `rate` and gives it on."""
    read = {"id": "read", "type": "transform", "config": {"mappings": {"rate": "{{ vars.rate }}"}}}
    return content(name, read, *others, variables=variables, outputs={"rate": "{{ steps.read.outputs.rate }}"})


def calling(name: str, flow: str, **variables: Any) -> FlowContent:
    call = {"id": "call", "type": "flow", "config": {"flow": flow}}
    return content(name, call, variables=variables, outputs={"rate": "{{ steps.call.outputs.rate }}"})


# --- other flows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contents", "case", "rate"),
    [
        ({"orders": calling("orders", "child"), "child": reading("child", rate=2)}, {}, 2),
        ({"orders": calling("orders", "child", rate=1), "child": reading("child", rate=2)}, {}, 2),
        ({"orders": calling("orders", "child"), "child": reading("child", rate=2)}, {"vars": {"rate": 3}}, 3),
        (
            {
                "orders": calling("orders", "middle"),
                "middle": calling("middle", "child"),
                "child": reading("child", rate=4),
            },
            {},
            4,
        ),
    ],
)
def test_a_called_flow_reads_its_own_variables(
    contents: dict[str, FlowContent], case: dict[str, Any], rate: int
) -> None:
    result = rehearse(case, **contents)
    assert (result.problems, result.outputs) == ((), {"rate": rate})


def test_a_called_flow_lacks_the_variables_of_its_caller() -> None:
    result = rehearse({}, orders=calling("orders", "child", rate=1), child=reading("child"))
    assert result.status == "FAILED"


def test_the_run_of_a_called_flow_begins_when_it_is_called() -> None:
    told = {"id": "told", "type": "transform", "config": {"mappings": {"at": "{{ run.created_at }}"}}}
    child = content("child", told, outputs={"at": "{{ steps.told.outputs.at }}"})
    wait = {"id": "wait", "type": "delay", "config": {"duration_sec": 3600}}
    call = {"id": "call", "type": "flow", "depends_on": ["wait"], "config": {"flow": "child"}}
    orders = content("orders", wait, call, outputs={"at": "{{ steps.call.outputs.at }}"})
    result = rehearse({"clock": "2026-01-05T09:00:00Z"}, orders=orders, child=child)
    assert result.problems == ()
    assert result.outputs["at"].startswith("2026-01-05T10:00:00")


def test_a_run_does_not_last_as_long_as_a_flow_that_it_does_not_wait_for() -> None:
    hour = {"id": "hour", "type": "delay", "config": {"duration_sec": 3600}}
    call = {"id": "call", "type": "flow", "config": {"flow": "child", "wait": False}}
    last = {"id": "last", "type": "http", "depends_on": ["hour"], "config": {"url": "https://crm.example.com/"}}
    result = rehearse({"mocks": [ANY]}, orders=content("orders", call), child=content("child", hour, last))
    assert (result.problems, result.elapsed_sec) == ((), 0)
    assert len(result.requests) == 1, "what it sends belongs to the case all the same"


# --- order ---------------------------------------------------------------------------------------------------------

FAN = {
    "id": "fan",
    "type": "parallel",
    "branches": [{"id": "a", "steps": [{"id": "one", **GET}]}, {"id": "b", "steps": [{"id": "two", **NAP}]}],
}
LAST = {"id": "last", "depends_on": ["load"], **NAP}


@pytest.mark.parametrize(
    ("steps", "order"),
    [
        ([{"id": "load", "foreach": [1, 2], **GET}, LAST], ["load[0]", "load", "last"]),
        ([{"id": "load", "foreach": [1, 2], "max_parallel": 1, **GET}, LAST], ["load[0]", "load[1]", "load", "last"]),
        ([{"id": "load", "foreach": [], **GET}, LAST], ["load", "last"]),
        ([FAN, {**LAST, "depends_on": ["fan"]}], ["fan.a.one", "two", "fan", "last"]),
        ([FAN, {**LAST, "depends_on": ["fan"]}], ["fan", "last"]),
    ],
)
def test_a_group_ends_after_what_is_inside_it_and_before_what_follows(
    steps: list[dict[str, Any]], order: list[str]
) -> None:
    case = {"mocks": [{**ANY, "optional": True}], "expect": {"order": order}}
    assert rehearse(case, orders=content("orders", *steps)).problems == ()


def test_a_group_that_is_expected_too_early_is_told() -> None:
    each = {"id": "load", "foreach": [1, 2], **GET}
    result = rehearse({"mocks": [ANY], "expect": {"order": ["load", "load[1]"]}}, orders=content("orders", each))
    assert [problem["where"] for problem in result.problems] == ["order"]


def test_a_group_takes_as_long_as_what_is_inside_it() -> None:
    slow = {**ANY, "responses": [{"json": {}, "latency_ms": 1500}]}
    result = rehearse({"mocks": [slow]}, orders=content("orders", FAN))
    group = result.steps["fan"]
    assert group["ended_sec"] - group["began_sec"] == pytest.approx(1.5)


# --- repeated query parameters -------------------------------------------------------------------------------------


def seen(query: Any) -> Seen:
    """What an `http` step with this `query` sends."""
    return Seen(build_request({"url": "https://crm.example.com/orders", "query": query}, 10, "key"))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"tag": ["a", "b"]}, ["a", "b"]),
        ({"tag": ["a", "a"]}, ["a", "a"]),
        ({"tag": ["a"]}, "a"),
        ({"tag": "a"}, ["a"]),
        ({"tag": [1, True, 1.5]}, [1, True, 1.5]),
        ({"tag": True}, True),
        ({"tag": ["a1", "b"]}, [{"regex": "^a"}, {"glob": "b*"}]),
        ({"tag": ["a1", "a2"]}, {"regex": "^a"}),
        ({"tag": ["a", "b"]}, {"present": True}),
        ({"tag": []}, []),
        ({"tag": None}, []),
        ({}, {"present": False}),
    ],
)
def test_a_mock_fits_all_values_of_a_parameter(sent: Any, expected: Any) -> None:
    assert compile_request({"url": {"query": {"tag": expected}}})(seen(sent)).misses == ()


@pytest.mark.parametrize(
    ("sent", "expected", "says"),
    [
        ({"tag": ["a", "b"]}, "a", 'must be `a`, it is `["a", "b"]`'),
        ({"tag": ["a", "b"]}, "b", 'must be `b`, it is `["a", "b"]`'),
        ({"tag": ["a", "b"]}, ["b", "a"], "value 1, must be `b`, it is `a`"),
        ({"tag": ["a", "b"]}, ["a"], 'must be there once, it is `["a", "b"]`'),
        ({"tag": "a"}, ["a", "b"], 'must be there 2 times, it is `["a"]`'),
        ({"tag": ["a1", "b"]}, {"regex": "^a"}, "must match `^a`, it is `b`"),
        ({"tag": "a"}, [], "must be there 0 times"),
        ({}, ["a"], "must be there once, it is missing"),
    ],
)
def test_a_mock_of_other_values_does_not_fit(sent: Any, expected: Any, says: str) -> None:
    assert says in compile_request({"url": {"query": {"tag": expected}}})(seen(sent)).misses[0]


@pytest.mark.parametrize("query", [{"tag": ["a", "b"]}, {"tag": ["b", "a"], "n": 1}, {"tag": "a"}, {"tag": ["", ""]}])
def test_a_mock_that_is_made_from_a_request_fits_it(query: Any) -> None:
    request = seen(query)
    (mock,) = skeletons([{"method": request.method, "url": str(request.url), "body": ""}])
    assert compile_request(mock["request"])(request).misses == ()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("a=1&b=2", "b=2&a=1", True), ("a=1&a=2", "a=2&a=1", False), ("b=3&a=1&a=2", "a=1&a=2&b=3", True)],
)
def test_a_replay_keeps_the_order_of_the_values_of_one_parameter(one: str, other: str, same: bool) -> None:
    first, second = (address(str(URL(f"https://a.example.com/?{query}"))) for query in (one, other))
    assert (first == second) == same


def test_a_file_of_cases_takes_lists_of_values_and_no_deeper_ones() -> None:
    case = {"mocks": [{"id": "m", "request": {"url": {"query": {"tag": ["a", ["b"]]}}}}]}
    with pytest.raises((AssertionError, Invalid)):
        rehearse(case, orders=content("orders", {"id": "get", **GET}))


# --- egress --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("egress", "url", "refused"),
    [
        ({"allow": ["crm.example.com"]}, "https://crm.example.com/", False),
        ({"allow": ["*.example.org"]}, "https://crm.example.com/", True),
        ({"allow": ["crm.example.com:8443"]}, "https://crm.example.com/", True),
        ({"deny": ["*.example.com"]}, "https://crm.example.com/", True),
        ({"deny": ["10.0.0.0/8"]}, "https://10.1.2.3/", True),
        ({"allow": ["10.0.0.0/8"]}, "https://crm.example.com/", False),  # what it resolves to, a worker knows
        (None, "http://169.254.169.254/latest", True),
        (None, "http://localhost:9000/", False),
        (None, "https://crm.example.com/", False),
    ],
)
def test_what_egress_denies_is_denied_in_a_rehearsal(egress: Any, url: str, refused: bool) -> None:
    step = {"id": "get", "type": "http", "config": {"url": url}}
    more = {"egress": {"allow": [], "deny": [], **egress}} if egress else {}
    expect = {"status": "FAILED", "error": {"code": "egress_denied"}} if refused else {"status": "SUCCEEDED"}
    case = {"mocks": [{**ANY, "optional": True}], "expect": expect}
    result = rehearse(case, orders=content("orders", step, **more))
    assert result.problems == ()
    assert len(result.requests) == (not refused)


def test_a_redirect_is_vetted_and_a_called_flow_has_lists_of_its_own() -> None:
    away = {**ANY, "responses": [{"status": 302, "headers": {"Location": "https://evil.example.org/"}}, {"json": {}}]}
    step = {"id": "get", **GET}
    egress = {"egress": {"allow": ["crm.example.com"], "deny": []}}
    denied = {"status": "FAILED", "error": {"code": "egress_denied"}}
    assert rehearse({"mocks": [away], "expect": denied}, orders=content("orders", step, **egress)).problems == ()
    other = {"id": "get", "type": "http", "config": {"url": "https://erp.example.com/"}}
    call = {"id": "call", "type": "flow", "config": {"flow": "child"}}
    result = rehearse({"mocks": [ANY]}, orders=content("orders", call, **egress), child=content("child", other))
    assert result.problems == ()
