"""Webhooks: a signed delivery starts one run, from what it brings, and the same delivery gives the same run."""

from __future__ import annotations

import asyncio
import json
import logging

import httpx
import pytest

from automata.api.app import create_app
from automata.broker.contract import RUNS_PENDING
from automata.broker.local import LocalBroker
from automata.errors import Usage
from automata.operations.webhook_secrets import WebhookSecrets
from automata.settings import Settings, load
from automata.store.database import Database
from automata.telemetry import HOOK_DELIVERIES
from tests.api.deliveries import BODY, HOOK, INPUTS, SECRET, V1, post, ready, run_of, runs, signed, with_mapping

# --- what is taken ---------------------------------------------------------------------------------------------------


async def test_a_delivery_with_the_right_signature_starts_a_committed_run_that_is_rung_for(site):
    await ready(site)
    with site.broker.listen(RUNS_PENDING) as bell:
        answer = await post(site)
        assert await bell.wait(0)
    assert answer.status_code == 201
    assert answer.json().keys() == {"id", "created_at"}
    run = await run_of(site, answer)
    assert run["id"] == answer.json()["id"]
    assert (run["trigger"], run["created_by"], run["version"]) == ("webhook", "webhook shop", 1)
    assert run["inputs"] == {"order": "A-1", "size": 3}


async def test_inputs_are_made_from_body_headers_query_delivery_and_time(site):
    mapping = with_mapping(
        "{{ webhook.body.id }} {{ webhook.headers['x-shop-event'] }} {{ webhook.query.lang }} {{ webhook.delivery }}",
        size="{{ webhook.body.lines | length }}",
        at="{{ webhook.received_at }}",
        now="{{ now() }}",
        fixed=True,
    )
    declared = {**INPUTS, "at": {}, "now": {}, "fixed": {"type": "boolean"}}

    await ready(site, mapping, inputs=declared)
    body = b'{"id": 7, "lines": [1, 2]}'
    headers = {**signed(body), "X-Shop-Event": "paid"}
    run = await run_of(site, await post(site, body, headers, params={"lang": "de"}))
    assert run["inputs"]["order"] == "7 paid de d-1"
    assert run["inputs"]["size"] == 2
    assert run["inputs"]["at"] == run["inputs"]["now"]
    assert run["inputs"]["fixed"] is True


@pytest.mark.parametrize("note", ["{{ none }}", "{{ webhook.body.note | default(none) }}", None])
async def test_a_null_that_a_mapping_makes_leaves_the_input_out(note, site):
    declared = {**INPUTS, "note": {"type": "string"}}
    await ready(
        site,
        with_mapping("{{ webhook.body.order }}", size="{{ webhook.body.no | default(none) }}", note=note),
        inputs=declared,
    )
    assert (await run_of(site, await post(site)))["inputs"] == {"order": "A-1", "size": 1}


