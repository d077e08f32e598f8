"""Webhooks: hostile, stale, altered and misplaced deliveries start nothing, and nobody learns what there is."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from automata.api import webhooks
from automata.flow import webhook
from automata.flow.webhook import signature
from automata.operations import flow_lookups
from automata.store.inbound_webhooks import webhook_targets
from tests.api.deliveries import BODY, HOOK, INPUTS, JSON, SECRET, V1, post, ready, run_of, runs, signed, with_mapping

FORM = "application/x-www-form-urlencoded"


# --- what is refused -------------------------------------------------------------------------------------------------


def _changed(**headers: str | None) -> dict[str, str]:
    given = {**signed(), **{f"X-Automata-{name.title()}": value for name, value in headers.items()}}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        (lambda: _changed(signature=None), "unsigned"),
        (lambda: _changed(timestamp=None), "unsigned"),
        (lambda: _changed(delivery=None), "unsigned"),
        (lambda: _changed(signature=""), "bad_signature"),
        (lambda: _changed(signature="sha256="), "bad_signature"),
        (lambda: _changed(signature="sha256=" + "0" * 64), "bad_signature"),
        (lambda: _changed(signature=signed()["X-Automata-Signature"][:-1]), "bad_signature"),
        (lambda: _changed(signature=signed()["X-Automata-Signature"][:39]), "bad_signature"),
        (lambda: _changed(signature=signed()["X-Automata-Signature"] + "0"), "bad_signature"),
        (lambda: _changed(signature=signed()["X-Automata-Signature"].removeprefix("sha256=")), "bad_signature"),
        (lambda: _changed(signature="sha256=" + signed()["X-Automata-Signature"][7:].upper()), "bad_signature"),
        (lambda: _changed(signature=signed()["X-Automata-Signature"].replace("sha256", "SHA256")), "bad_signature"),
        (lambda: _changed(signature="sha1=" + "0" * 40), "bad_signature"),
        (lambda: _changed(signature="sha256=\u00e9".encode().decode("latin-1")), "bad_signature"),
        (lambda: signed(secret="another"), "bad_signature"),
        (lambda: signed(secret=""), "bad_signature"),
        (lambda: _changed(delivery="d-2"), "bad_signature"),
        (lambda: _changed(timestamp=str(int(time.time()) - 60)), "bad_signature"),
        (lambda: signed(age=310), "stale_timestamp"),
        (lambda: signed(age=-310), "stale_timestamp"),
        (lambda: signed(age=86_400 * 365), "stale_timestamp"),
        (lambda: _changed(timestamp="now"), "bad_timestamp"),
        (lambda: _changed(timestamp="-1"), "bad_timestamp"),
        (lambda: _changed(timestamp="1e9"), "bad_timestamp"),
        (lambda: _changed(timestamp=f"{time.time():.3f}"), "bad_timestamp"),
        (lambda: _changed(timestamp="9" * 5000), "bad_timestamp"),
    ],
)
async def test_a_delivery_that_is_not_signed_as_it_stands_starts_nothing(site, headers, code):
    await ready(site)
    given = {name: value.encode("latin-1") for name, value in headers().items()}
    answer = await site.http.post(f"{V1}/hooks/orders/shop", content=BODY, headers=given)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert await runs(site) == []


@pytest.mark.parametrize("age", [-290, 290])
async def test_a_timestamp_within_five_minutes_is_taken(site, age):
    await ready(site)
    assert (await post(site, BODY, signed(age=age))).status_code == 201


async def test_the_tolerance_is_a_setting(open_site):
    site = await open_site(hook_tolerance_sec=10)
    await ready(site)
    assert (await post(site, BODY, signed(age=30))).json()["code"] == "stale_timestamp"


async def test_a_header_given_twice_is_refused(site):
    await ready(site)
    headers = [*signed().items(), ("X-Automata-Signature", "sha256=" + "0" * 64)]
    answer = await site.http.post(f"{V1}/hooks/orders/shop", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unsigned")


@pytest.mark.parametrize("body", [BODY + b" ", BODY[:-1], BODY.replace(b"A-1", b"A-2"), b""])
async def test_a_body_that_was_changed_on_its_way_starts_nothing(site, body):
    await ready(site)
    answer = await post(site, body, signed(BODY))
    assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    assert await runs(site) == []


async def test_a_signature_fits_no_other_parting_of_delivery_and_body(site):
    await ready(site, with_mapping("{{ webhook.body | json }}"))
    body = b"1.2"
    assert (await post(site, body, signed(body, "d"))).status_code == 201
    moved = {**signed(body, "d"), "X-Automata-Delivery": "d.1"}
    answer = await post(site, b"2", moved)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_delivery")
    assert len(await runs(site)) == 1


@pytest.mark.parametrize(
    "delivery",
    ["", "a.b", "x" * 121, "a b", "a\tb", "é", "\x7f", "' OR 1=1; -- ", "../../x", "{{ secrets.SHOP }}", "😀"],
)
async def test_a_delivery_id_is_visible_ascii_without_a_dot(site, delivery):
    await ready(site)
    headers: Any = {name: value.encode() for name, value in signed(delivery=delivery).items()}
    answer = await site.http.post(f"{V1}/hooks/orders/shop", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_delivery")
    assert await runs(site) == []


@pytest.mark.parametrize("delivery", ["x" * 120, "'OR1=1;--", "%00%0a", "webhook:shop:1", "{{secrets}}", "\\", "~!"])
async def test_an_odd_delivery_id_is_an_id_like_any_other(site, delivery):
    await ready(site)
    answers = [await post(site, BODY, signed(delivery=delivery)) for _ in range(2)]
    assert [one.status_code for one in answers] == [201, 200]


@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (b"[" * 100_000 + b"]" * 100_000, JSON, 400, "malformed_json"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, JSON, 400, "too_deep"),
        (b'{"order": "\xff"}', JSON, 400, "malformed_json"),
        (b'{"order": "\\ud800"}', JSON, 400, "malformed_json"),
        (b'{"order": NaN}', JSON, 400, "malformed_json"),
        (b"not json", JSON, 400, "malformed_json"),
        (b"[1]", JSON, 422, "invalid_input"),
        (b"null", JSON, 422, "invalid_input"),
        (b"order=A-1", FORM, 415, "unsupported_media_type"),
        (BODY, "text/plain", 415, "unsupported_media_type"),
        (BODY, "multipart/form-data; boundary=x", 415, "unsupported_media_type"),
        (BODY, "", 415, "unsupported_media_type"),
    ],
)
async def test_a_signed_body_that_cannot_be_read_is_refused_by_what_is_wrong_with_it(site, body, media, status, code):
    await ready(site)
    answer = await post(site, body, signed(body, media=media))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await runs(site) == []


async def test_a_body_has_at_most_a_mebibyte_also_when_it_does_not_say_how_long_it_is(site):
    async def pieces(body: bytes) -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    await ready(site, with_mapping("x", size="{{ webhook.body.x | length }}"))
    fits = json.dumps({"x": "y" * (1024 * 1024 - 9)}).encode()
    assert len(fits) == 1024 * 1024
    assert (await run_of(site, await post(site, fits)))["inputs"]["size"] == 1024 * 1024 - 9
    large = fits + b" "
    for content in (large, pieces(large)):
        answer = await site.http.post(f"{V1}/hooks/orders/shop", content=content, headers=signed(large))
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_the_longest_body_is_a_setting(open_site):
    site = await open_site(hook_body_bytes=len(BODY) - 1)
    await ready(site)
    assert (await post(site)).status_code == 413


async def test_each_input_that_does_not_fit_is_named(site):
    await ready(site)
    body = b'{"oder": "x", "size": "big"}'
    answer = await post(site, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    named = {item["pointer"] for item in answer.json()["errors"]}
    assert named == {"/inputs/oder", "/inputs/order", "/inputs/size"}


async def test_an_input_whose_template_finds_nothing_is_named(site):
    await ready(site, with_mapping("{{ webhook.body.customer.id }}"))
    answer = await post(site, b'{"customer": {"name": "x"}}')
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/inputs/order")
    assert answer.json()["detail"].startswith("The input `order` cannot be made from this delivery:")


# --- which webhooks there are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["orders/none", "none/shop", "none/none", "ORDERS/shop", "orders/shop%00", "%00/shop", "orders/Shop", "a'b/shop"],
)
async def test_an_unknown_flow_or_webhook_is_answered_like_a_wrong_signature(site, where):
    await ready(site)
    wrong = await post(site, BODY, signed(secret="another"))
    for secret in (SECRET, "another"):
        answer = await post(site, BODY, signed(secret=secret), where=where)
        assert (answer.status_code, answer.content) == (401, wrong.content)
        assert answer.headers == wrong.headers


async def test_an_unknown_webhook_costs_the_same_reads_and_digests_as_a_known_one(site, monkeypatch):
    work: list[str] = []

    def digest(secret: str, *rest: Any) -> str:
        work.append("digest")
        return signature(secret, *rest)

    async def read(conn: Any, names: Any) -> Any:
        work.append("read")
        return await webhook_targets(conn, names)

    await ready(site)
    assert (await post(site)).status_code == 201  # the version is known from now on
    monkeypatch.setattr(webhook, "signature", digest)
    monkeypatch.setattr(flow_lookups, "webhook_targets", read)
    for where, secret in (("orders/shop", "wrong"), ("orders/shop", SECRET), ("orders/none", "x"), ("none/x", "x")):
        work.clear()
        await post(site, BODY, signed(secret=secret), where=where)
        assert work == ["read", "digest", "digest"]


@pytest.mark.parametrize(
    "how", ["switched off", "not in the current version", "archived", "no secret", "an empty secret", "a short secret"]
)
async def test_a_webhook_that_takes_nothing_is_answered_like_one_that_does_not_exist(site, how):
    secrets = {"no secret": {}, "an empty secret": {"SHOP": ""}, "a short secret": {"SHOP": SECRET[:15]}}

    await ready(site, {**HOOK, "enabled": how != "switched off"}, secrets=secrets.get(how))
    if how == "not in the current version":
        await site.flow(inputs=INPUTS)
    if how == "archived":
        assert (await site.http.delete(f"{V1}/flows/orders")).status_code in (200, 204)
    unknown = await post(site, where="none/none")
    for secret in (SECRET, "another", "", SECRET[:15]):
        answer = await post(site, BODY, signed(secret=secret))
        assert (answer.status_code, answer.content, answer.headers) == (401, unknown.content, unknown.headers)
    assert await runs(site) == []


@pytest.mark.parametrize(("away", "status"), [(-301, 401), (-300, 201), (300, 201), (301, 401)])
async def test_the_tolerance_is_three_hundred_seconds_to_either_side(open_site, monkeypatch, away, status):
    now = datetime(2026, 1, 1, tzinfo=UTC)

    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now

    monkeypatch.setattr(webhooks, "datetime", Fixed)
    monkeypatch.setattr(time, "time", now.timestamp)

    site = await open_site()
    await ready(site)
    assert (await post(site, BODY, signed(age=away))).status_code == status


@pytest.mark.parametrize("query", ["a=%ff", "a=%FF%FE", "&".join("a=1" for _ in range(1001))])
async def test_a_query_that_cannot_be_read_is_refused(site, query):
    await ready(site)
    answer = await post(site, where=f"orders/shop?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_query")
    assert await runs(site) == []


async def test_headers_that_are_too_large_are_refused_before_anything_is_read(site, monkeypatch):
    await ready(site)
    monkeypatch.setattr(flow_lookups, "webhook_targets", None)  # any read would fail
    answer = await post(site, BODY, {**signed(), "X-Large": "x" * 33_000})
    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


async def test_a_compressed_body_is_refused(site):
    await ready(site)
    answer = await post(site, BODY, {**signed(), "Content-Encoding": "gzip"})
    assert answer.status_code == 415


async def test_a_value_that_the_sender_may_not_see_does_not_stand_in_the_refusal(site):
    await ready(site, inputs={"pin": {"type": "integer", "secret": True}})
    body = b'{"pin": "canary-pin"}'
    answer = await post(site, body, signed(body))
    assert answer.status_code == 422
    assert "canary" not in answer.text


@pytest.mark.parametrize(("size", "apart"), [(webhooks.LARGE, False), (webhooks.LARGE + 1, True)])
async def test_digests_of_large_bodies_do_not_hold_up_other_requests(site, monkeypatch, size, apart):
    threads: set[int] = set()

    def digest(*given: Any) -> str:
        threads.add(threading.get_ident())
        return signature(*given)

    await ready(site)
    monkeypatch.setattr(webhook, "signature", digest)
    assert (await post(site, b"x" * size, signed(secret="another"))).status_code == 401
    assert (threads != {threading.get_ident()}) is apart
