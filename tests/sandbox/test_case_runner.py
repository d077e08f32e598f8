"""Rehearsed runs: the production engine and step code on virtual time, held to what a case expects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from automata.sandbox.case_file import Case, read_cases
from automata.sandbox.case_runner import CaseResult, Flows, run_case
from automata.sandbox.pool import run_cases

GET = {"id": "get", "type": "http", "config": {"url": "https://crm.example.com/orders"}}
SAVE = {
    "id": "save",
    "type": "http",
    "depends_on": ["get"],
    "config": {"method": "POST", "url": "https://erp.example.com/import", "body": "{{ steps.get.outputs.body }}"},
}
ORDERS = {
    "id": "orders",
    "request": {"method": "GET", "url": {"host": "crm.example.com", "path": "/orders"}},
    "responses": [{"status": 200, "json": {"n": 1}}],
}
IMPORT = {
    "id": "import",
    "request": {"method": "POST", "url": {"host": "erp.example.com"}},
    "responses": [{"status": 201, "json": {}}],
}


def cases(case: dict[str, Any], **files: bytes) -> tuple[Case, ...]:
    text = json.dumps({"flow": "orders", "cases": [{"name": "it", **case}]}).encode()
    read = read_cases(text, "tests/orders.test.yaml", files.get)
    assert read.diagnostics == (), read.diagnostics
    return read.cases


def flows(*steps: dict[str, Any], variables: dict[str, Any] | None = None, **more: Any) -> Flows:
    others = more.pop("others", {})
    specs = {"orders": {"name": "orders", "steps": list(steps), **more}, **others}
    return Flows({name: (spec, variables or {}) for name, spec in specs.items()})


def rehearse(case: dict[str, Any], *steps: dict[str, Any], **more: Any) -> CaseResult:
    (made,) = cases(case)
    return run_case(made, flows(*steps, **more))


def problems(result: CaseResult) -> str:
    return "\n".join(f"{one['where']}: {one['message']}" for one in result.problems)


def test_a_case_passes_when_everything_is_as_expected() -> None:
    expect = {
        "status": "SUCCEEDED",
        "steps": {"get": "SUCCEEDED", "save": {"status": "SUCCEEDED", "attempts": 1}},
        "order": ["get", "save"],
        "requests": [{"mock": "import", "json": {"subset": {"n": 1}}}],
        "elapsed_sec": {"lte": 1},
    }
    result = rehearse({"mocks": [ORDERS, IMPORT], "expect": expect}, GET, SAVE)
    assert result.passed, problems(result)
    assert [one["mock"] for one in result.requests] == ["orders", "import"]


@pytest.mark.parametrize(
    ("expect", "says"),
    [
        ({"status": "FAILED"}, "expected FAILED"),
        ({"steps": {"get": "SKIPPED"}}, "expected SKIPPED, it is SUCCEEDED"),
        ({"steps": {"get": {"attempts": 2}}}, "expected 2, there were 1"),
        ({"steps": {"nowhere": "SUCCEEDED"}}, "nowhere"),
        ({"order": ["save", "get"]}, "order"),
        ({"outputs": {"n": 2}}, "outputs.n"),
        ({"requests": [{"mock": "import", "json": {"subset": {"n": 2}}}]}, "n"),
        ({"elapsed_sec": {"gte": 5}}, "at least 5 s"),
    ],
)
def test_what_is_not_as_expected_is_told(expect: dict[str, Any], says: str) -> None:
    result = rehearse({"mocks": [ORDERS, IMPORT], "expect": expect}, GET, SAVE, outputs={"n": 1})
    assert not result.passed
    assert says in problems(result)


@pytest.mark.parametrize(
    ("expect", "where", "step", "expected", "actual"),
    [
        ({"status": "FAILED"}, "status", None, "FAILED", "SUCCEEDED"),
        ({"steps": {"save": "FAILED"}}, "steps.save.status", "save", "FAILED", "SUCCEEDED"),
        ({"steps": {"save": {"attempts": 3}}}, "steps.save.attempts", "save", 3, 1),
        ({"order": ["save", "get"]}, "order", None, ["save", "get"], ["get", "save"]),
        (
            {"requests": [{"mock": "import", "json": {"subset": {"n": 2}}}]},
            "requests[0]",
            "save",
            {"mock": "import", "json": {"subset": {"n": 2}}},
            {"method": "POST", "url": "https://erp.example.com/import", "json": {"n": 1}},
        ),
    ],
)
def test_what_was_expected_is_told_beside_what_was_there(
    expect: dict[str, Any], where: str, step: str | None, expected: Any, actual: Any
) -> None:
    result = rehearse({"mocks": [ORDERS, IMPORT], "expect": expect}, GET, SAVE)
    (told,) = (one for one in result.problems if one["where"] == where)
    assert (told.get("step"), told["expected"], told["actual"]) == (step, expected, actual)


def test_long_values_are_told_by_their_beginning_and_without_their_secrets() -> None:
    echo = {"id": "echo", "type": "transform", "config": {"mappings": {"long": "{{ inputs.long }}"}}}
    case = {
        "inputs": {"long": "hush-hush" + "x" * 10_000},
        "secrets": {"TOKEN": "hush-hush"},
        "expect": {"steps": {"echo": {"outputs": {"long": "y"}}}},
    }
    result = rehearse(case, echo, inputs={"long": {"type": "string"}})
    (told,) = result.problems
    assert len(told["actual"]) == 4097
    assert told["actual"].startswith('{"long": "***xxx')
    assert told["expected"] == {"long": "y"}


def test_a_request_that_no_mock_matches_fails_with_the_nearest() -> None:
    other = {**ORDERS, "request": {"method": "GET", "url": {"host": "crm.example.com", "path": "/order"}}}
    result = rehearse({"mocks": [other]}, GET)
    assert not result.passed
    assert "/order" in problems(result)
    assert len(result.unmatched) == 1


def test_a_mock_that_nobody_used_fails_unless_it_is_optional() -> None:
    assert "import" in problems(rehearse({"mocks": [ORDERS, IMPORT]}, GET))
    assert rehearse({"mocks": [ORDERS, {**IMPORT, "optional": True}]}, GET).passed


def test_the_most_specific_mock_answers_and_a_tie_is_an_error() -> None:
    anywhere = {"url": {"host": {"glob": "*.example.com"}}}
    wide = {"id": "wide", "request": anywhere, "optional": True, "responses": [{"status": 500}]}
    assert rehearse({"mocks": [wide, ORDERS]}, GET).passed
    tie = rehearse({"mocks": [ORDERS, {**ORDERS, "id": "again"}]}, GET)
    assert not tie.passed
    assert "again" in problems(tie)


def test_a_sequence_of_answers_and_faults_is_retried_as_in_production() -> None:
    answers = [{"fault": "timeout"}, {"fault": "reset"}, {"status": 503, "latency_ms": 2000}, {"status": 200}]
    mock = {**ORDERS, "responses": answers, "expect_calls": {"exactly": 4}}
    retry = {"max_attempts": 5, "initial_delay_ms": 1000, "jitter": "none", "backoff": "fixed"}
    step = GET | {"retry": retry, "timeout_sec": 10}
    result = rehearse({"mocks": [mock], "expect": {"steps": {"get": {"attempts": 4}}}}, step)
    assert result.passed, problems(result)
    assert result.elapsed_sec == pytest.approx(10 + 2 + 3, abs=0.1), "a timeout, a slow answer, three pauses"


def test_a_month_of_waiting_and_nine_retries_take_milliseconds() -> None:
    wait = {"id": "wait", "type": "delay", "config": {"duration_sec": 30 * 86_400}}
    retry = {"max_attempts": 10, "initial_delay_ms": 60_000, "max_delay_ms": 86_400_000}
    mock = {**ORDERS, "responses": [{"status": 503, "times": 9}, {"status": 200}]}
    result = rehearse({"mocks": [mock]}, wait, GET | {"depends_on": ["wait"], "retry": retry})
    assert result.passed, problems(result)
    assert result.elapsed_sec > 30 * 86_400
    assert result.steps["get"]["attempts"] == 10


def test_the_same_case_runs_the_same_way_every_time() -> None:
    mappings = {"id": "{{ uuid() }}", "now": "{{ now() | string }}"}
    step = {"id": "t", "type": "transform", "config": {"mappings": mappings}}
    retry = {"max_attempts": 5, "initial_delay_ms": 1000}
    mock = {**ORDERS, "responses": [{"status": 503, "times": 4}, {"status": 200}]}
    first, second = (rehearse({"mocks": [mock], "seed": 7}, step, GET | {"retry": retry}) for _ in range(2))
    assert first.steps == second.steps
    assert first.elapsed_sec == second.elapsed_sec
    assert rehearse({"mocks": [mock], "seed": 8}, step, GET | {"retry": retry}).elapsed_sec != first.elapsed_sec


def test_variables_of_the_environment_apply_and_a_case_may_set_others() -> None:
    step = {"id": "t", "type": "transform", "config": {"mappings": {"v": "{{ vars.v }}"}}}
    for own, value in (({}, "env"), ({"vars": {"v": "case"}}, "case")):
        result = rehearse({**own}, step, variables={"v": "env"}, outputs={"v": "{{ steps.t.outputs.v }}"})
        assert result.outputs == {"v": value}


def test_secrets_are_not_shown() -> None:
    step = GET | {"config": {"url": GET["config"]["url"], "headers": {"authorization": "{{ secrets.KEY }}"}}}
    result = rehearse({"mocks": [ORDERS], "secrets": {"KEY": "s3cr3t-value"}, "expect": {"status": "FAILED"}}, step)
    assert "s3cr3t-value" not in str(result)


@pytest.mark.parametrize(("given", "outputs"), [({"approved": True}, "yes"), ({"approved": False}, "no")])
def test_an_approval_is_given_by_the_case(given: dict[str, Any], outputs: str) -> None:
    ask = {"id": "ask", "type": "approval", "config": {"prompt": "Pay?"}}
    mappings = {"s": "{{ 'yes' if steps.ask.outputs.approved else 'no' }}"}
    said = {"id": "said", "type": "transform", "depends_on": ["ask"], "config": {"mappings": mappings}}
    result = rehearse({"mocks": [{"step": "ask", "output": given}]}, ask, said)
    assert result.passed, problems(result)
    assert result.steps["said"]["outputs"] == {"s": outputs}


def test_a_run_that_can_never_end_is_told() -> None:
    ask = {"id": "ask", "type": "approval", "config": {"prompt": "Pay?"}}
    assert "can never end" in problems(rehearse({}, ask))


def test_another_flow_is_rehearsed_with_the_same_mocks_or_given() -> None:
    call = {"id": "call", "type": "flow", "config": {"flow": "child", "inputs": {"n": 2}}}
    child = {"name": "child", "inputs": {"n": {"type": "integer"}}, "steps": [GET], "outputs": {"n": "{{ inputs.n }}"}}
    result = rehearse({"mocks": [ORDERS]}, call, others={"child": child})
    assert result.passed, problems(result)
    assert result.steps["call"]["outputs"]["n"] == 2
    given = rehearse({"mocks": [{"step": "call", "output": {"n": 9}}]}, call)
    assert given.passed, problems(given)
    assert given.steps["call"]["outputs"]["n"] == 9
    lost = rehearse({"expect": {"status": "FAILED", "error": {"step": "call", "contains": "no flow `child`"}}}, call)
    assert lost.passed, problems(lost)


def test_a_foreach_is_rehearsed_item_by_item() -> None:
    config = {"url": "https://crm.example.com/orders?n={{ item }}"}
    step = GET | {"foreach": [1, 2, 3], "max_parallel": 1, "config": config}
    mock = {**ORDERS, "expect_calls": {"exactly": 3}}
    result = rehearse({"mocks": [mock], "expect": {"steps": {"get[2]": "SUCCEEDED"}}}, step)
    assert result.passed, problems(result)


# --- processes -----------------------------------------------------------------------------------------------------


def test_cases_run_in_processes_and_come_back_whole() -> None:
    entries = [{"name": f"c{n}", "mocks": [ORDERS], "seed": n} for n in range(20)]
    text = json.dumps({"flow": "orders", "cases": entries}).encode()
    read = read_cases(text, "tests/orders.test.yaml", lambda _: None)
    known = {"orders": ({"name": "orders", "steps": [GET]}, {})}
    results = list(run_cases(read.cases, known, 2))
    assert sorted(one.name for one in results) == sorted(f"c{n}" for n in range(20))
    assert all(one.passed for one in results)


def test_a_case_that_never_ends_by_itself_is_ended_and_the_others_are_not() -> None:
    """A template that is slow enough costs its case, not the suite."""
    mappings = {"n": "{{ range(3000) | map('string') | join | length }}"}
    spin = {"id": "t", "type": "transform", "foreach": list(range(2000)), "config": {"mappings": mappings}}
    known = {"orders": ({"name": "orders", "steps": [spin]}, {}), "quick": ({"name": "quick", "steps": [GET]}, {})}
    (slow,) = cases({})
    text = json.dumps({"flow": "quick", "cases": [{"name": "it", "mocks": [ORDERS]}]}).encode()
    quick = read_cases(text, "tests/q.test.yaml", lambda _: None).cases
    results = {one.flow: one for one in run_cases([slow, *quick], known, 2, case_sec=1)}
    assert results["quick"].passed
    assert "takes longer than" in problems(results["orders"])


def test_a_case_rehearses_outputs_that_cannot_be_made_with_on_failure() -> None:
    maybe = {"id": "maybe", "type": "transform", "depends_on": ["get"], "condition": "false"}
    maybe["config"] = {"mappings": {"v": 1}}
    body = {"code": "{{ error.code }}", "step": "{{ failed_step }}"}
    tell = {"id": "tell", "type": "http", "config": {**SAVE["config"], "body": body}}
    told = {**IMPORT, "expect_calls": {"exactly": 1}}
    expect = {"status": "FAILED", "error": {"code": "template_error"}, "steps": {"tell": "SUCCEEDED"}}
    expect["requests"] = [{"mock": "import", "json": {"subset": {"code": "template_error", "step": None}}}]
    outputs = {"x": "{{ steps.maybe.outputs.v }}"}
    result = rehearse({"mocks": [ORDERS, told], "expect": expect}, GET, maybe, on_failure=tell, outputs=outputs)
    assert result.passed, problems(result)


def test_a_value_that_would_leave_its_part_of_an_address_fails_a_rehearsal_too() -> None:
    step = {
        "id": "get",
        "type": "http",
        "config": {"url": "https://crm.example.com/orders/{{ inputs.order | urlencode }}"},
    }
    expect = {"status": "FAILED", "steps": {"get": {"status": "FAILED", "error": {"code": "unsafe_url"}}}}
    case = {"inputs": {"order": "../users"}, "mocks": [], "expect": expect}
    result = rehearse(case, step, inputs={"order": {"required": True}})
    assert result.passed, problems(result)
    assert result.requests == ()


def test_a_rehearsal_sends_keys_in_the_order_in_which_they_are_written() -> None:
    body = {"zeta": 1, "a": 2, "bb": {"y": 1, "x": 2}}
    form = {"method": "POST", "url": "https://erp.example.com/x", "form": {"z": 1, "a": 2}}
    step = {"id": "save", "type": "http", "config": form}
    after = {**step, "id": "json", "depends_on": ["save"], "config": {**form, "body": body}}
    del after["config"]["form"]
    texts = ["z=1&a=2", json.dumps(body, separators=(",", ":"))]
    expect = {"requests": [{"mock": "import", "text": text} for text in texts]}
    result = rehearse({"mocks": [IMPORT], "expect": expect}, step, after)
    assert result.passed, problems(result)


def test_a_null_among_the_inputs_of_a_called_flow_leaves_the_input_out() -> None:
    child = {
        "name": "child",
        "inputs": {"n": {"type": "integer", "default": 7}, "note": {"type": "string"}},
        "steps": [{"id": "t", "type": "transform", "config": {"mappings": {"all": "{{ inputs }}"}}}],
        "outputs": {"all": "{{ steps.t.outputs.all }}"},
    }
    call = {"id": "call", "type": "flow", "config": {"flow": "child", "inputs": {"n": "{{ none }}", "note": None}}}
    case = {"mocks": [], "expect": {"steps": {"call": {"status": "SUCCEEDED", "outputs": {"all": {"n": 7}}}}}}
    result = rehearse(case, call, others={"child": child})
    assert result.passed, problems(result)
