"""What one asker may cost: guesses, requests, memory."""

from __future__ import annotations

import asyncio
import logging

from fastapi import Request

from automata.access.rate_limiter import MAX_KEYS, RateLimiter, client_key
from automata.access.token_text import new_token_text
from tests.api.conftest import V1

ON = {"auth": "on"}


async def get(site, token=None, path=f"{V1}/me"):
    return await site.http.get(path, headers={"authorization": f"Bearer {token}"} if token else {})


async def test_whoever_guesses_is_stopped_and_nobody_else_is_locked_out(open_site):
    site = await open_site(**ON, failed_auth_per_min=5)
    good = await site.token()
    assert (await get(site, good)).status_code == 200
    answers = [await get(site, new_token_text()) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].json()["code"] == "rate_limited"
    assert (await get(site, good)).status_code == 200  # from the same address


async def test_a_token_may_ask_so_often_and_another_one_is_not_slowed(open_site):
    site = await open_site(**ON, rate_per_sec=1)
    first, second = await site.token(), await site.token()
    assert [(await get(site, first)).status_code for _ in range(3)] == [200, 200, 429]
    assert (await get(site, second)).status_code == 200


async def test_whoever_needs_no_token_may_ask_so_often_from_one_address(open_site):
    site = await open_site(**ON, anonymous_rate_per_sec=1)
    assert [(await get(site)).status_code for _ in range(3)] == [401, 401, 429]
    probes = [(await site.http.get(path)).status_code for path in ("/healthz", "/readyz") * 3]
    assert probes == [200] * 6, "who asks whether a process lives does not wait behind those that it serves"


async def test_ten_thousand_guesses_leave_nothing_in_memory(open_site):
    site = await open_site(**ON)
    authenticator = site.authenticator

    async def guess(number):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        request = Request({"type": "http", "headers": [], "client": (address, 1)})
        assert await authenticator.principal_of_token(request, new_token_text()) is None

    for start in range(0, 10_000, 100):
        await asyncio.gather(*(guess(number) for number in range(start, start + 100)))
    assert (len(authenticator.tokens._known), len(authenticator.tokens._known._reads)) == (0, 0)
    assert len(authenticator.failures) == MAX_KEYS


def test_buckets_of_many_askers_take_a_bounded_room():
    now = [0.0]
    buckets = RateLimiter(1, 2, max_keys=100, clock=lambda: now[0])
    for number in range(10_000):
        assert buckets.take(str(number)) == 0
    assert len(buckets) == 100
    assert [buckets.take("9999"), buckets.take("9999")] == [0, 1]
    now[0] += 1
    assert buckets.take("9999") == 0


def test_one_household_is_one_asker():
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:2") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1") != client_key("192.0.2.2")
    assert len(client_key("x" * 10_000)) <= 64


async def test_a_token_is_in_no_log_line_and_no_answer(open_site, caplog):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "httpx")  # the client's

    site = await open_site(**ON, log_level="debug")
    admin, guess = await site.token("admin"), new_token_text()
    site.as_(admin)
    told = [await site.http.post(f"{V1}/tokens", json={"name": "ci", "role": "viewer"})]
    made = told[0].json()["token"]
    told += [await site.http.post(f"{V1}/tokens/ci/rotate"), await site.http.get(f"{V1}/tokens")]
    fresh = told[1].json()["token"]
    told += [await site.http.get(f"{V1}/audit"), await get(site, guess)]
    texts = [answer.text for answer in told[2:]]
    async with site.db.connection() as conn:
        for table in ("access_tokens", "audit_log"):
            cursor = await conn.execute(f"SELECT {table}::text FROM {table}")
            texts += [row[0] for row in await cursor.fetchall()]
    everything = "\n".join([*texts, caplog.text])
    assert fresh != made
    for text in (admin, made, fresh, guess):
        assert text not in everything


async def test_a_database_that_does_not_answer_lets_nobody_in(open_site):
    site = await open_site(**ON)
    token = await site.token()
    await site.db.close()
    assert (await get(site, token)).status_code == 503
