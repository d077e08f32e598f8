"""Which flows a file calls, and circles among them."""

from __future__ import annotations

import time

from automata.flow.subflows import called_flows, circles


def test_calls_are_found_wherever_a_step_may_stand() -> None:
    def call(name: str) -> dict[str, object]:
        return {"id": name, "type": "flow", "config": {"flow": name}}

    fan = {"id": "fan", "type": "parallel", "branches": [{"id": "b", "steps": [call("b"), call("{{ inputs.x }}")]}]}
    spec = {"steps": [call("a"), fan, {"id": "h", "type": "http", "config": {"flow": "no"}}], "on_failure": call("c")}
    assert called_flows(spec) == [
        ("a", "/steps/0/config/flow"),
        ("b", "/steps/1/branches/0/steps/0/config/flow"),
        ("c", "/on_failure/config/flow"),
    ]


def test_a_file_of_any_shape_calls_nothing() -> None:
    for spec in ({}, {"steps": 5}, {"steps": [None, {"type": "flow"}, {"type": "flow", "config": []}]}):
        assert called_flows(spec) == []


def test_each_circle_is_told_once() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a", "d"]}) == [["a", "b", "c"], ["d"]]
    assert circles({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}) == []


def test_a_long_chain_and_a_dense_web_are_searched_in_a_moment() -> None:
    chain = {f"f{n}": [f"f{n + 1}"] for n in range(5_000)}
    web = {f"w{n}": [f"w{m}" for m in range(n + 1, 200)] for n in range(200)}
    before = time.process_time()
    assert circles({**chain, **web}) == []
    assert time.process_time() - before < 25
