"""Sessions of the console: how they begin and end, their cookies, and who may use them."""

from __future__ import annotations

import re

import pytest

from automata.access.sessions import MIN_SECRET_CHARS
from automata.errors import Usage
from automata.http.authentication import COOKIE, SECURE
from automata.http.authorization import declared_roles, least_role
from automata.http.request_checks import SAFE
from automata.http.sign_in import local_path
from automata.operations.context import AppContext
from automata.settings import Settings

V1 = "/api/v1"
ON = {"auth": "on"}


async def sign_in(site, role="operator", **more):
    """Signed in, by the cookie that httpx keeps; what /me said."""
    answer = await site.http.post("/sign-in", json={"token": await site.token(role)}, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cookie_of(answer):
    (found,) = answer.headers.get_list("set-cookie")
    return found


async def test_a_session_is_opened_by_a_token_and_ended_by_signing_out(open_site):
    site = await open_site(**ON)
    me = await sign_in(site)
    assert (await site.http.get(f"{V1}/me")).json() == me
    cookie = site.http.cookies[COOKIE]
    answer = await site.http.post("/sign-out", headers={"x-csrf-token": me["csrf_token"]})
    assert answer.status_code == 204
    assert "Max-Age=0" in cookie_of(answer)
    site.http.cookies.clear()
    again = await site.http.get(f"{V1}/me", headers={"cookie": f"{COOKIE}={cookie}"})
    assert again.status_code == 401
    assert [row["action"] for row in await site.audit()][-2:] == ["session.open", "session.end"]


@pytest.mark.parametrize("settings", [{}, {"public_url": "https://automata.example.com"}])
async def test_a_cookie_is_for_this_server_alone_and_for_no_script(open_site, settings):
    site = await open_site(**ON, **settings)
    answer = await site.http.post("/sign-in", json={"token": await site.token()})
    said = cookie_of(answer)
    name, _, attributes = said.partition("=")
    parts = set(attributes.split("; ")[1:])
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= parts
    assert ("Secure" in parts) == bool(settings)
    assert name == (SECURE + COOKIE if settings else COOKIE)
    assert "Domain" not in said


async def test_a_change_by_cookie_needs_the_token_of_its_session(open_site):
    site = await open_site(**ON)
    site.as_(await site.token("admin"))
    await site.flow()
    del site.http.headers["authorization"]
    url = f"{V1}/flows/orders/runs"
    first = await sign_in(site)
    other = await sign_in(site)
    for given in ({}, {"x-csrf-token": ""}, {"x-csrf-token": "x"}, {"x-csrf-token": first["csrf_token"]}):
        answer = await site.http.post(url, json={}, headers=given)
        assert (answer.status_code, answer.json()["code"]) == (403, "bad_csrf_token"), given
    own = {"x-csrf-token": other["csrf_token"]}
    for lie in ({"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        answer = await site.http.post(url, json={}, headers=own | lie)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), lie
    assert (await site.http.post(url, json={}, headers=own)).status_code == 201
    assert (await site.http.get(f"{V1}/runs")).json()["items"][1:] == []


async def test_signing_in_makes_another_session_and_ends_the_one_that_came_along(open_site):
    site = await open_site(**ON)
    await sign_in(site)
    planted = site.http.cookies[COOKIE]
    await sign_in(site, "admin")
    assert site.http.cookies[COOKIE] != planted
    site.http.cookies.clear()
    assert (await site.http.get(f"{V1}/me", headers={"cookie": f"{COOKIE}={planted}"})).status_code == 401

    chosen = "A" * 43
    await site.http.post("/sign-in", json={"token": await site.token()}, headers={"cookie": f"{COOKIE}={chosen}"})
    assert chosen not in site.http.cookies[COOKIE]


async def test_a_cookie_that_was_altered_or_signed_by_somebody_else_is_none(open_site):
    site = await open_site(**ON, session_secret="s" * MIN_SECRET_CHARS)
    await sign_in(site)
    cookie = site.http.cookies[COOKIE]
    bits, _, mac = cookie.partition(".")
    site.http.cookies.clear()
    for text in (
        bits,
        f"{bits}.",
        f"{bits}.{mac[::-1]}",
        f"{bits[::-1]}.{mac}",
        f"{cookie}x",
        ".",
        "é",
        "x" * 4000,
    ):
        headers = {"cookie": f"{COOKIE}={text}".encode("latin-1")}
        assert (await site.http.get(f"{V1}/me", headers=headers)).status_code == 401, text
    # Nothing of a session lies in the database that would let somebody in.
    async with site.db.connection() as conn:
        cursor = await conn.execute("SELECT encode(hash, 'hex') FROM access_sessions")
        assert all(bits not in row[0] for row in await cursor.fetchall())


async def test_a_cookie_is_renewed_after_an_hour_and_the_former_one_soon_ends(open_site):
    site = await open_site(**ON)
    await sign_in(site)
    former = site.http.cookies[COOKIE]

    async def ago(span):
        async with site.db.connection() as conn:
            await conn.execute(f"UPDATE access_sessions SET renewed_at = renewed_at - interval '{span}'")
        site.context.forget_credentials()

    await ago("61 minutes")
    assert (await site.http.get(f"{V1}/me")).status_code == 200
    fresh = site.http.cookies[COOKIE]
    assert fresh != former
    site.http.cookies.clear()

    async def status(cookie):
        return (await site.http.get(f"{V1}/me", headers={"cookie": f"{COOKIE}={cookie}"})).status_code

    assert [await status(former), await status(fresh)] == [200, 200]
    await ago("3 minutes")
    assert [await status(former), await status(fresh)] == [401, 200]


async def test_a_session_ends_with_its_token(open_site):
    site = await open_site(**ON)
    text = await site.token("operator", name="lent")
    assert (await site.http.post("/sign-in", json={"token": text})).status_code == 200
    admin = {"authorization": f"Bearer {await site.token('admin')}", "cookie": ""}
    assert (await site.http.delete(f"{V1}/tokens/lent", headers=admin)).status_code == 200
    assert (await site.http.get(f"{V1}/me")).status_code == 401


async def test_a_form_signs_in_and_goes_on_within_this_server(open_site):
    site = await open_site(**ON)
    text = await site.token()
    for asked, leads in (("/runs?status=FAILED", "/runs?status=FAILED"), ("//evil.example", "/")):
        answer = await site.http.post("/sign-in", data={"token": text, "next": asked})
        assert (answer.status_code, answer.headers["location"]) == (303, leads)
    answer = await site.http.post("/sign-in", data={"token": "no", "next": "/runs"})
    assert answer.headers["location"] == "/sign-in?failed=1&next=%2Fruns"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "javascript:alert(1)",
            "runs",
        ),
        *("/a\r\nset-cookie: x=y", "/\t/evil.example", "http:/evil.example", "/é", ""),
    ],
)
def test_nobody_is_sent_elsewhere_after_signing_in(text):
    assert local_path(text) == "/"


