"""The pages of admins: tokens, and the log of changes."""

from __future__ import annotations

import re
from typing import Any

from automata.access.principal import Role
from automata.http.authorization import declared_roles, least_role
from automata.store.audit import Actor, AuditEvent, record_change_by
from tests.web.conftest import OpenSite, Site, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
TEXT = re.compile(r"atm_[A-Za-z0-9_-]{20,}")


async def tokens(site: Site) -> dict[str, dict[str, Any]]:
    items = (await site.http.get("/api/v1/tokens?revoked=true")).json()["items"]
    return {one["name"]: one for one in items}


async def test_a_token_is_shown_once_lets_in_and_is_taken_back(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    admin = await site.token("admin", name="root")
    site.as_(admin)
    fields = {
        "name": "ci",
        "role": "author",
        "mail": "ci@example.com",
        "labels": "team=shop tier=one",
        "days": "30",
    }
    answer = await site.http.post("/tokens", data=fields)
    page = read(answer, 201)
    assert answer.headers["cache-control"] == "no-store"
    (text,) = set(TEXT.findall(page.text))
    for path in ("/tokens", "/tokens?revoked=true", "/tokens/new", "/audit"):
        assert text not in (await site.http.get(path)).text, path
    made = (await tokens(site))["ci"]
    assert (made["role"], made["mail"], made["labels"]) == (
        "author",
        "ci@example.com",
        {"team": "shop", "tier": "one"},
    )
    assert made["created_by"] == "root"
    listed = read(await site.http.get("/tokens"))
    assert "ci@example.com" in listed.text
    assert "team=shop" in listed.text

    answer = await site.http.post(f"/tokens/{made['id']}/rotate", data={"back": ""})
    (other,) = set(TEXT.findall(read(answer).text))
    assert other != text
    for given, status in ((text, 401), (other, 403)):  # limited by labels: it sees no list of tokens
        answer = await site.http.get("/api/v1/tokens", headers={"authorization": f"Bearer {given}"})
        assert answer.status_code == status
    answer = await site.http.post(f"/tokens/{made['id']}/revoke", data={"back": ""})
    assert answer.headers["location"] == "/tokens"
    page = read(await site.http.get("/tokens"))
    assert "The token ci is revoked." in page.text
    assert f"/tokens/{made['id']}/revoke" not in {one.get("action") for one in page.all("form")}
    assert "revoked" in read(await site.http.get("/tokens?revoked=true")).text
    await site.http.post(f"/tokens/{made['id']}/rotate", data={"back": ""})
    assert "The token was revoked." in read(await site.http.get("/tokens")).text
    read(await site.http.post("/tokens/nobody/revoke", data={"back": ""}), 404)


async def test_what_is_wrong_with_a_new_token_stands_at_its_field(site: Site) -> None:
    good = {"name": "ci", "role": "viewer", "mail": "", "labels": "", "days": "90"}
    read(await site.http.post("/tokens", data=good), 201)
    for changes, field, status in (
        ({"name": HOSTILE}, "name", 422),
        ({"name": ""}, "name", 422),
        ({"name": "other", "days": "many"}, "days", 422),
        ({"name": "other", "days": "367"}, "days", 422),
        ({"name": "other", "labels": "team"}, "labels", 422),
        ({"name": "other", "role": "king"}, "role", 422),
        ({"name": "other", "mail": "no mail"}, "mail", 422),
        ({"name": "other", "role": "admin", "labels": "team=shop"}, "", 400),
        ({}, "", 409),
    ):
        answer = await site.http.post("/tokens", data={**good, **changes})
        page = read(answer, status)
        wrong = [one["name"] for _, one in page.elements if one.get("aria-invalid") == "true"]
        assert wrong == ([field] if field else []), changes
        assert page.all("input", name="name")[0]["value"] == {**good, **changes}["name"]
        assert page.all("div", role="alert"), changes
        assert not TEXT.findall(answer.text)
    assert list(await tokens(site)) == ["ci"]


async def test_the_log_tells_who_changed_what_with_what_was_there_before(site: Site) -> None:
    marker = f"ada-{id(site)}"  # the log cannot be emptied between tests
    actor = Actor(marker, "operator", None, "192.0.2.7", "request-1")
    async with site.db.transaction() as conn:
        await record_change_by(
            conn, actor, AuditEvent("flow.change", "flow/orders", {"is": f"old {HOSTILE}"}, {"is": "new"})
        )
        await record_change_by(conn, actor, AuditEvent("flow.drop", "flow/stock", {"password": "hidden-pass"}, None))
        await record_change_by(conn, actor, AuditEvent("run.cancel", f"odd/{HOSTILE}", None, None))
    everything = f"/audit?actor={marker}"
    page = read(await site.http.get(everything))
    for words in ("old </script><script>alert(1)", "192.0.2.7", "operator", f"odd/{HOSTILE}", "before and after"):
        assert words in page.text, words
    assert "hidden-pass" not in page.text
    assert "/flows/orders" in page.links()
    for query, shown in (
        ("&action=flow.", ["flow.drop", "flow.change"]),
        ("&action=flow.drop", ["flow.drop"]),
        ("&object=flow/orders", ["flow.change"]),
        ("&until=2001-01-01T00:00", []),
        ("&action=&object=&since=&until=", ["run.cancel", "flow.drop", "flow.change"]),
    ):
        page = read(await site.http.get(everything + query))
        rows = [link.partition("action=")[2] for link in page.links() if link.startswith("/audit?action=")]
        assert rows == shown, query
    assert "No change is like that" in read(await site.http.get("/audit?actor=nobody-at-all")).text
    follow = read(await site.http.get(f"{everything}&limit=2")).link(rel="next")
    assert follow
    assert "flow.change" in read(await site.http.get(follow)).text


async def test_nobody_but_an_admin_sees_these_pages_or_their_entries_in_the_menu(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    site.as_(await site.token("reviewer"))
    assert not {"/audit", "/tokens"} & set(read(await site.http.get("/")).links())
    for path in ("/audit", "/tokens", "/tokens/new"):
        read(await site.http.get(path), 403)
    read(await site.http.post("/tokens", data={"name": "x", "role": "admin", "days": "1"}), 403)
    read(await site.http.post("/tokens/x/revoke", data={"back": ""}), 403)
    site.as_(await site.token("admin"))
    assert {"/audit", "/tokens"} <= set(read(await site.http.get("/")).links())


def deeds(site: Site) -> list[tuple[str, Role]]:
    """Every address of the console that a form is sent to, with the least role that it takes."""
    found = [
        (re.sub(r"\{\w+(:\w+)?\}", "nothing", path), least_role(roles))
        for path, methods, roles in declared_roles(site.app)
        if "POST" in methods and not path.startswith("/api/")
    ]
    return [(path, role) for path, role in found if role is not None]


async def test_no_form_of_the_console_is_taken_without_its_token_or_from_elsewhere(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    text = await site.token("admin")
    await site.http.post("/sign-in", data={"token": text, "next": "/"})
    paths = [path for path, _ in deeds(site)]
    assert len(paths) >= 20
    for path in paths:
        for headers in ({}, {"x-csrf-token": "guessed"}, {"origin": "https://evil.example"}):
            answer = await site.http.post(path, data={"run": "x"}, headers=headers)
            assert answer.status_code == 403, (path, headers)


async def test_every_form_of_the_console_takes_its_role(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    good = {role: await site.token(role.word) for role in Role}
    for path, least in deeds(site):
        site.as_(good[least])
        answer = await site.http.post(path, data={"run": "x"})
        assert answer.status_code != 403, (path, least)
        if least > Role.VIEWER:
            site.as_(good[Role(least - 1)])
            read(await site.http.post(path, data={"run": "x"}), 403)


async def test_a_session_s_forms_carry_its_token_and_are_refused_without_it(open_site: OpenSite) -> None:
    site = await open_site(auth="on")
    text = await site.token("admin", name="root")
    signed = await site.http.post("/sign-in", data={"token": text, "next": "/tokens/new"})
    assert signed.headers["location"] == "/tokens/new"
    for path in ("/tokens/new", "/schedules", "/dead-letters", "/approvals", "/sync", "/runs"):
        page = read(await site.http.get(path))
        forms = [one for one in page.all("form") if one.get("method") == "post"]
        assert len(page.all("input", name="csrf_token")) == len(forms), path
    fields = {"name": "ci", "role": "viewer", "days": "9"}
    read(await site.http.post("/tokens", data=fields), 403)
    csrf = page.all("input", name="csrf_token")[0]["value"]
    read(await site.http.post("/tokens", data={**fields, "csrf_token": csrf}), 201)