async def test_a_null_of_a_body_that_is_the_inputs_leaves_the_input_out(site):
    await ready(site)
    body = b'{"order": "A-1", "size": null}'
    assert (await run_of(site, await post(site, body, signed(body))))["inputs"] == {"order": "A-1", "size": 1}
    missing = b'{"order": null}'
    answer = await post(site, missing, signed(missing, "d-2"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "required" in answer.text


@pytest.mark.parametrize(
    "media",
    [
        *("application/json; charset=UTF-8", "application/vnd.shop.order+json", "application/vnd.shop.order.json;v=2"),
        *("text/json", "application/x-amz-json-1.1", 'application/json; charset="us-ascii"'),
    ],
)
async def test_every_kind_of_json_is_taken(media, site):
    await ready(site)
    assert (await run_of(site, await post(site, BODY, signed(media=media))))["inputs"]["order"] == "A-1"


async def test_what_was_sent_is_never_read_as_a_template(site):
    await ready(site, with_mapping("{{ webhook.body.x }}"))
    body = json.dumps({"x": "{{ 6 * 7 }}{% for i in 'ab' %}{{ vars }}{% endfor %}"}).encode()
    run = await run_of(site, await post(site, body))
    assert run["inputs"]["order"] == json.loads(body)["x"]


async def test_a_query_is_texts_and_a_name_given_twice_is_a_list(site):
    await ready(site, with_mapping("{{ webhook.query.a[1] }} {{ webhook.query.b }}"))
    run = await run_of(site, await post(site, where="orders/shop?a=1&a=%C3%BC&b="))
    assert run["inputs"]["order"] == "ü "


@pytest.mark.parametrize(("raw", "text"), [("Zürich".encode(), "Zürich"), ("Zürich".encode("latin-1"), "Zürich")])
async def test_a_header_is_text_in_utf_8_or_latin_1(raw, text, site):
    await ready(site, with_mapping("{{ webhook.headers['x-city'] }} {{ webhook.headers['x-many'] }}"))
    headers = [*signed().items(), (b"X-City", raw), ("X-Many", "1"), ("x-many", "2")]
    run = await run_of(site, await post(site, BODY, headers))
    assert run["inputs"]["order"] == f"{text} 1, 2"


async def test_headers_that_let_in_elsewhere_are_withheld(site):
    await ready(site, with_mapping("{{ webhook.headers | json }}"))
    headers = {**signed(), "Authorization": "Bearer canary-a", "Cookie": "s=canary-b", "X-Kept": "yes"}
    run = await run_of(site, await post(site, BODY, headers))
    kept = json.loads(run["inputs"]["order"])
    assert kept["x-kept"] == "yes"
    assert not kept.keys() & {"authorization", "cookie", "x-automata-signature"}


async def test_a_delivery_without_a_body_may_start_a_run(site):
    await ready(site, inputs={})
    headers = signed(b"")
    del headers["Content-Type"]
    assert (await run_of(site, await post(site, b"", headers)))["inputs"] == {}


async def test_each_delivery_starts_the_current_version(site):
    await ready(site)
    await ready(site, description="changed")
    assert (await run_of(site, await post(site)))["version"] == 2


# --- the same delivery again -----------------------------------------------------------------------------------------


async def test_the_same_delivery_gives_the_first_run_again(site):
    await ready(site)
    first = await post(site)
    again = await post(site)
    later = await post(site, BODY, signed(age=-20))
    other = b'{"order": "B-2"}'
    changed = await post(site, other, signed(other))
    assert [one.status_code for one in (first, again, later, changed)] == [201, 200, 200, 200]
    assert {one.json()["id"] for one in (again, later, changed)} == {first.json()["id"]}
    assert len(await runs(site)) == 1


async def test_fifty_copies_at_once_start_one_run(site):
    await ready(site)
    answers = await asyncio.gather(*(post(site) for _ in range(50)))
    assert sorted(one.status_code for one in answers) == [200] * 49 + [201]
    assert len({one.json()["id"] for one in answers}) == 1


async def test_the_same_delivery_at_two_webhooks_starts_two_runs(site):
    await ready(site, HOOK, {**HOOK, "name": "other"})
    answers = [await post(site), await post(site, where="orders/other")]
    assert [one.status_code for one in answers] == [201, 201]
    assert len(await runs(site)) == 2


async def test_a_repeated_delivery_gives_its_run_although_the_flow_would_take_it_no_more(site):
    await ready(site)
    first = await post(site)
    await ready(site, inputs={"new": {"required": True}})
    again = await post(site)
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await post(site, BODY, signed(delivery="d-2"))).status_code == 422


async def test_no_idempotency_key_of_a_client_is_that_of_a_delivery(site):
    await ready(site)
    key = {"Idempotency-Key": "hook:shop:d-1"}
    refused = await site.http.post(f"{V1}/flows/orders/runs", json={"inputs": {"order": "x"}}, headers=key)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_idempotency_key")
    answer = await post(site)
    assert answer.status_code == 201
    assert (await run_of(site, answer))["idempotency_key"] == "hook:shop:d-1"


# --- secrets ---------------------------------------------------------------------------------------------------------


async def test_while_a_secret_is_changed_the_old_and_the_new_one_are_right(site):
    old, new = "the-old-one-of-the-shop", "the-new-one-of-the-shop"

    await ready(site, secrets={"SHOP": f"{old}\r\n\n  {new}\n"})
    answers = [
        await post(site, BODY, signed(delivery=str(number), secret=secret))
        for number, secret in enumerate([old, new, f"{old}\n{new}", "the-other"])
    ]
    assert [one.status_code for one in answers] == [201, 201, 401, 401]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "is not set"),
        (" \n", "is not set"),
        ("a-canary-of-enough\n" * 3, "has 3 lines"),
        ("a-canary-of-15-b", None),
        ("canary-of-15-by", "is shorter than 16 bytes"),
        ("a-canary-of-enough\ncanary", "is shorter than 16 bytes"),
    ],
)
def test_what_is_wrong_with_a_secret_is_in_the_log_once_without_its_value(caplog, value, why):
    keyring = WebhookSecrets({} if value is None else {"SHOP": value})
    found = [keyring.secrets("SHOP") for _ in range(3)]
    lines = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    if why is None:
        assert (found[0], lines) == ([value], [])
        return
    assert found == [[], [], []]
    (line,) = lines
    assert why in line
    assert "AUTOMATA_SECRET_SHOP" in line
    assert "canary" not in line