async def test_headers_of_a_request_do_not_get_into_the_answer_or_the_log_of_changes(open_site):
    site = await open_site(**ON)
    token = await site.token("admin")
    hostile = "x\r\nset-cookie: a=b"
    headers = {"authorization": f"Bearer {token}", "x-request-id": "a b <script>"}
    answer = await site.http.post(f"{V1}/tokens", json={"name": hostile, "role": "viewer"}, headers=headers)
    assert answer.status_code == 422
    answer = await site.http.post(f"{V1}/tokens", json={"name": "x", "role": "viewer"}, headers=headers)
    assert answer.status_code == 201
    (row,) = await site.audit(action="token.create", object="token/x")
    assert re.fullmatch("[0-9a-f]{32}", row["request_id"])


def test_a_secret_for_cookies_that_is_short_is_refused():
    with pytest.raises(Usage, match="SESSION_SECRET"):
        AppContext.of(None, None, Settings(session_secret="short"))


async def test_no_changing_route_of_the_api_is_taken_by_cookie_without_its_token_or_from_elsewhere(open_site):
    site = await open_site(**ON)
    me = await sign_in(site)
    own = {"x-csrf-token": me["csrf_token"]}
    asked = 0
    for path, methods, roles in declared_roles(site.app):
        if not path.startswith(V1) or least_role(roles) is None:
            continue
        for method in set(methods) - SAFE:
            where = re.sub(r"\{\w+(:\w+)?\}", "1", path)
            for headers in ({}, {"x-csrf-token": "guessed"}, own | {"origin": "https://evil.example"}):
                answer = await site.http.request(method, where, json={}, headers=headers)
                assert answer.status_code == 403, (method, path, headers)
                assert answer.json()["code"] in ("bad_csrf_token", "cross_site"), (method, path, headers)
            asked += 1
    assert asked >= 35
