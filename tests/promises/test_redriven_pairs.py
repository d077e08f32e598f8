"""A service was down for a while, and everything that failed is retried in every way at once: real processes.

Each call is made under one idempotency key, whoever had it made: a service that honours keys does nothing twice.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.promises.fleet import Member, fleet
from tests.promises.ledger import Ledger
from tests.promises.processes import environment, until

ORDERS = 13
V1 = "/api/v1"


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger(0.02) as ledger:
        yield ledger


@pytest.fixture
def parts(fresh_database_url: str, ledger: Ledger) -> Iterator[tuple[Member, ...]]:
    env = environment(fresh_database_url)
    with fleet(*(Member(part, env) for part in ("api", "orchestrator", "orchestrator", "worker"))) as members:
        yield tuple(members)


@pytest.fixture
def client(parts: tuple[Member, ...]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{parts[0].address}{V1}", timeout=120) as client:
        yield client


def put(client: httpx.Client, name: str, *steps: dict[str, Any], **more: Any) -> None:
    client.put(f"/flows/{name}", json={"name": name, "steps": list(steps), **more}).raise_for_status()


def effect(ledger: Ledger, id: str, *after: str, **more: Any) -> dict[str, Any]:
    body = {"what": id, "order": "{{ inputs.order }}"}
    retry = {"max_attempts": 2, "initial_delay_ms": 10}
    config = {"method": "POST", "url": f"{ledger.url}/effect", "body": body}
    return {"id": id, "type": "http", "depends_on": list(after), "retry": retry, "config": config, **more}


def put_flows(client: httpx.Client, ledger: Ledger) -> None:
    """Three flows deep; the one in the middle has its child called once an item."""
    inputs = {"inputs": {"order": {"type": "string", "required": True}}}
    call = {"type": "flow", "config": {"flow": "create-invoice", "inputs": {"order": "{{ inputs.order }}"}}}
    lines = {"type": "flow", "foreach": ["a", "b"]}
    lines["config"] = {"flow": "write-line", "inputs": {"order": "{{ inputs.order }}-{{ item }}"}}
    put(client, "write-line", effect(ledger, "line"), **inputs)
    put(
        client,
        "create-invoice",
        effect(ledger, "invoice"),
        {"id": "lines", "depends_on": ["invoice"], **lines},
        **inputs,
    )
    steps = effect(ledger, "reserve"), {"id": "bill", "depends_on": ["reserve"], **call}, effect(ledger, "ship", "bill")
    put(client, "order-intake", *steps, **inputs)


def all_ended(client: httpx.Client, runs: list[str]) -> bool:
    return all(client.get(f"/runs/{run}").raise_for_status().json()["finished_at"] for run in runs)


def bulk(client: httpx.Client, path: str) -> None:
    """As `--all` does it: in transactions of a few things each."""
    cursor: dict[str, Any] = {}
    while True:
        answer = client.post(path, json={"all": True, "limit": 5, **cursor}).raise_for_status().json()
        if answer["next_cursor"] is None:
            return
        cursor = {"cursor": answer["next_cursor"]}


def retry_all(client: httpx.Client) -> None:
    """Letters and runs, each by two people, at the same moment."""
    paths = ["/dlq/retry", "/runs/retry"] * 2
    threads = [threading.Thread(target=bulk, args=(client, path)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def start_orders(client: httpx.Client, ledger: Ledger) -> list[str]:
    """Some come in while the service is up, most while it is down; all have ended once."""
    put_flows(client, ledger)
    runs = []
    for number in range(ORDERS):
        ledger.is_down = not 3 <= number < 6
        inputs = {"order": f"o-{number}"}
        runs.append(client.post("/flows/order-intake/runs", json={"inputs": inputs}).raise_for_status().json()["id"])
    until(lambda: all_ended(client, runs), "all have ended for the first time")
    return runs


def check_all_done_once(client: httpx.Client, ledger: Ledger, runs: list[str]) -> None:
    ended = [client.get(f"/runs/{run}").json() for run in runs]
    assert [run["status"] for run in ended] == ["SUCCEEDED"] * ORDERS, [run["error"] for run in ended]
    assert client.get("/dlq").json()["items"] == []
    keys: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for call in ledger.calls:
        keys[call.body["what"], call.body["order"]].add(call.key)
    assert len(keys) == ORDERS * 5, "each order is reserved, invoiced and shipped, and has two lines"
    assert {call: found for call, found in keys.items() if len(found) > 1} == {}


def test_no_call_has_two_keys_however_often_everything_is_retried(client: httpx.Client, ledger: Ledger) -> None:
    runs = start_orders(client, ledger)
    for is_down in (True, False, False):
        ledger.is_down = is_down
        retry_all(client)
        until(lambda: all_ended(client, runs), "all have ended again")
    check_all_done_once(client, ledger, runs)


def test_no_call_has_two_keys_though_processes_are_killed_between_the_retries(
    client: httpx.Client, parts: tuple[Member, ...], ledger: Ledger
) -> None:
    runs = start_orders(client, ledger)
    for number, victim in enumerate(parts[1:] * 2):
        ledger.is_down = number % 2 == 0
        retry_all(client)
        victim.kill()
        victim.start()
    ledger.is_down = False
    for _ in range(2):
        until(lambda: all_ended(client, runs), "all have ended again")
        retry_all(client)
    until(lambda: all_ended(client, runs), "all have ended")
    check_all_done_once(client, ledger, runs)
