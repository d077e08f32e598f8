"""Who gets in: every route, by every role, with every kind of token."""

from __future__ import annotations

import itertools
import re

import pytest
from fastapi import APIRouter

from automata.access.principal import Role
from automata.http.authorization import (
    check_every_route,
    declared_roles,
    least_role,
    needs,
    open_to_everybody,
    routes_within_limits,
)
from automata.store.tokens import revoke_token

V1 = "/api/v1"
ON = {"auth": "on", "failed_auth_per_min": 0, "rate_per_sec": 0, "anonymous_rate_per_sec": 0}
NOWHERE = "00000000-0000-4000-8000-000000000000"
OPEN_TO_ALL = {
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    ("/sign-in", "POST"),
    (f"{V1}/hooks/{{flow}}/{{trigger}}", "POST"),
    (f"{V1}/sync/hook", "POST"),
}
LEAST = {
    ("/metrics", "GET"): Role.VIEWER,
    ("/openapi.json", "GET"): Role.VIEWER,
    (f"{V1}/flows", "GET"): Role.VIEWER,
    (f"{V1}/flows", "POST"): Role.AUTHOR,
    (f"{V1}/flows/{{name}}", "PUT"): Role.AUTHOR,
    (f"{V1}/flows/{{name}}", "DELETE"): Role.AUTHOR,
    (f"{V1}/flows/{{name}}/runs", "POST"): Role.OPERATOR,
    (f"{V1}/runs/cancel", "POST"): Role.OPERATOR,
    (f"{V1}/runs/batch", "POST"): Role.OPERATOR,
    (f"{V1}/runs/{{run_id}}/retry", "POST"): Role.OPERATOR,
    (f"{V1}/dlq/{{letter_id}}/discard", "POST"): Role.OPERATOR,
    (f"{V1}/runs/{{run_id}}/approvals/{{step}}", "POST"): Role.OPERATOR,
    (f"{V1}/schedules/{{schedule_id}}/pause", "POST"): Role.OPERATOR,
    (f"{V1}/schedules/{{schedule_id}}", "DELETE"): Role.AUTHOR,
    (f"{V1}/tokens", "POST"): Role.ADMIN,
    (f"{V1}/audit", "GET"): Role.ADMIN,
}
# What a token that is limited by labels is never taken for, whatever its role.
WHOLE = ("/metrics", "/openapi.json", "/sync", "/proposals", "/tokens", "/audit", "/notifications", "/processes")


def routes(app):
    """(path, method, least role or None) of all there are."""
    return [
        (path, method, least_role(roles)) for path, methods, roles in declared_roles(app) for method in sorted(methods)
    ]


