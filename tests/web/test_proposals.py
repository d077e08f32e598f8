"""Proposals at the console, on a bare repository that others push to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from automata.project.source import Source
from automata.sync.reconcile import sync_once
from automata.web.side_by_side import MAX_LINES, Line, Row, rows
from tests.proposals.repo import Repo, text
from tests.web.conftest import OpenSite, Reader, Site, pages_on, read

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
FAILED_CASE = {
    "case": "c1",
    "name": f"pays {HOSTILE}",
    "flow": "orders",
    "file": "tests/orders.test.yaml",
    "line": 4,
    "passed": False,
    "problems": [
        {"where": "steps.say", "step": "say", "message": f"is {HOSTILE}", "expected": {"a": 1}, "actual": HOSTILE}
    ],
}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.made(tmp_path)


@pytest.fixture
def open_site(open_site: OpenSite, repo: Repo) -> OpenSite:
    """A site that follows `repo` and asks who is there; the author Ada asks."""

    async def opened(**settings: Any) -> Site:
        follows = {"repo": str(repo.bare), "data_dir": str(repo.bare.parent), "auth": "on"}
        site = await open_site(**follows, **settings)
        site.context.proposals.checker = passes
        await sync_once(site.db, Source(str(repo.bare)))
        await be(site, "author")
        return site

    return opened


async def passes(*_: Any) -> dict[str, Any]:
    return {"ok": True, "failed": [], "stages": []}


async def refuses(*_: Any) -> dict[str, Any]:
    report = {"diagnostics": [], "cases": [FAILED_CASE]}
    stage = {"name": "test", "state": "failed", "required": True, "summary": "1 of 1 case failed", "report": report}
    return {"ok": False, "failed": ["test"], "stages": [stage]}


async def be(site: Site, role: str) -> None:
    site.as_(await site.token(role, name=f"{role}-person"))


async def page(site: Site, path: str = "", status: int = 200) -> Reader:
    return read(await site.http.get(f"/proposals{path}"), status)


async def the_one(site: Site) -> str:
    """The path below /proposals of the proposal that there is."""
    (found,) = {link for link in (await page(site)).links() if link.startswith("/proposals/")}
    return found.removeprefix("/proposals")


async def send(site: Site, path: str, **fields: str) -> Reader:
    """Send a form; the page that it leads to."""
    answer = await site.http.post(f"/proposals{path}", data={"csrf_token": "", **fields})
    assert answer.status_code == 303, answer.text
    return read(await site.http.get(answer.headers["location"]))


async def checked(site: Site, one: str) -> Reader:
    await send(site, f"{one}/check")
    for job in list(site.context.proposals._jobs.values()):
        await job.task
    return await page(site, one)


async def test_a_branch_is_checked_approved_by_another_and_applied_with_every_reason_on_the_way(
    site: Site, repo: Repo
) -> None:
    await site.token("author", name="ada", mail="ada@example.com")  # who she is is known, so her commits are hers
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, off="main")

    one = await the_one(site)
    listed = await page(site)
    assert f"#{one[1:]} fix" in listed.text
    assert "draft" in listed.text
    assert "checks pending" in listed.text
    assert f"/proposals{one}" in listed.links()
    shown = await page(site, one)
    assert "Approving and applying take the role reviewer." in shown.text
    assert (await site.http.post(f"/proposals{one}/review", data={"verdict": "approve"})).status_code == 403
    assert "It waits for a review." in (await send(site, f"{one}/submit")).text
    assert "checks passed" in (await checked(site, one)).text

    await be(site, "reviewer")
    shown = await page(site, one)
    assert "It cannot be applied now: It needs 1 approval of exactly this, and has 0." in shown.text
    assert "It needs 1 approval of" in (await send(site, f"{one}/apply", head=head)).text
    assert "is at" in (await send(site, f"{one}/review", verdict="approve", head="0" * 40)).text
    answer = await send(site, f"{one}/review", verdict="approve", head=head, comment=f"fine {HOSTILE}")
    assert "Approved." in answer.text
    assert f"fine {HOSTILE}" in answer.text
    assert "Applied: main is at" in (await send(site, f"{one}/apply", head=head)).text
    assert "No open proposals" in (await page(site)).text
    assert "applied" in (await page(site, "?ended=1")).text
    assert "v2" in read(await site.http.get("/flows/orders")).text


async def test_who_wrote_it_is_told_why_they_cannot_approve_it(site: Site, repo: Repo) -> None:
    await be(site, "reviewer")
    content = {"flows/orders.yaml": text("orders", 3)}
    made = await site.http.post("/api/v1/proposals", json={"branch": "b", "files": content, "message": "mine"})
    assert made.status_code == 201, made.text
    one = f"/{made.json()['number']}"
    await send(site, f"{one}/submit")
    shown = await page(site, one)
    assert "You cannot approve it now: Who wrote, committed or co-authored" in shown.text
    assert "cannot approve it" in (await send(site, f"{one}/review", verdict="approve", head="")).text


async def test_what_it_means_names_the_change_and_whom_it_reaches(site: Site, repo: Repo) -> None:
    calling = {"id": "sub", "type": "flow", "config": {"flow": "orders"}}
    caller = text("caller").replace('"steps": [', f'"steps": [{calling!r},'.replace("'", '"'))
    repo.push("main", {"flows/caller.yaml": caller})
    needed = {"inputs": {"size": {"required": True}}}
    repo.push("fix", {"flows/orders.yaml": text("orders", 2, **needed), "flows/other.yaml": None}, off="main")

    one = await the_one(site)
    shown = await page(site, f"{one}/meaning")
    assert "breaking" in shown.text
    assert "/flows/caller" in shown.links()
    assert "Reaches now" in shown.text
    assert shown.all("script", type="application/json")


async def test_what_it_makes_of_the_policy_is_on_the_page(site: Site, repo: Repo) -> None:
    repo.push("lax", {"automata.yaml": "checks: {required: [], approvals: 0}\n"}, off="main")
    shown = await page(site, f"{await the_one(site)}/meaning")
    assert "people other than the author who must approve: 1 → 0" in shown.text
    assert "the stage `validate` decides about changes no more" in shown.text
    assert "No flow means anything else" not in shown.text


async def test_files_stand_side_by_side_and_nothing_in_them_is_markup(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", HOSTILE), "flows/new.yaml": text("new")}, off="main")

    one = await the_one(site)
    shown = await page(site, f"{one}/files")
    assert "<script>alert(1)" in shown.text.replace("\\", "")
    assert "new file" in shown.text
    assert shown.all("mark")


async def test_a_check_that_refuses_shows_what_its_cases_expected_and_found(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, off="main")

    one = await the_one(site)
    site.context.proposals.checker = refuses
    await send(site, f"{one}/submit")
    shown = await checked(site, one)
    assert f"pays {HOSTILE}" in shown.text
    assert "Expected" in shown.text
    assert "tests/orders.test.yaml:4" in shown.text
    assert "1 of 1 case failed" in shown.text


async def test_without_a_repository_a_page_says_so(database_url: str) -> None:
    async with pages_on(database_url) as site:
        assert "This server follows no repository" in (await page(site)).text


async def test_for_what_is_not_there_a_page_says_so(site: Site) -> None:
    await page(site, "/77", 404)
    await page(site, "/77/files", 404)
    await page(site, "/x", 422)


def test_lines_stand_beside_what_became_of_them() -> None:
    assert rows("a\nb = 1\nc", "a\nb = 22\nc\nd") == [
        Row("same", Line(1, "a"), Line(1, "a")),
        Row("changed", Line(2, "b = ", "1"), Line(2, "b = ", "22")),
        Row("same", Line(3, "c"), Line(3, "c")),
        Row("added", right=Line(4, "d")),
    ]
    assert rows(None, "x") == [Row("added", right=Line(1, "x"))]
    assert rows("x", "x") == []
    assert rows("", "\n" * MAX_LINES) is None
    assert [row.kind for row in rows("\n".join("abcdefgh"), "\n".join("abcdefgx")) or ()][:2] == ["gap", "same"]
    assert "\u202e" not in str(rows("a", "a\u202eb"))
