"""One person cannot bring in a change of their own, whatever the commits say and whichever of their tokens they use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import V1, OpenSite, Site
from tests.proposals.repo import POLICY, Repo, text

URL = f"{V1}/proposals"
FILES = {"flows/orders.yaml": text("orders", 2)}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.made(tmp_path)


@pytest.fixture
async def site(open_site: OpenSite, repo: Repo) -> Site:
    """It asks who is there, and its checks pass."""
    site = await open_site(auth="on", repo=str(repo.bare), data_dir=str(repo.bare.parent))
    site.context.proposals.checker = passes
    return site


async def passes(*_: Any) -> dict[str, Any]:
    return {"ok": True, "failed": [], "stages": []}


async def person(site: Site, name: str, role: str = "reviewer", mail: str | None = None) -> str:
    """A token of somebody, with the mail NAME@example.com unless another is given."""
    return await site.token(role, name=name, mail=f"{name}@example.com" if mail is None else mail)


def without_mail(name: str) -> str:
    """What a token has for a mail that nobody gave one."""
    return f"{name}@automata"


async def submitted(site: Site, by: str) -> int:
    """The number of the one proposal, once `by` has asked for a review, and its check has passed."""
    site.as_(by)
    (one,) = (await site.http.get(URL)).json()["items"]
    assert (await site.http.post(f"{URL}/{one['number']}/submit")).status_code == 200
    assert (await site.http.post(f"{URL}/{one['number']}/sandbox?wait_sec=20")).status_code == 200
    return int(one["number"])


async def made(site: Site, by: str, branch: str = "fix") -> int:
    """A proposal made over REST, not yet submitted."""
    site.as_(by)
    answer = await site.http.post(URL, json={"branch": branch, "files": FILES, "message": "Fix"})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["number"])


async def approve(site: Site, number: int, by: str) -> httpx.Response:
    site.as_(by)
    head = (await site.http.get(f"{URL}/{number}")).json()["head_sha"]
    return await site.http.post(f"{URL}/{number}/approve", json={"head": head})


async def told(site: Site, number: int) -> tuple[str, int, int]:
    """(state, approvals needed, approvals there are)."""
    one = (await site.http.get(f"{URL}/{number}")).json()
    return one["state"], one["approvals"]["needed"], len(one["approvals"]["by"])


def commit_as(repo: Repo, author: str, mail: str, *, co_author: str = "") -> None:
    """A branch `fix`, pushed with git by whoever says so."""
    repo.push("fix", FILES, "main")
    message = "change" + (f"\n\nCo-authored-by: {co_author}" if co_author else "")
    identity = ["-c", f"user.name={author}", "-c", f"user.email={mail}"]
    repo.git(*identity, "commit", "-q", "--amend", "--reset-author", "-m", message)
    repo.git("push", "-q", "--force", str(repo.bare), "fix")


@pytest.mark.parametrize("mail", ["second@automata", "SECOND@Automata", "ada@localhost", "1234@oidc.invalid"])
async def test_a_token_whose_mail_nobody_gave_it_approves_nothing(site: Site, repo: Repo, mail: str) -> None:
    ada, second = await person(site, "ada"), await person(site, "second", mail=mail)
    repo.push("fix", FILES, "main")  # by ada@example.com
    number = await submitted(site, ada)
    answer = await approve(site, number, second)
    assert (answer.status_code, answer.json()["code"]) == (409, "no_identity")
    assert await told(site, number) == ("PENDING_REVIEW", 1, 0)
    assert (await site.http.post(f"{URL}/{number}/apply")).json()["code"] == "not_approved"
    assert (await site.http.post(f"{URL}/{number}/reject", json={"comment": "no"})).status_code == 200


async def test_who_submits_what_others_are_said_to_have_written_does_not_approve_it(site: Site, repo: Repo) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    commit_as(repo, "Nobody", "nobody@made.up")
    number = await submitted(site, ada)
    answer = await approve(site, number, ada)
    assert (answer.status_code, answer.json()["code"]) == (409, "own_proposal")
    await submitted(site, bob)
    assert (await approve(site, number, bob)).json()["code"] == "own_proposal"


@pytest.mark.parametrize("mail", ["bob@example.com", "BOB@example.com"])
async def test_who_submits_under_the_name_of_a_colleague_does_not_approve_it_either(
    site: Site, repo: Repo, mail: str
) -> None:
    ada = await person(site, "ada")
    await person(site, "bob")
    commit_as(repo, "Bob", mail)
    number = await submitted(site, ada)
    assert (await approve(site, number, ada)).json()["code"] == "own_proposal"


async def test_a_writer_whom_nobody_knows_costs_one_approval_more(site: Site, repo: Repo) -> None:
    ada, bob, carol = [await person(site, name) for name in ("ada", "bob", "carol")]
    commit_as(repo, "Nobody", "nobody@made.up")
    number = await submitted(site, carol)
    assert await told(site, number) == ("PENDING_REVIEW", 2, 0)
    assert (await approve(site, number, ada)).status_code == 200
    assert await told(site, number) == ("PENDING_REVIEW", 2, 1)
    refused = (await site.http.post(f"{URL}/{number}/apply")).json()
    assert refused["code"] == "not_approved"
    assert "nobody@made.up" in refused["hint"]
    assert (await approve(site, number, bob)).status_code == 200
    assert await told(site, number) == ("APPROVED", 2, 2)


async def test_each_unknown_writer_costs_one_and_a_token_makes_them_known(site: Site, repo: Repo) -> None:
    ada = await person(site, "ada")
    commit_as(repo, "Nobody", "nobody@made.up", co_author="Other <other@made.up>")
    number = await submitted(site, ada)
    one = (await site.http.get(f"{URL}/{number}")).json()
    assert one["unknown_writers"] == ["nobody@made.up", "other@made.up"]
    assert one["approvals"]["needed"] == 3
    await person(site, "nobody", "viewer", mail="Nobody@Made.Up")
    assert (await site.http.get(f"{URL}/{number}")).json()["unknown_writers"] == ["other@made.up"]


async def test_a_change_by_a_token_without_a_mail_needs_one_approval_more(site: Site) -> None:
    """Whoever holds it may hold another token, which has one."""
    bot = await person(site, "bot", "author", mail=without_mail("bot"))
    ada, bob = await person(site, "ada"), await person(site, "bob")
    number = await made(site, bot)
    await submitted(site, bot)
    assert await told(site, number) == ("PENDING_REVIEW", 2, 0)
    await approve(site, number, ada)
    assert await told(site, number) == ("PENDING_REVIEW", 2, 1)
    await approve(site, number, bob)
    assert await told(site, number) == ("APPROVED", 2, 2)


@pytest.mark.parametrize("act", ["create", "update", "submit"])
async def test_whoever_has_had_a_hand_in_it_is_known_by_the_token_in_a_session_too(site: Site, act: str) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    number = await made(site, ada if act == "create" else bob)
    site.as_(ada)
    if act == "update":
        files = {"flows/orders.yaml": text("orders", 9)}
        assert (await site.http.patch(f"{URL}/{number}", json={"files": files})).status_code == 200
    await submitted(site, ada if act == "submit" else bob)
    del site.http.headers["authorization"]
    csrf = (await site.http.post("/sign-in", json={"token": ada})).json()["csrf_token"]
    head = (await site.http.get(f"{URL}/{number}")).json()["head_sha"]
    answer = await site.http.post(f"{URL}/{number}/approve", json={"head": head}, headers={"x-csrf-token": csrf})
    assert (answer.status_code, answer.json()["code"]) == (409, "own_proposal")


async def test_another_title_makes_nobody_a_maker(site: Site, repo: Repo) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    number = await made(site, ada)
    await submitted(site, ada)
    site.as_(bob)
    assert (await site.http.patch(f"{URL}/{number}", json={"title": "Better"})).status_code == 200
    assert (await approve(site, number, bob)).json()["state"] == "APPROVED"


async def test_an_approval_of_who_becomes_a_maker_later_counts_no_more(site: Site) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    number = await made(site, ada)
    await submitted(site, ada)
    assert (await approve(site, number, bob)).json()["state"] == "APPROVED"
    await submitted(site, bob)
    assert await told(site, number) == ("PENDING_REVIEW", 1, 0)


async def test_two_tokens_of_one_mail_are_one_approver(site: Site, repo: Repo) -> None:
    repo.push("main", {"automata.yaml": POLICY.replace("approvals: 1", "approvals: 2")})
    ada, bob = await person(site, "ada"), await person(site, "bob")
    phone = await person(site, "bobs-phone", mail="Bob@Example.com")
    number = await made(site, ada)
    await submitted(site, ada)
    for token in (bob, phone):
        assert (await approve(site, number, token)).status_code == 200
    assert await told(site, number) == ("PENDING_REVIEW", 2, 1)


async def test_where_nobody_is_asked_who_they_are_an_approval_names_somebody(open_site: OpenSite, repo: Repo) -> None:
    site = await open_site(repo=str(repo.bare), data_dir=str(repo.bare.parent))
    repo.push("fix", FILES, "main")
    (one,) = (await site.http.get(URL)).json()["items"]
    here, head = f"{URL}/{one['number']}", one["head_sha"]
    assert (await site.http.post(f"{here}/submit")).status_code == 200
    for claim, code in (
        ({}, "no_identity"),
        ({"as": "Bob"}, "no_identity"),
        ({"as": "A <ada@example.com>"}, "own_proposal"),
    ):
        answer = await site.http.post(f"{here}/approve", json={"head": head, **claim})
        assert (answer.status_code, answer.json()["code"]) == (409, code)
    answer = await site.http.post(f"{here}/approve", json={"head": head, "as": "Bob <bob@example.com>"})
    assert answer.status_code == 200, answer.text


# --- the head that was looked at -------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", [None, "", "HEAD", "main", "abcdef", "g" * 40, "A" * 40])
async def test_an_approval_names_a_head(site: Site, head: str | None) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    number = await made(site, ada)
    await submitted(site, ada)
    site.as_(bob)
    body = {} if head is None else {"head": head}
    answer = await site.http.post(f"{URL}/{number}/approve", json=body)
    assert answer.status_code == 422, answer.text
    assert await told(site, number) == ("PENDING_REVIEW", 1, 0)


@pytest.mark.parametrize("act", ["approve", "reject", "apply"])
async def test_another_head_than_the_one_that_was_looked_at_is_refused(site: Site, repo: Repo, act: str) -> None:
    ada, bob = await person(site, "ada"), await person(site, "bob")
    repo.push("fix", FILES, "main")
    number = await submitted(site, ada)
    looked = (await site.http.get(f"{URL}/{number}")).json()["head_sha"]
    head = repo.push("fix", {"flows/orders.yaml": text("orders", "evil")})
    if act == "apply":
        assert (await approve(site, number, bob)).status_code in (200, 409)
    site.as_(bob)
    answer = await site.http.post(f"{URL}/{number}/{act}", json={"head": looked})
    assert (answer.status_code, answer.json()["code"]) == (409, "head_moved"), answer.text
    assert (await site.http.post(f"{URL}/{number}/approve", json={"head": head[:7]})).status_code == 200
    applied = await site.http.post(f"{URL}/{number}/apply", json={"head": head})
    assert applied.json()["state"] == "APPLIED", applied.text
