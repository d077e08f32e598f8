"""Rules that hold for every page: its headers, its files, its errors, and what a form may do."""

from __future__ import annotations

import re

import pytest

from automata.web.page import CSP
from automata.web.templating import STATIC, short
from tests.web.conftest import Site, read

PAGES = ("/", "/?span=7d", "/flows", "/runs", "/dead-letters", "/approvals", "/schedules", "/sync", "/audit", "/tokens")
HOSTILE = "<script>alert(1)</script>"


async def test_every_page_forbids_what_is_inline_and_what_is_from_elsewhere(site: Site) -> None:
    await site.flow()
    for path in PAGES:
        answer = await site.http.get(path)
        read(answer)
        assert answer.headers["content-security-policy"] == CSP, path
        assert "unsafe" not in CSP
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


async def test_every_page_has_one_heading_a_title_and_a_way_past_the_menu(site: Site) -> None:
    for path in PAGES:
        page = read(await site.http.get(path))
        assert len(page.all("h1")) == 1, path
        assert page.all("html")[0]["lang"] == "en"
        assert page.link(class_="skip") == "#main"
        assert page.all("main", id="main")
        here = [one for one in page.all("a", class_="item") if "aria-current" in one]
        assert [one["href"] for one in here] == [path.partition("?")[0]]


async def test_files_are_kept_by_browsers_as_long_as_their_address_is_theirs(site: Site) -> None:
    page = read(await site.http.get("/"))
    sources = [one["src"] for one in page.all("script")] + [one["href"] for one in page.all("link")]
    for source in sources:
        answer = await site.http.get(source)
        assert answer.status_code == 200, source
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await site.http.get("/static/app.js")).headers["cache-control"] == "no-cache"
    assert (await site.http.get("/static/../app.py")).status_code == 404
    licences = await site.http.get("/static/THIRD-PARTY.txt")
    assert "htmx.org" in licences.text


async def test_a_page_of_a_list_loads_less_than_150_kb_of_script(site: Site) -> None:
    for path in PAGES:
        page = read(await site.http.get(path))
        names = [re.sub(r"\?.*", "", one["src"]).removeprefix("/static/") for one in page.all("script")]
        assert sum((STATIC / name).stat().st_size for name in names) < 150_000, path


async def test_an_address_that_is_not_there_is_a_page_for_people_and_a_problem_for_programs(site: Site) -> None:
    page = read(await site.http.get("/nowhere"), 404)
    assert "There is no page at this address" in page.text
    for path, accept in (("/nowhere", "application/json"), ("/api/v1/nowhere", "text/html")):
        answer = await site.http.get(path, headers={"accept": accept})
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
    answer = await site.http.delete("/runs")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_a_wrong_parameter_is_a_page_that_says_which(site: Site) -> None:
    page = read(await site.http.get("/runs?since=yesterday"), 422)
    assert "/query/since" in page.text
    page = read(await site.http.get("/runs?cursor=abc"), 422)
    assert "cursor" in page.text
    page = read(await site.http.get("/?span=99y"), 422)
    assert "/query/span" in page.text
    assert HOSTILE not in (await site.http.get("/runs", params={"cursor": HOSTILE})).text


async def test_a_form_of_another_site_changes_nothing(site: Site) -> None:
    await site.flow()
    run = await site.run()
    fields = {"run": run["id"], "action": "cancel"}
    answer = await site.http.post("/runs/selected", data=fields, headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    assert (await site.http.get(f"/api/v1/runs/{run['id']}")).json()["cancelling"] is False


async def test_what_was_done_is_said_once(site: Site) -> None:
    await site.flow()
    run = await site.run()
    answer = await site.http.post("/runs/selected", data={"run": run["id"], "action": "cancel"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")
    cookie = answer.headers["set-cookie"]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Max-Age=30"))
    page = read(await site.http.get("/runs"))
    assert "1 run asked to end." in page.text
    assert "asked to end" not in read(await site.http.get("/runs")).text


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ("69101a5eb8b3" + "0" * 28, "69101a5eb8"),
        ("69101a5eb8b3" + "0" * 28 + "-dirty", "69101a5eb8-dirty"),
        ("working-tree", "working-tree"),
        ("019b0c1e-7d3f-7c55-9a52-3f7f6a0a1c11", "3f7f6a0a1c11"),
    ],
)
def test_what_is_shown_of_an_id_does_not_make_a_working_tree_a_commit(identity: str, shown: str) -> None:
    assert short(identity) == shown