def address(path):
    """Something that can be asked, and is not there."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda part: NOWHERE if part[1].endswith("_id") else "nothing", path)


async def test_every_route_takes_its_role_and_no_other_and_only_a_token_that_is_good(open_site):
    """Every route by every role, with every kind of token: one that is good for all flows, one that is limited to some
    (an admin's cannot be), and each that is not good. `pytest -s` tells how many requests that are."""
    site = await open_site(**ON, metrics="viewers")
    good = {role: await site.token(role.word) for role in Role}
    limited = {role: await site.token(role.word, team="billing") for role in Role if role is not Role.ADMIN}
    keeps = routes_within_limits(site.app)
    dead = await site.token("admin", name="dead")
    async with site.db.connection() as conn:
        await conn.execute("UPDATE access_tokens SET revoked_at = now() WHERE name = 'dead'")
    bad = {
        None: None,
        "Bearer": "Bearer",
        "unknown": "Bearer atm_" + "x" * 43,
        "garbage": "Bearer ☃".encode(),
        "another scheme": "Basic YWRtaW46YWRtaW4=",
        "expired": f"Bearer {await site.token('admin', days=-1)}",
        "revoked": f"Bearer {dead}",
    }
    walked = 0
    for path, method, least in routes(site.app):
        url = address(path)
        walked += len(bad) + len(good) + len(limited)
        for state, header in bad.items():
            headers = {"authorization": header} if header else {}
            answer = await site.http.request(method, url, headers=headers)
            code = answer.json().get("code") if "json" in answer.headers.get("content-type", "") else None
            barred = answer.status_code == 401 and code in ("unauthenticated", "bad_token")
            if least is None:
                assert not barred, (method, url, state)
            else:
                assert barred, (method, url, state, answer.text)
                assert answer.headers["www-authenticate"].startswith("Bearer ")
        for role, text in good.items():
            answer = await site.http.request(method, url, headers={"authorization": f"Bearer {text}"})
            forbidden = answer.status_code == 403
            assert forbidden == (least is not None and role < least), (method, url, role, answer.text)
            assert answer.status_code < 500, (method, url, answer.text)
        for role, text in limited.items():
            answer = await site.http.request(method, url, headers={"authorization": f"Bearer {text}"})
            code = answer.json()["code"] if answer.status_code == 403 else None
            refused = None if least is None or (path, method) in keeps else "limited"
            assert code == ("forbidden" if least is not None and role < least else refused), (method, url, role)
    assert walked > 16 * 70
    states = len(bad) + len(good) + len(limited)
    print(f"\n{walked // states} routes x {states} (role, state of a token) = {walked} requests")


async def test_the_routes_take_what_the_documentation_says(open_site):
    site = await open_site(**ON)
    found = {(path, method): least for path, method, least in routes(site.app)}
    assert {key: found[key] for key in LEAST} == LEAST
    assert {key for key, least in found.items() if least is None} == OPEN_TO_ALL
    keeps = routes_within_limits(site.app)
    assert not [path for path, _ in keeps if any(word in path for word in WHOLE)]
    assert keeps.isdisjoint({(f"{V1}/flows", "POST"), (f"{V1}/flows/{{name}}", "PUT")})
    changing = {key: least for key, least in found.items() if key[1] != "GET" and least is not None}
    assert [key for key, least in changing.items() if least < Role.OPERATOR] == [("/sign-out", "POST")]


@pytest.mark.parametrize("given", [[], [open_to_everybody(), needs(Role.ADMIN)]])
async def test_an_application_with_a_route_that_does_not_say_whom_it_takes_is_not_built(site, given):
    router = APIRouter()
    router.add_api_route("/nobody/asked", lambda: None, dependencies=given)
    site.app.include_router(router)
    with pytest.raises(RuntimeError, match="/nobody/asked"):
        check_every_route(site.app)


async def test_a_mounted_application_is_not_built_in_either(site):
    site.app.mount("/other", lambda *_: None)
    with pytest.raises(RuntimeError, match="/other"):
        check_every_route(site.app)


async def test_unknown_expired_and_revoked_tokens_get_the_same_answer(open_site):
    site = await open_site(**ON)
    gone = await site.token("admin", name="gone")
    async with site.db.connection() as conn:
        await conn.execute("UPDATE access_tokens SET revoked_at = now() WHERE name = 'gone'")
    answers = []
    for text in (gone, await site.token(days=-1), "atm_" + "x" * 43, "atm_", "x" * 20_000, ""):
        answer = await site.http.get(f"{V1}/flows", headers={"authorization": f"Bearer {text}"})
        answers.append((answer.status_code, answer.content, answer.headers["www-authenticate"]))
    assert len(set(answers)) == 1
    assert answers[0][0] == 401


async def test_two_authorization_headers_are_none(open_site):
    site = await open_site(**ON)
    token = await site.token("admin")
    headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert (await site.http.get(f"{V1}/flows", headers=headers)).status_code == 401


async def test_a_revoked_token_is_refused_at_once_by_the_process_that_revoked_it_and_within_the_hold_by_others(
    open_site,
):
    site = await open_site(**ON)
    admin, other = await site.token("admin"), await site.token("viewer", name="other")
    site.as_(other)
    assert (await site.http.get(f"{V1}/flows")).status_code == 200
    async with site.db.connection() as conn:
        row = await conn.execute("SELECT id FROM access_tokens WHERE name = 'other'")
        await revoke_token(conn, (await row.fetchone())[0])
    assert (await site.http.get(f"{V1}/flows")).status_code == 200  # what was known holds for five seconds
    clock = itertools.count(10**9)
    site.authenticator.tokens._known._clock = lambda: next(clock)
    assert (await site.http.get(f"{V1}/flows")).status_code == 401

    site.as_(admin)
    made = (await site.http.post(f"{V1}/tokens", json={"name": "ci", "role": "operator"})).json()
    headers = {"authorization": f"Bearer {made['token']}"}
    assert (await site.http.get(f"{V1}/me", headers=headers)).json()["role"] == "operator"
    assert (await site.http.delete(f"{V1}/tokens/ci")).status_code == 200
    assert (await site.http.get(f"{V1}/me", headers=headers)).status_code == 401


async def test_a_good_token_costs_one_look_at_the_database_in_five_seconds(open_site):
    site = await open_site(**ON)
    site.as_(await site.token())
    looks = []
    read = site.authenticator.tokens._known._read

    async def counted(key):
        looks.append(key)
        return await read(key)

    site.authenticator.tokens._known._read = counted
    for _ in range(50):
        assert (await site.http.get(f"{V1}/me")).status_code == 200
    assert len(looks) == 1


async def test_where_nobody_has_to_say_who_they_are_everybody_is_the_local_admin(site):
    assert (await site.http.get(f"{V1}/me")).json()["role"] == "admin"
    site.as_("whatever")
    assert (await site.http.get(f"{V1}/me")).json()["name"] == "local"


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        (ON, 200),  # bound to loopback
        ({**ON, "metrics": "viewers"}, 401),
        ({"host": "0.0.0.0"}, 401),
        ({"host": "0.0.0.0", "metrics": "everybody"}, 200),
    ],
    ids=["loopback", "loopback for viewers", "every address", "every address for everybody"],
)
async def test_metrics_are_for_everybody_only_where_it_says_so(open_site, settings, status):
    site = await open_site(**settings)
    assert (await site.http.get("/metrics")).status_code == status
