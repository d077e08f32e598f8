"""What a change of a flow means, class by class."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from automata.flow.changes import CLASSES, changes, walk

FLOW: dict[str, Any] = {
    "name": "orders",
    "description": "fetches",
    "inputs": {"id": {"type": "integer", "enum": [1, 2]}, "note": {"default": "x", "secret": True}},
    "steps": [
        {
            "id": "get",
            "type": "http",
            "name": "Fetch",
            "config": {"url": "https://crm.example.com/{{ inputs.id }}", "headers": {"a": "{{ secrets.CRM }}"}},
            "retry": {"max_attempts": 3},
        },
        {"id": "both", "type": "parallel", "branches": [{"id": "b", "steps": [{"id": "in", "type": "delay"}]}]},
    ],
    "outputs": {"n": "{{ steps.get.outputs.body.n }}"},
    "schedules": [{"name": "daily", "cron": "0 7 * * *"}],
}


def after(edit: str, value: Any = None) -> list[tuple[str, str]]:
    """(class, path) of what differs when the part at a path is another; None takes it away."""
    new = copy.deepcopy(FLOW)
    *path, last = (int(word) if word.isdigit() else word for word in edit.split("/"))
    place: Any = new
    for word in path:
        place = place.setdefault(word, {}) if isinstance(place, dict) else place[word]
    if value is None:
        del place[last]
    elif isinstance(place, list) and last == len(place):
        place.append(value)
    else:
        place[last] = value
    return [(one.kind, one.path) for one in changes(FLOW, new)]


@pytest.mark.parametrize(
    ("edit", "value", "kind", "path"),
    [
        ("inputs/new", {"required": True}, "breaking", "inputs.new"),
        ("inputs/new", {"required": True, "default": 1}, "neutral", "inputs.new"),
        ("inputs/new", {}, "neutral", "inputs.new"),
        ("inputs/id", None, "breaking", "inputs.id"),
        ("inputs/id/required", True, "breaking", "inputs.id"),
        ("inputs/id/type", "string", "breaking", "inputs.id.type"),
        ("inputs/id/enum", [1], "breaking", "inputs.id.enum"),
        ("inputs/note/pattern", "^a", "breaking", "inputs.note.pattern"),
        ("inputs/note/default", "y", "behaviour", "inputs.note.default"),
        ("inputs/note/secret", None, "security", "inputs.note.secret"),
        ("outputs/n", None, "breaking", "outputs.n"),
        ("outputs/n", "{{ 1 }}", "behaviour", "outputs.n"),
        ("outputs/m", "{{ 1 }}", "neutral", "outputs.m"),
        ("description", "more", "neutral", "description"),
        ("labels", {"a": "b"}, "neutral", "labels"),
        ("steps/0/name", "Get", "neutral", "steps.get.name"),
        ("steps/0/retry/max_attempts", 5, "behaviour", "steps.get.retry.max_attempts"),
        ("steps/0/condition", "inputs.id > 1", "behaviour", "steps.get.condition"),
        ("steps/0/config/method", "POST", "behaviour", "steps.get.config.method"),
        ("steps/1/branches/0/steps/0/config", {"duration_sec": 1}, "behaviour", "steps.both.b.in.config"),
        ("steps/2", {"id": "more", "type": "delay"}, "behaviour", "steps.more"),
        ("steps/1", None, "behaviour", "steps.both"),
        ("on_failure", {"id": "f", "type": "transform"}, "behaviour", "steps.f"),
        ("schedules/0/cron", "0 8 * * *", "behaviour", "schedules.daily"),
        ("schedules", None, "behaviour", "schedules.daily"),
        ("webhooks", [{"name": "crm", "secret": "HOOK"}], "security", "webhooks.crm"),
        ("concurrency", {"limit": 1}, "behaviour", "concurrency"),
    ],
)
def test_each_change_has_its_class(edit: str, value: Any, kind: str, path: str) -> None:
    found = after(edit, value)
    assert (kind, path) in found, found
    assert found[0][0] == kind, "it is the worst there is"


@pytest.mark.parametrize(
    ("edit", "value"),
    [("inputs/id/type", "number"), ("inputs/id/enum", [1, 2, 3]), ("inputs/id/enum", None)],
)
def test_an_input_that_takes_more_breaks_nobody(edit: str, value: Any) -> None:
    assert [kind for kind, _ in after(edit, value) if kind == "breaking"] == []


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (
            {"url": "https://evil.example.net/{{ inputs.id }}"},
            "requests go to evil.example.net, which is new (in `get`)",
        ),
        ({"url": "https://{{ inputs.host }}/x"}, "requests go to a computed host, which is new (in `get`)"),
        ({"url": "https://crm.example.com.{{ inputs.note }}/"}, "requests go to a computed host"),
        (
            {"url": "https://crm.example.com/", "headers": {"a": "{{ secrets.OTHER }}"}},
            "the secret `OTHER` is sent to crm.example.com",
        ),
        ({"url": "https://me@evil.example.net:8443/"}, "requests go to evil.example.net:8443"),
    ],
)
def test_a_new_host_and_a_new_secret_are_told(config: dict[str, Any], says: str) -> None:
    new = copy.deepcopy(FLOW)
    new["steps"][0]["config"] = config
    told = [one.message for one in changes(FLOW, new) if one.kind == "security"]
    assert any(message.startswith(says) for message in told), told


COMPUTED = {
    "https://{{ inputs.a }}/x": "https://{{ inputs.a }}",
    "https://{{ inputs.b }}/x": "https://{{ inputs.b }}",
    "{{ steps.get.outputs.body.next }}": "{{ steps.get.outputs.body.next }}",
    "https://{{ inputs.a }}.example.com/x?y=/": "https://{{ inputs.a }}.example.com",
    "https://api.{{ vars.domain }}.{{ inputs.a }}/x": "https://api.{{ vars.domain }}.{{ inputs.a }} (api.one.{})",
    "http://[{{ inputs.a }}/x": "http://[{{ inputs.a }}",
}


@pytest.mark.parametrize("url", COMPUTED)
@pytest.mark.parametrize("other", COMPUTED)
def test_one_computed_host_hides_no_other(url: str, other: str) -> None:
    steps = [{"id": name, "type": "http", "config": {"url": text}} for name, text in (("one", url), ("two", other))]
    known = {"domain": "one"}
    told = changes({"name": "a", "steps": steps[:1]}, {"name": "a", "steps": steps}, (known, known))
    (new,) = [item for item in told if item.kind == "security"]
    assert (new.path, new.after) == ("hosts.a computed host.two", COMPUTED[other])
    both = [item.path for item in changes(None, {"name": "a", "steps": steps}) if item.kind == "security"]
    assert both == ["hosts.a computed host.one", "hosts.a computed host.two"]


def test_another_way_to_compute_a_host_is_told_and_a_secret_for_it_too() -> None:
    flow = {"name": "a", "steps": [{"id": "s", "type": "http", "config": {"url": "https://{{ inputs.a }}/"}}]}
    other = copy.deepcopy(flow)
    other["steps"][0]["config"] = {"url": "https://{{ inputs.b }}/", "headers": {"x": "{{ secrets.KEY }}"}}
    told = [item.message for item in changes(flow, other) if item.kind == "security"]
    assert told == [
        "requests go to a computed host, which is new (in `s`): 'https://{{ inputs.b }}'",
        "the secret `KEY` is sent to a computed host (in `s`): 'https://{{ inputs.b }}'",
    ]


def test_a_variable_in_a_computed_host_is_a_part_of_it() -> None:
    url = "https://{{ inputs.tenant }}.{{ vars.domain }}/"
    flow = {"name": "a", "steps": [{"id": "s", "type": "http", "config": {"url": url}}]}
    ours, evil = {"domain": "example.com"}, {"domain": "evil.example.net"}
    assert changes(flow, flow, (ours, ours)) == []
    (told,) = [item for item in changes(flow, flow, (ours, evil)) if item.kind == "security"]
    assert "evil.example.net" in told.message


def test_a_secret_that_goes_to_another_host_is_told() -> None:
    new = copy.deepcopy(FLOW)
    new["steps"][0]["config"]["url"] = "https://erp.example.com/"
    told = [one.message for one in changes(FLOW, new) if one.kind == "security"]
    assert "the secret `CRM` is sent to erp.example.com" in told


def test_a_variable_may_hold_the_host() -> None:
    flow = {"name": "a", "steps": [{"id": "s", "type": "http", "config": {"url": "{{ vars.crm }}/x"}}]}
    one, other = {"crm": "https://crm.example.com"}, {"crm": "https://evil.example.net"}
    assert changes(flow, flow, (one, one)) == []
    told = {item.kind: item.message for item in changes(flow, flow, (one, other))}
    assert "evil.example.net" in told["security"]
    assert told["behaviour"].startswith("the variable `crm` 'https://crm.example.com' → ")


def test_moving_steps_around_in_the_file_is_no_change_of_what_runs() -> None:
    new = {**FLOW, "steps": FLOW["steps"][::-1]}
    assert [(one.kind, one.path) for one in changes(FLOW, new)] == [("neutral", "steps")]


def test_a_flow_that_comes_or_goes_is_told() -> None:
    assert changes(FLOW, None)[0].kind == "breaking"
    kinds = {one.kind for one in changes(None, FLOW)}
    assert kinds == {"behaviour", "security"}, "what a new flow reaches is all new"
    assert changes(FLOW, copy.deepcopy(FLOW)) == []


def test_the_worst_comes_first() -> None:
    new = copy.deepcopy(FLOW)
    del new["inputs"]["id"]
    new["description"] = "other"
    new["steps"][0]["config"]["url"] = "https://evil.example.net/"
    kinds = [one.kind for one in changes(FLOW, new)]
    assert kinds == sorted(kinds, key=CLASSES.index)
    assert kinds[0] == "breaking"


def test_steps_are_walked_with_their_full_ids() -> None:
    assert [name for name, _ in walk(FLOW)] == ["get", "both", "both.b.in"]


def test_long_values_are_cut() -> None:
    new = copy.deepcopy(FLOW)
    new["steps"][0]["config"]["body"] = "x" * 10_000
    assert max(len(one.message) for one in changes(FLOW, new)) < 300
