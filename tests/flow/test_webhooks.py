"""The `webhooks` of a flow: what is refused before anything is delivered."""

from __future__ import annotations

import pytest

from automata.flow.model import Flow, Webhook
from tests.flow.written import DELAY, codes, mapping, one, steps

INPUTS = "inputs: {who: {}, size: {type: integer}}\n"


def hooks(*listed: str, inputs: str = INPUTS) -> list:
    lines = "".join(f"  - {{{line}}}\n" for line in listed)
    return steps(f"id: s, {DELAY}", more=f"{inputs}webhooks:\n{lines}")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("name: shop, secret: SHOP_HOOK", None),
        ("name: shop, secret: SHOP_HOOK, enabled: false, inputs: {}", None),
        ("name: s, secret: S, inputs: {who: '{{ webhook.body.user.name }}', size: 3}", None),
        ("name: s, secret: S, inputs: {who: '{{ .webhook.query.who | default(vars.who) }}'}", None),
        ("name: s, secret: S, inputs: {size: '{{ webhook.body.size }}'}", None),
        ("name: s, secret: S, inputs: {who: \"{{ webhook.headers['x-event'] }} {{ webhook.delivery }}\"}", None),
        ("name: s, secret: S, inputs: {who: '{{ webhook.received_at }}'}", None),
        ("name: s", "AF021"),
        ("secret: S", "AF021"),
        ("name: s/t, secret: S", "AF024"),
        ("name: s, secret: '{{ secrets.S }}'", "AF024"),
        ("name: s, secret: a secret value", "AF024"),
        ("name: s, secret: S, enabled: 1", "AF022"),
        ("name: s, secret: S, inputs: []", "AF022"),
        ("name: s, secret: S, path: /x", "AF020"),
        ("name: s, secret: S, inputs: {whom: x}", "AF054"),
        ("name: s, secret: S, inputs: {whom: '{{ webhook.body }}'}", "AF054"),
        ("name: s, secret: S, inputs: {size: three}", "AF054"),
        ("name: s, secret: S, inputs: {who: '{{ webhook.bdy }}'}", "AF111"),
        ("name: s, secret: S, inputs: {who: \"{{ webhook.headers['X-Event'] }}\"}", "AF111"),
        ("name: s, secret: S, inputs: {who: '{{ inputs.size }}'}", "AF108"),
        ("name: s, secret: S, inputs: {who: '{{ steps.s.status }}'}", "AF108"),
        ("name: s, secret: S, inputs: {who: '{{ run.id }}'}", "AF108"),
        ("name: s, secret: S, inputs: {who: '{{ secrets.S }}'}", "AF108"),
        ("name: s, secret: S, inputs: {who: '{{ webhok.body }}'}", "AF204"),
        ("name: s, secret: S, inputs: {who: '{{ webhook.body'}", "AF200"),
    ],
)
def test_a_webhook_is_checked_before_it_is_called(written: str, code: str | None) -> None:
    assert codes(hooks(written)) == ([code] if code else [])


def test_a_required_input_must_be_given_unless_the_body_is_the_inputs() -> None:
    inputs = "inputs: {who: {required: true}}\n"
    assert codes(hooks("name: s, secret: S", inputs=inputs)) == []
    message = one(hooks("name: s, secret: S, inputs: {}", inputs=inputs))
    assert message == "AF054 in this webhook the input `who` is required"
    assert codes(hooks("name: s, secret: S, inputs: {who: '{{ webhook.body }}'}", inputs=inputs)) == []


def test_two_webhooks_of_a_flow_have_two_names() -> None:
    message = one(hooks("name: s, secret: S", "name: s, secret: T"))
    assert message == "AF055 a webhook `s` exists already in this flow"


def test_a_schedule_and_a_webhook_may_share_a_name() -> None:
    schedules = "schedules: [{name: s, interval_sec: 60}]\nwebhooks: [{name: s, secret: S}]\n"
    assert steps(f"id: s, {DELAY}", more=schedules) == []


def test_the_misspelt_input_of_a_webhook_gets_the_near_name_and_its_place() -> None:
    (finding,) = hooks("name: s, secret: S, inputs: {sise: 3}")
    assert (finding.pointer, finding.suggestion) == ("/webhooks/0/inputs/sise", "did you mean `size`?")


def test_no_step_reads_the_webhook() -> None:
    message = one(mapping("{{ webhook.body.secret }}"))
    assert message == "AF108 `webhook` is available only in the `inputs` of a webhook"


def test_a_stored_flow_has_its_webhooks() -> None:
    spec = {"name": "a", "steps": [], "webhooks": [{"name": "s", "secret": "S"}]}
    assert Flow.from_spec(spec).webhooks == (Webhook("s", "S"),)
