"""The schema of a flow file: published as it is, and the walk that enforces it agrees with a real validator."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from automata.flow.findings import Findings, Positions
from automata.flow.schema import DRAFTS, FILES, FLOW_SCHEMA, in_draft, schema_text
from automata.flow.shape import KEYWORDS, Shape
from tests.amounts import times

SCHEMAS = Path(__file__).parents[2] / "schemas"
_DELAY = {"id": "d", "type": "delay", "config": {"duration_sec": 1}}
FULL: dict[str, Any] = {
    "$schema": "flow.schema.json",
    "name": "sync-orders",
    "renamed_from": "old.name",
    "description": "Text.",
    "labels": {"team": "commerce", "a.b/c": "d"},
    "inputs": {
        "a": {"type": "string", "required": True, "enum": ["x"], "pattern": "^x", "secret": False},
        "b": {"type": "object", "schema": {"type": "object"}, "default": {}, "description": "B"},
    },
    "defaults": {"retry": {"max_attempts": 3, "backoff": "fixed"}, "timeout_sec": 1.5},
    "steps": [
        {
            "id": "get",
            "name": "Get",
            "type": "http",
            "condition": True,
            "config": {
                "method": "GET",
                "url": "https://x.example.com",
                "query": {"a": [1, None], "b": "c"},
                "headers": {"X-A": 1},
                "body": {"any": ["thing"]},
                "auth": {"basic": {"username": "a", "password": "b"}},
                "ok_status": [200, "300-399"],
                "follow_redirects": False,
                "verify_tls": True,
                "max_response_bytes": 5,
            },
            "outputs": {"x": "{{ response.body }}"},
            "retry": {"initial_delay_ms": 1, "max_delay_ms": 2, "jitter": "none", "on_status": [500]},
            "timeout_sec": 5,
            "continue_on_error": True,
        },
        {"id": "post", "type": "http", "config": {"url": "{{ vars.x }}", "form": {"a": 1}, "auth": {"bearer": "t"}}},
        {"id": "fan", "type": "parallel", "depends_on": ["get"], "branches": [{"id": "l", "steps": [_DELAY]}]},
        {"id": "t", "type": "transform", "config": {"mappings": {"a": 1}}, "condition": "{{ true }}"},
        {"id": "w", "type": "delay", "config": {"until": "{{ vars.x }}"}},
        {"id": "p", "type": "chat", "config": {"room": 1}},
    ],
    "outputs": {"x": 1},
    "on_failure": {"id": "f", "type": "delay", "config": {"duration_ms": "{{ vars.x }}"}},
    "schedules": [
        {"name": "n", "cron": "* * * * *", "timezone": "UTC", "inputs": {}, "enabled": False},
        {"name": "m", "interval_sec": 60, "catchup": "all", "overlap": "skip", "jitter_sec": 0},
    ],
    "webhooks": [{"name": "shop", "secret": "SHOP_HOOK", "inputs": {"a": "{{ webhook.body }}"}, "enabled": True}],
}
ODD = [None, True, False, 0, 1, -1, 600, 1e300, 0.5, "", "x", "{{ x }}", "a b", "GET", "http", [], [1], ["a", "a"], {}]
ODD += [{"a": 1}, {"": None}, [[]], [{}], "x" * 300, "2xx", "https://x", 10**12]

_full_20, _full_07 = Draft202012Validator(FLOW_SCHEMA), Draft7Validator(in_draft(FLOW_SCHEMA, "07"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all members, at any depth."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in members for found in [(*path, key), *places(item, (*path, key))]]


PLACES = places(FULL)
KEYS = [*sorted({key for path in PLACES for key in path if isinstance(key, str)}), "unknown", "foreach", "1x"]


def changed(path: tuple[Any, ...], action: str, value: Any, key: str) -> dict[str, Any]:
    """FULL with one change."""
    flow = copy.deepcopy(FULL)
    holder: Any = flow
    for part in path[:-1]:
        holder = holder[part]
    if action == "drop":
        del holder[path[-1]]
    elif action == "add" and isinstance(holder[path[-1]], dict):
        holder[path[-1]][key] = value
    elif action == "add" and isinstance(holder[path[-1]], list):
        holder[path[-1]].append(value)
    else:
        holder[path[-1]] = value
    return flow


def problems(flow: Any) -> list[str]:
    findings = Findings("", Positions())
    Shape(FLOW_SCHEMA["$defs"], findings).check(flow, FLOW_SCHEMA)
    return [str(one) for one in findings.found]


@pytest.mark.parametrize("draft", DRAFTS)
def test_the_published_file_is_the_schema(draft: str) -> None:
    """After a change: python -m automata.flow.schema."""
    assert (SCHEMAS / FILES[draft]).read_text(encoding="utf-8") == schema_text(draft)


def test_both_drafts_are_valid_schemas() -> None:
    Draft202012Validator.check_schema(FLOW_SCHEMA)
    Draft7Validator.check_schema(in_draft(FLOW_SCHEMA, "07"))


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(node, dict):
        yield node
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from objects(item)


def test_draft_07_has_nothing_that_it_would_ignore() -> None:
    for node in objects(in_draft(FLOW_SCHEMA, "07")):
        assert "$defs" not in node
        assert "$ref" not in node or len(node) == 1


def test_every_key_of_the_language_is_described_for_editors() -> None:
    for name in ("input", "schedule", "step", "retry", "http_config"):
        for key, schema in FLOW_SCHEMA["$defs"][name]["properties"].items():
            assert "description" in schema or "$ref" in schema, (name, key)


def subschemas(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and every schema in it."""
    yield schema
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs"):
            inner = list(value.values())
        elif keyword in ("anyOf", "oneOf", "allOf"):
            inner = value
        elif keyword in ("items", "not", "if", "then", "else", "propertyNames", "additionalProperties"):
            inner = [value] if isinstance(value, dict) else []
        else:
            inner = []
        for one in inner:
            yield from subschemas(one)


