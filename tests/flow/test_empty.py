"""Empty text says nothing: it is no type, no condition, no key, no host, no name."""

from __future__ import annotations

import pytest

from automata.flow.load import validate_text

NAP = "type: delay, config: {duration_sec: 1}"
CALL = "id: a, type: http, config: {{url: 'https://x.test', method: POST, {}}}"


def codes(step: str, more: str = "") -> set[str]:
    loaded = validate_text(f"name: f\nsteps:\n  - {{{step}}}\n{more}")
    return {found.code for found in loaded.diagnostics if found.severity == "error"}


@pytest.mark.parametrize(
    "step",
    [
        "id: a, type: ''",
        "id: a, type: ' '",
        f"id: '', {NAP}",
        f"id: a, {NAP}, condition: ''",
        f"id: a, {NAP}, condition: ' '",
        f"id: a, {NAP}, foreach: ''",
        f"id: a, {NAP}, depends_on: ['']",
        f"id: a, {NAP}, outputs: {{'': x}}",
        CALL.format("query: {'': 1}"),
        CALL.format("form: {'': 1}"),
        CALL.format("headers: {'': 1}"),
        CALL.format("auth: {bearer: ''}"),
        "id: a, type: http, config: {url: ''}",
        "id: a, type: http, config: {url: 'https:///x'}",
        "id: a, type: http, config: {url: 'https://?x'}",
        "id: a, type: http, config: {url: 'https://:443/x'}",
        "id: a, type: flow, config: {flow: ''}",
        "id: a, type: delay, config: {until: ''}",
    ],
)
def test_an_empty_word_of_a_step_is_an_error(step: str) -> None:
    assert codes(step)


@pytest.mark.parametrize(
    "more",
    [
        "concurrency: {limit: 1, key: ''}",
        "renamed_from: ''",
        "labels: {'': x}",
        "inputs: {'': {}}",
        "inputs: {x: {type: ''}}",
        "recording: ''",
        "schedules: [{name: '', interval_sec: 60}]",
        "schedules: [{name: n, cron: ''}]",
        "schedules: [{name: n, interval_sec: 60, timezone: ''}]",
        "webhooks: [{name: '', secret: S}]",
        "webhooks: [{name: n, secret: ''}]",
    ],
)
def test_an_empty_word_of_a_flow_is_an_error(more: str) -> None:
    assert codes(f"id: a, {NAP}", more)


@pytest.mark.parametrize(
    ("step", "more"),
    [
        (CALL.format("headers: {X-A: ''}, query: {a: ''}, body: ''"), ""),
        (f"id: a, name: '', {NAP}", "labels: {team: ''}\ndescription: ''"),
        (f"id: a, {NAP}", "inputs: {x: {default: '', enum: ['', a]}}"),
        ("id: a, type: http, config: {url: 'https://user:@x.test:443?y'}", ""),
    ],
)
def test_an_empty_value_is_one(step: str, more: str) -> None:
    assert codes(step, more) == set()
