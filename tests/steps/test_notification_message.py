"""Who is told what, and that a receiver can prove who sent it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from automata.errors import Usage
from automata.steps.notification_message import (
    EVENTS,
    body_of,
    check_rule,
    request_of,
    rules_for,
    secret_of_url,
    signature,
    wants,
)

RULE: dict[str, Any] = {"name": "a", "on": ["run.failed"], "url": "https://a.test/x", "secret": "KEY"}


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    """From the specification's test vector, which its libraries share."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    made = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_that_is_being_changed_signs_twice_and_a_text_is_its_own_key() -> None:
    old, new = "the-old-secret-of-both", "the-new-secret-of-both"
    made = signature(f"{old}\n{new}\n", "msg_1", 7, b"{}").split(" ")
    for one, key in zip(made, (old, new), strict=True):
        assert one == "v1," + base64.b64encode(hmac.new(key.encode(), b"msg_1.7.{}", hashlib.sha256).digest()).decode()


@pytest.mark.parametrize("secret", ["", "\n", "short", "whsec_short", "whsec_c2hvcnQ=", "whsec_not base64!"])
def test_a_secret_that_anyone_could_guess_signs_nothing(secret: str) -> None:
    with pytest.raises(Usage):
        signature(secret, "msg_1", 7, b"{}")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"url": "ftp://a.test"}, "url"),
        ({"url": "https://{{ vars.host }}/x"}, "alone"),
        ({"url": "https://a.test/{{ secrets.KEY }}"}, "alone"),
        ({"secret": None}, "secret"),
    ],
)
def test_a_rule_that_could_never_be_sent_is_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(Usage, match=word):
        check_rule({**RULE, **change})


def test_a_rule_names_its_secrets() -> None:
    assert check_rule(RULE) == ["KEY"]
    assert check_rule({**RULE, "url": "{{secrets.URL}}", "secret": None, "template": "slack"}) == ["URL"]
    assert secret_of_url("{{ secrets.URL }}") == "URL"


@pytest.mark.parametrize(
    ("rule", "flow", "labels", "told"),
    [
        ({}, "orders", {}, True),
        ({"on": ["dead_letter"]}, "orders", {}, False),
        ({"flows": ["order*", "x"]}, "orders", {}, True),
        ({"flows": ["Order*"]}, "orders", {}, False),
        ({"flows": ["*"]}, None, {}, True),
        ({"flows": ["a*"]}, None, {}, False),
        ({"labels": {"team": "a"}}, "orders", {"team": "a", "more": "b"}, True),
        ({"labels": {"team": "a"}}, "orders", {"team": "b"}, False),
        ({"labels": {"team": "a"}}, None, {}, False),
    ],
)
def test_filters_choose(rule: dict[str, Any], flow: str | None, labels: dict[str, str], told: bool) -> None:
    assert wants({**RULE, **rule}, "run.failed", flow, labels) is told


def test_a_rule_is_told_of_its_own_source_and_of_flows_without_one() -> None:
    rules = [("here", RULE), ("there", {**RULE, "name": "b"})]
    names = [[one["name"] for _, one in rules_for(rules, "run.failed", source, "x", {})] for source in ("here", None)]
    assert names == [["a"], ["a", "b"]]


@pytest.mark.parametrize("kind", [*EVENTS, "test", "unknown"])
def test_what_slack_is_told_is_words_in_which_nothing_of_slack_is_meant(kind: str) -> None:
    error = {"code": "x", "message": "answered <!channel> `rm` &\nline"}
    payload = {"type": kind, "timestamp": "t", "data": {"flow": "orders", "run_id": "r", "version": 3, "error": error}}
    text = json.loads(body_of("slack", payload))["text"]
    assert "<" not in text
    assert "answered &lt;!channel&gt; 'rm' &amp; line" in text
    assert json.loads(body_of("standard", payload)) == payload


def test_a_request_is_bounded_and_follows_nobody() -> None:
    request = request_of("https://u:p@a.test/x#f", b"{}", "msg_1", 7, None)
    assert request.url == "https://a.test/x"
    assert not request.follow_redirects
    assert request.header("webhook-signature") is None
    with pytest.raises(Usage, match="cannot be called"):
        request_of("not an address", b"{}", "msg_1", 7, None)
