"""Editing a flow's file at the console, on a bare repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from automata.project.source import Source
from automata.sync.reconcile import sync_once
from tests.proposals.repo import Repo
from tests.web.conftest import OpenSite, Reader, Site, read

HOSTILE = "</textarea></script><script>alert(1)</script>"
TEXT = f"""# Kept as it was written.  {HOSTILE}
name:   orders   # with its spaces

steps:
- {{id: say, type: transform, config: {{mappings: {{value: 1}}}}}}
"""
CHANGED = TEXT.replace("value: 1", "value: 2")
EDIT = "/flows/orders/edit"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo.made(tmp_path)
    made.push("main", {"flows/orders.yaml": TEXT})
    return made


@pytest.fixture
def open_site(open_site: OpenSite, repo: Repo) -> OpenSite:
    """A site that follows `repo` and asks who is there; an author asks."""

    async def opened(**settings: Any) -> Site:
        follows = {"repo": str(repo.bare), "data_dir": str(repo.bare.parent), "auth": "on"}
        site = await open_site(**follows, **settings)
        site.context.proposals.checker = passes
        await sync_once(site.db, Source(str(repo.bare)))
        site.as_(await site.token("author", name="ada", mail="ada@example.com"))
        return site

    return opened


async def passes(*_: Any) -> dict[str, Any]:
    return {"ok": True, "failed": [], "stages": []}


async def fields(site: Site, **given: str) -> dict[str, str]:
    """What the form sends when somebody typed `given`."""
    page = read(await site.http.get(EDIT))
    (was,) = page.all("input", name="was")
    return {"was": was["value"], "content": CHANGED, "message": "Say two", **given}


async def refused(site: Site, status: int, **given: str) -> Reader:
    """The page that shows the form again, with what was typed still in it."""
    sent = await fields(site, **given)
    page = read(await site.http.post(EDIT, data=sent), status)
    assert sent["content"] in "".join(page.texts)
    assert (await site.http.get("/api/v1/proposals")).json()["items"] == []
    return page


def written(repo: Repo, number: int) -> bytes:
    branches = repo.git("ls-remote", "--heads", str(repo.bare)).split()
    (branch,) = (name for name in branches if name.startswith("refs/heads/proposal/"))
    repo.git("fetch", "-q", str(repo.bare), branch)
    return repo.git("show", "FETCH_HEAD:flows/orders.yaml").encode() + b"\n"


async def test_what_is_saved_is_a_proposal_of_exactly_what_was_typed(site: Site, repo: Repo) -> None:
    page = read(await site.http.get(EDIT))
    assert TEXT in "".join(page.texts)
    assert EDIT in read(await site.http.get("/flows/orders")).links()
    # Browsers end the lines of a form with both characters.
    sent = await fields(site, content=CHANGED.replace("\n", "\r\n"), review="1")
    answer = await site.http.post(EDIT, data=sent)
    assert answer.status_code == 303, answer.text
    number = int(re.fullmatch(r"/proposals/(\d+)", answer.headers["location"])[1])  # type: ignore[index]
    for job in list(site.context.proposals._jobs.values()):
        await job.task
    one = (await site.http.get(f"/api/v1/proposals/{number}")).json()
    assert (one["title"], one["state"], one["checks"]) == ("Say two", "PENDING_REVIEW", "passed")
    assert one["author"] == "ada <ada@example.com>"
    assert written(repo, number) == CHANGED.encode()


async def test_a_file_keeps_its_line_ends(site: Site, repo: Repo) -> None:
    repo.push("main", {"flows/orders.yaml": None})
    (repo.work / "flows/orders.yaml").write_bytes(TEXT.replace("\n", "\r\n").encode())
    repo.push("main", {})

    await site.http.post(EDIT, data=await fields(site, content=CHANGED.replace("\n", "\r\n")))
    (one,) = (await site.http.get("/api/v1/proposals")).json()["items"]
    assert (one["state"], one["checks"]) == ("DRAFT", "pending")
    (pair,) = (await site.http.get(f"/api/v1/proposals/{one['number']}/files")).json()["items"]
    assert pair["head"] == CHANGED.replace("\n", "\r\n")


async def test_what_is_wrong_is_said_beside_what_was_typed(site: Site) -> None:
    page = await refused(site, 422, content=CHANGED.replace("transform", "transfrom"))
    assert "Line 5:" in page.text
    assert "Say what the change is for" in (await refused(site, 422, message=" ")).text
    other = CHANGED.replace("orders ", "others ")
    assert "It names the flow 'others'" in (await refused(site, 422, content=other)).text
    assert "Nothing differs" in (await refused(site, 422, content=TEXT)).text
    assert "has changed since you began" in (await refused(site, 409, was="0" * 64)).text


async def test_the_text_so_far_is_checked_as_it_is_typed(site: Site) -> None:
    answer = await site.http.post("/edit/check", data={"content": CHANGED})
    assert answer.json() == {"diagnostics": []}
    answer = await site.http.post("/edit/check", data={"content": CHANGED.replace("transform", "transfrom")})
    (one,) = answer.json()["diagnostics"]
    assert (one["line"], one["severity"]) == (5, "error")
    assert "transform" in one["message"]
    answer = await site.http.post("/edit/check", data={"content": "a: [" * 2000})
    assert answer.json()["diagnostics"]


async def test_only_authors_edit_and_only_what_is_in_the_repository(site: Site) -> None:
    await site.flow("by-api")
    read(await site.http.get("/flows/by-api/edit"), 404)
    site.as_(await site.token("operator"))
    read(await site.http.get(EDIT), 403)
    assert (await site.http.post(EDIT, data={"content": CHANGED})).status_code == 403
    assert EDIT not in read(await site.http.get("/flows/orders")).links()
