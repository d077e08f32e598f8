"""Tokens that let nobody in leave a line, and strangers do not fill the log with such lines."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest

from automata.access.token_text import new_token_text
from automata.http import refused_tokens
from automata.http.refused_tokens import RefusedTokens
from automata.store.tokens import revoke_token
from tests.api.conftest import V1, OpenSite, Site

ON = {"auth": "on", "failed_auth_per_min": 0}
WORDS = "a token was refused"


@pytest.fixture
async def site(open_site: OpenSite, caplog: pytest.LogCaptureFixture) -> Site:
    caplog.set_level(logging.WARNING, refused_tokens.__name__)
    return await open_site(**ON)


@pytest.fixture
def unbounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each refusal has its line."""
    for name in ("PER_ADDRESS_SEC", "PER_SEC"):
        monkeypatch.setattr(refused_tokens, name, 0)
    site.authenticator.refused = RefusedTokens(site.db)


async def ask(site: Site, token: str, path: str = f"{V1}/me") -> httpx.Response:
    return await site.http.get(path, headers={"authorization": f"Bearer {token}"})


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == WORDS]


@pytest.mark.parametrize(
    "text", ["", "x", "atm_short", pytest.param(new_token_text(), id="made up"), "\x00; DROP", "a" * 5_000]
)
@pytest.mark.parametrize("way", ["header", "sign-in"])
async def test_what_was_never_a_token_has_a_line_and_no_entry(
    site: Site, unbounded: None, caplog: pytest.LogCaptureFixture, text: str, way: str
) -> None:
    if way == "header":
        answer = await ask(site, text.replace("\x00", "%00"))
    else:
        answer = await site.http.post("/sign-in", json={"token": text})
    assert answer.status_code in (401, 422), answer.text
    if answer.status_code == 401:
        (line,) = lines(caplog)
        assert (line["why"], line["token"]) == (
            "unknown" if text.startswith("atm_") and len(text) > 40 else "no token",
            "",
        )
        assert line["address"] == "127.0.0.1"
        assert line["path"] == (f"{V1}/me" if way == "header" else "/sign-in")
    assert not [one for one in await site.audit(action="token.refuse") if not one["object"].startswith("token/ci-")]


@pytest.mark.parametrize("why", ["expired", "revoked"])
async def test_a_token_that_was_one_is_named_and_is_in_the_log_of_changes(
    site: Site, unbounded: None, caplog: pytest.LogCaptureFixture, why: str
) -> None:
    token = await site.token("operator", name=f"ci-{why}", days=-1 if why == "expired" else 1)
    if why == "revoked":
        async with site.db.connection() as conn:
            row = await (await conn.execute("SELECT id FROM access_tokens")).fetchone()
            assert row is not None
            await revoke_token(conn, row[0])
    for _ in range(3):
        assert (await ask(site, token)).status_code == 401
    assert [(line["why"], line["token"]) for line in lines(caplog)] == [(why, f"ci-{why}")] * 3
    (entry,) = [one for one in await site.audit(action="token.refuse") if one["object"] == f"token/ci-{why}"]
    assert (entry["actor"], entry["after"], entry["address"]) == (f"ci-{why}", {"why": why}, "127.0.0.1")
    assert token not in caplog.text


async def test_an_address_has_one_line_and_the_next_says_how_many_were_left_out(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    refused = site.authenticator.refused
    for limiter in (refused._addresses, refused._all):
        monkeypatch.setattr(limiter, "_clock", lambda: now[0])
    for _ in range(20):
        await ask(site, new_token_text())
    now[0] += 61
    await ask(site, new_token_text())
    assert [line["untold"] for line in lines(caplog)] == [0, 19]


async def test_many_addresses_together_do_not_fill_the_log(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = site.authenticator.refused
    monkeypatch.setattr(refused._all, "_clock", lambda: 0.0)
    for number in range(200):
        transport = httpx.ASGITransport(site.app, client=(f"10.0.0.{number}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            await http.get(f"{V1}/me", headers={"authorization": f"Bearer {new_token_text()}"})
    assert len(lines(caplog)) == refused_tokens.BURST


async def test_a_token_that_is_good_and_a_request_without_one_leave_no_line(
    site: Site, unbounded: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await ask(site, await site.token())).status_code == 200
    assert (await site.http.get(f"{V1}/me")).status_code == 401
    assert lines(caplog) == []
