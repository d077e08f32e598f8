"""What comes in over REST and by webhooks keeps the digits of its numbers, or is refused."""

from __future__ import annotations

import pytest

from tests.api.conftest import spec
from tests.api.deliveries import HOOK, V1, post, ready, run_of

NUMBERS = ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"]
REFUSED = ["1e400", "NaN", "-Infinity", '"\\ud800"', "9" * 5000]
DECLARED = {"n": {"type": "integer"}, "any": {"type": "array"}, "order": {}}


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_run_over_rest_is_given_and_shown_the_digits(number, site):
    await site.flow(inputs=DECLARED)
    body = f'{{"inputs": {{"n": {number}, "any": [{{"x": {number}}}]}}}}'
    made = await site.http.post(f"{V1}/flows/orders/runs", content=body, headers={"Content-Type": "application/json"})
    assert made.status_code == 201, made.text
    shown = await site.http.get(made.headers["location"])
    for answer in (made, shown):
        assert answer.json()["inputs"] == {"n": int(number), "any": [{"x": int(number)}]}
        assert answer.json()["created_at"].endswith("Z"), "times are written as ever beside a long number"
        assert number in answer.text


@pytest.mark.parametrize("number", NUMBERS)
async def test_runs_of_a_batch_are_given_the_digits(number, site):
    await site.flow(inputs=DECLARED)
    body = f'{{"runs": [{{"flow": "orders", "inputs": {{"n": {number}}}}}]}}'
    made = await site.http.post(f"{V1}/runs/batch", content=body, headers={"Content-Type": "application/json"})
    assert made.json()["created"] == 1, made.text
    listed = (await site.http.get(f"{V1}/runs")).json()["items"]
    shown = await site.http.get(f"{V1}/runs/{listed[0]['id']}")
    assert shown.json()["inputs"]["n"] == int(number)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("number", NUMBERS)
async def test_a_delivery_keeps_the_digits(number, mapped, site):
    mapping = {"n": "{{ webhook.body.n }}", "order": "{{ webhook.body.n }}!"} if mapped else None
    await ready(site, {**HOOK, **({"inputs": mapping} if mapping else {})}, inputs=DECLARED)
    run = await run_of(site, await post(site, f'{{"n": {number}}}'.encode()))
    assert run["inputs"] == {"n": int(number), **({"order": f"{number}!"} if mapped else {})}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:12])
async def test_what_cannot_be_kept_is_refused_and_starts_nothing(text, site):
    await ready(site, inputs=DECLARED)
    body = f'{{"inputs": {{"any": [{text}, 18446744073709551616]}}}}'
    json = {"Content-Type": "application/json"}
    assert (await site.http.post(f"{V1}/flows/orders/runs", content=body, headers=json)).status_code == 400
    assert (await post(site, body.encode())).status_code == 400
    assert (await site.http.get(f"{V1}/runs")).json()["items"] == []


async def test_a_decimal_too_large_to_be_one_whole_number_is_no_integer(site):
    await site.flow(inputs=DECLARED)
    answer = await site.http.post(f"{V1}/flows/orders/runs", json={"inputs": {"n": 1e23}})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/inputs/n")


async def test_a_flow_over_rest_is_refused_as_its_file_would_be(site):
    flow = spec("orders", inputs={"n": {"type": "integer", "default": 2**70}})
    answer = await site.http.put(f"{V1}/flows/orders", json=flow)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "AF013")