def test_the_walk_knows_every_keyword_that_the_schema_uses() -> None:
    silent = {"$schema", "$defs", "title", "description", "default"}
    for schema in subschemas(FLOW_SCHEMA):
        assert set(schema) <= KEYWORDS | silent, schema


def test_a_flow_that_uses_everything_is_right_by_all_three() -> None:
    # `body` and `form` exclude each other, so that they stand in two steps.
    assert problems(FULL) == []
    assert list(_full_20.iter_errors(FULL)) == []
    assert list(_full_07.iter_errors(FULL)) == []


@pytest.mark.parametrize("path", PLACES, ids=lambda path: "/".join(map(str, path)))
def test_the_walk_agrees_with_a_validator_when_a_member_is_dropped(path: tuple[Any, ...]) -> None:
    flow = changed(path, "drop", None, "")
    assert bool(problems(flow)) == (not _full_20.is_valid(flow))


@settings(max_examples=times(150), deadline=None)
@given(st.sampled_from(PLACES), st.sampled_from(["set", "add"]), st.sampled_from(ODD), st.sampled_from(KEYS))
@example(("steps", 0, "config", "method"), "set", "GTE", "")
@example(("steps", 0, "config", "url"), "set", 5, "")
@example(("steps", 3, "type"), "set", "parallel", "")
def test_the_walk_agrees_with_a_validator_about_any_change(
    path: tuple[Any, ...], action: str, value: Any, key: str
) -> None:
    flow = changed(path, action, value, key)
    found = problems(flow)
    assert bool(found) == (not _full_20.is_valid(flow)), found
    assert bool(found) == (not _full_07.is_valid(flow)), found


def test_the_walk_is_stricter_where_a_validator_would_let_surprises_in() -> None:
    for path, value in [(("name",), "orders\n"), (("steps", 0, "retry", "max_delay_ms"), 2.0)]:
        flow = changed(path, "set", value, "")
        assert problems(flow) != []
        assert _full_20.is_valid(flow)


def test_messages_are_one_line_of_json_free_english() -> None:
    for path in PLACES:
        for value in ([], {"a": {"b": 1}}, "x" * 500, None):
            for message in problems(changed(path, "set", value, "")):
                assert "\n" not in message
                assert len(message) < 300
                assert json.dumps(value) not in message or value is None
