"""The flows of the browser tests, as files."""

from __future__ import annotations

import json
from typing import Any

NOTIFY = [
    {"id": "wait", "type": "delay", "config": {"duration_ms": 300}},
    {"id": "mail", "type": "transform", "config": {"mappings": {"to": "{{ inputs.customer.mail }}"}}},
]


HELLO_CASES = {
    "flow": "hello",
    "cases": [{"name": "says one", "expect": {"status": "SUCCEEDED", "steps": {"say": {"outputs": {"a": 1}}}}}],
}


GREET = """\
# Greets, politely.
name: greet
steps:
  - id: say   # the only one
    type: transform
    config: {mappings: {text: hello}}
"""


GREET_CASES = {
    "flow": "greet",
    "cases": [{"name": "greets", "expect": {"status": "SUCCEEDED", "steps": {"say": {"outputs": {"text": "hello"}}}}}],
}


def hello(value: int) -> dict[str, Any]:
    """Its case passes for 1 alone."""
    return {"name": "hello", "steps": [{"id": "say", "type": "transform", "config": {"mappings": {"a": value}}}]}


def checkout(version: int) -> dict[str, Any]:
    """A fan-out with a fan-out inside; `charge` fails while the shop is broken."""
    stock = {"id": "stock", "type": "parallel", "branches": [_reserve("tea"), _reserve("cups")]}
    charge = {
        "id": "charge",
        "type": "http",
        "name": "Charge the card",
        "retry": {"max_attempts": 2, "initial_delay_ms": 400, "jitter": "none"},
        "config": {"method": "POST", "url": "{{ vars.shop }}/charge", "body": {"card": "{{ inputs.card }}"}},
    }
    tier = {"tier": {"enum": ["gold", "silver"], "default": "silver"}} if version > 1 else {}
    return {
        "name": "checkout",
        "description": "Sells an order: reserves, charges and tells the customer.",
        "labels": {"team": "shop", "tier": "one"},
        "inputs": {
            "order_id": {"required": True, "pattern": "^o-[0-9]+$", "description": "The shop's number of the order."},
            "amount": {"type": "integer", "default": 3},
            "express": {"type": "boolean", "default": False},
            "customer": {"type": "object", "default": {"mail": "ada@example.com"}},
            "card": {"secret": True},
            **tier,
        },
        "steps": [
            {
                "id": "fetch",
                "type": "http",
                "name": "Fetch the order",
                "config": {"url": "{{ vars.shop }}/orders/{{ inputs.order_id }}"},
                "outputs": {"order": "{{ response.body }}"},
            },
            {
                "id": "work",
                "type": "parallel",
                "depends_on": ["fetch"],
                "branches": [{"id": "sell", "steps": [stock, charge]}, {"id": "tell", "steps": NOTIFY}],
            },
            {
                "id": "close",
                "type": "transform",
                "depends_on": ["work"],
                "config": {"mappings": {"total": "{{ steps.fetch.outputs.order.total }}"}},
            },
        ],
        "outputs": {"total": "{{ steps.close.outputs.total }}"},
        "schedules": [{"name": "nightly", "cron": "0 2 * * *", "inputs": {"order_id": "o-1"}}],
    }


def _reserve(what: str) -> dict[str, Any]:
    config = {"method": "POST", "url": "{{ vars.shop }}/reserve", "body": {"what": what}}
    return {"id": what, "steps": [{"id": f"reserve_{what}", "type": "http", "config": config}]}


def flows(shop: str, version: int) -> dict[str, str | bytes]:
    sleep = {"name": "sleep", "steps": [{"id": "long", "type": "delay", "config": {"duration_sec": 3600}}]}
    sign = {"id": "sign", "type": "approval", "config": {"prompt": "Pay <b>4,711</b> EUR to the supplier of tea?"}}
    clock = {"id": "clock", "type": "delay", "config": {"duration_ms": 1500}}
    pay = {"name": "pay", "steps": [sign, clock]}
    return {
        "automata.yaml": json.dumps(
            {
                "flows": ["flows"],
                "environments": {"prod": {"branch": "main", "file": "environments/prod.yaml"}},
                "checks": {"required": ["validate", "test"], "approvals": 1},
            }
        ),
        "environments/prod.yaml": json.dumps({"vars": {"shop": shop}}),
        "flows/greet.yaml": GREET,
        "tests/greet.test.yaml": json.dumps(GREET_CASES),
        "tests/hello.test.yaml": json.dumps(HELLO_CASES),
        **{f"flows/{one['name']}.json": json.dumps(one, indent=2) for one in (checkout(version), hello(1), sleep, pay)},
    }