def test_the_secrets_of_webhooks_are_those_that_workers_read(monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOMATA_SECRETS_DIR", str(tmp_path))
    (tmp_path / "FROM_FILE").write_text(SECRET + "\n")
    monkeypatch.setenv("AUTOMATA_SECRET_FROM_ENV", SECRET[::-1])
    keyring = create_app(
        Database.at("postgresql://127.0.0.1/none"), LocalBroker(), Settings()
    ).state.context.webhook_secrets
    assert keyring.secrets("FROM_FILE") == [SECRET]
    assert keyring.secrets("FROM_ENV") == [SECRET[::-1]]


async def test_neither_answers_nor_logs_nor_the_database_hold_the_secret(open_site, caplog):
    caplog.set_level(logging.DEBUG)
    site = await open_site()
    said: list[str] = []
    await ready(site, with_mapping("{{ webhook.headers | json }}{{ webhook.body | json }}"))
    for headers in (signed(), signed(secret="x"), signed(age=999), signed(media="text/plain", delivery="e")):
        answer = await post(site, BODY, headers)
        said.append(answer.text + str(answer.headers))
        if answer.status_code == 201:
            said.append(json.dumps(await run_of(site, answer)))
    said.append((await site.http.get(f"{V1}/flows/orders/versions/1")).text)
    said.append((await site.http.get("/openapi.json")).text)
    async with site.db.connection() as conn:
        for table in ("runs", "flow_versions", "task_queue"):
            rows = await conn.execute(f"SELECT to_jsonb({table})::text FROM {table}".encode())
            said.extend(text for (text,) in await rows.fetchall())
    said.extend(one.getMessage() + str(vars(one)) for one in caplog.records)
    assert any("A-1" in text for text in said)
    assert not [text for text in said if SECRET in text]


# --- how much --------------------------------------------------------------------------------------------------------


async def test_a_full_line_is_answered_with_429_as_for_other_runs(site, monkeypatch):
    await ready(site)
    monkeypatch.setattr(site.context.run_creator._batcher, "_max_waiting", 0)
    answer = await post(site)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert "retry-after" in answer.headers


async def test_other_methods_have_nothing_here(site):
    await ready(site)
    for method in ("GET", "PUT", "DELETE"):
        answer = await site.http.request(method, f"{V1}/hooks/orders/shop", headers=signed(b""))
        assert answer.status_code == 405


async def test_copies_that_reach_two_processes_at_once_start_one_run(site, database_url):
    await ready(site)
    async with await Database.open(database_url, max_size=4) as db:
        other = create_app(db, LocalBroker(), Settings(), secrets={"SHOP": SECRET})
        transport = httpx.ASGITransport(other)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as http:
            headers = signed()
            answers = await asyncio.gather(
                *(
                    one.post(f"{V1}/hooks/orders/shop", content=BODY, headers=headers)
                    for _ in range(20)
                    for one in (site.http, http)
                )
            )
    assert sorted(one.status_code for one in answers) == [200] * 39 + [201]
    assert len({one.json()["id"] for one in answers}) == 1
    assert len(await runs(site)) == 1


async def test_what_becomes_of_deliveries_is_counted(site):
    def counted() -> dict[str, float]:
        results = ("created", "repeated", "refused", "invalid")
        return {one: HOOK_DELIVERIES.labels(one)._value.get() for one in results}

    await ready(site)
    before = counted()
    for body, headers in (
        (BODY, signed()),
        (BODY, signed()),
        (BODY, signed(secret="another")),
        (b"{}", signed(b"{}", "d-2")),
    ):
        await post(site, body, headers)
    assert {name: value - before[name] for name, value in counted().items()} == dict.fromkeys(before, 1)


async def test_runs_can_be_listed_by_their_trigger(site):
    await ready(site)
    await site.run(inputs={"order": "by hand"})
    made = await post(site)
    (found,) = (await site.http.get(f"{V1}/runs", params={"trigger": "webhook"})).json()["items"]
    assert (found["id"], found["trigger"]) == (made.json()["id"], "webhook")


def test_a_tolerance_of_more_than_an_hour_is_no_setting():
    assert load({"AUTOMATA_HOOK_TOLERANCE_SEC": "3600"}).hook_tolerance_sec == 3600
    with pytest.raises(Usage, match="AUTOMATA_HOOK_TOLERANCE_SEC"):
        load({"AUTOMATA_HOOK_TOLERANCE_SEC": "3601"})
