"""Proposals whose pull requests are on GitHub, and what a GitHub in trouble does to them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from automata.errors import Conflict, Missing, Refused, Unavailable, Usage
from automata.project.source import Source
from automata.proposals.forges.factory import forge_of
from automata.proposals.forges.github import MAX_ANSWER_BYTES, GitHub
from automata.proposals.forges.policy import CHECK, tell_check, tell_sync
from automata.proposals.lifecycle import ProposalSession
from automata.report.markdown import MARKER
from automata.services.sync_controller import Controller, Pace
from automata.settings import Settings
from tests.proposals.forges.github_double import NAME, OWNER, TOKEN, GitHubDouble
from tests.proposals.repo import Repo, text
from tests.proposals.site import ADA, Site

REPO = f"{OWNER}/{NAME}"


@asynccontextmanager
async def forge(repo: Repo, **more: Any) -> AsyncIterator[tuple[GitHubDouble, GitHub, list[float]]]:
    double, slept = GitHubDouble(repo.bare, **more), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with double.running() as url:
        yield double, GitHub(url, REPO, TOKEN, sleep=sleep), slept
    assert double.wrong == [], "what the documentation does not know was sent"


OpenForge = Callable[..., Awaitable[tuple[GitHubDouble, GitHub, list[float]]]]


@pytest.fixture
async def open_forge(repo: Repo) -> AsyncIterator[OpenForge]:
    """Call it for a GitHub with `repo`, a client of it, and how long that one waited; it ends with the test."""
    async with AsyncExitStack() as stack:
        yield lambda **more: stack.enter_async_context(forge(repo, **more))


def limited(status: int, **headers: str) -> web.Response:
    return web.json_response({"message": "You have exceeded a secondary rate limit"}, status=status, headers=headers)


# --- the whole life -------------------------------------------------------------------------------------------------


async def test_a_proposal_is_a_pull_request_that_others_approve_and_github_merges(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(
            site.db, site.source, ADA, site.checker, forge=github, page="https://a.example/p/"
        )
        await session.create("fix", {"flows/orders.yaml": text("orders", 2).encode()}, "Fix the orders", None)
        await session.submit("fix")
        await session.submit("fix")
        (pull,) = double.pulls.values()
        assert (pull["branch"], pull["base"], pull["title"]) == ("fix", "main", "Fix the orders")
        assert "https://a.example/p/1" in pull["body"]
        one, _ = await session.check("fix")
        assert double.statuses[-1] == {
            "sha": one.head,
            "context": CHECK,
            "state": "success",
            "description": "validate, plan, test and replay: passed",
            "target_url": "https://a.example/p/1",
        }
        with pytest.raises(Refused) as told:
            await session.review("fix", approve=True, comment="")
        assert told.value.code == "on_the_forge"
        with pytest.raises(Refused, match="approval"):
            await session.apply("fix")

        double.review(1, "bob")
        assert (await session.find("fix")).state == "APPROVED"
        applied, report = await session.apply("fix", head=one.head)
        assert report.status == "synced"
        assert applied.state == "APPLIED"
        assert applied.row.merge_sha == double.pulls[1]["merged"]
        kept = await site.origin(one.head)
        assert [one["by"] for one in kept.approvals] == ["bob <bob@users.noreply.github.com>"]
        assert kept.check is not None
        assert await session.find("1") == applied


async def test_who_has_no_say_on_github(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")  # by ada@example.com
        number = double.opened("fix", login="carol")
        await session.submit("fix")
        before = repo.git("rev-parse", "fix~1")

        async def approvers() -> list[str]:
            return [one.partition(" ")[0] for one in (await session.find("fix")).approvers]

        for login in ("ada", "ADA", "carol", "mallory"):  # wrote it, opened it, may not write
            double.review(number, login)
            assert await approvers() == [], login
        double.review(number, "bob", commit=before)  # of another commit
        assert await approvers() == []
        double.review(number, "bob")
        assert await approvers() == ["bob"]
        double.review(number, "bob", "COMMENTED")
        assert await approvers() == ["bob"]
        double.review(number, "bob", "DISMISSED")
        assert await approvers() == []
        double.review(number, "bob", "APPROVED")
        double.review(number, "bob", "CHANGES_REQUESTED")
        assert await approvers() == []
        double.review(number, "bob", "APPROVED")
        repo.push("fix", {"flows/orders.yaml": text("orders", 3)})
        assert await approvers() == []


async def test_a_co_author_by_the_mail_that_github_gives_has_no_say(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        repo.git("commit", "-q", "--amend", "-m", "x\n\nCo-authored-by: Bob <12+Bob@users.noreply.github.com>")
        repo.git("push", "-q", "--force", str(repo.bare), "fix")
        double.review(double.opened("fix"), "bob")
        await session.submit("fix")
        assert (await session.find("fix")).approvers == []
        double.review(1, "carol")
        assert (await session.find("fix")).approvers == ["carol <carol@users.noreply.github.com>"]


async def test_a_push_behind_the_check_is_not_merged(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        double.review(double.opened("fix"), "bob")
        await session.check("fix")
        await session.submit("fix")

        async def pushed(request: web.Request) -> web.StreamResponse:
            repo.push("fix", {"flows/orders.yaml": text("orders", 66)})
            return await double._route(request)

        double.fail("PUT", "/merge", pushed)
        with pytest.raises(Conflict) as told:
            await session.apply("fix")
        assert (told.value.code, told.value.exit_code) == ("head_moved", 6)
        assert double.pulls[1]["merged"] is None


async def test_what_came_into_the_base_beside_it_takes_the_check_from_the_merge(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        double.review(double.opened("fix"), "bob")
        await session.check("fix")
        await session.submit("fix")

        async def beside(request: web.Request) -> web.StreamResponse:
            repo.push("main", {"flows/other.yaml": text("other", 9)})
            return await double._route(request)

        double.fail("PUT", "/merge", beside)
        head = (await session.find("fix")).head
        applied, _ = await session.apply("fix")
        assert applied.state == "APPLIED"
        assert (await site.origin(head)).check is None


async def test_a_closed_proposal_closes_its_pull_request(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        await session.submit("fix")
        assert (await session.close("fix")).state == "CLOSED"
        assert double.pulls[1]["state"] == "closed"


async def test_a_github_that_is_away_costs_no_check(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        for _ in range(4):
            double.fail("POST", "/statuses/", web.json_response({"message": "oops"}, status=502))
        one, _ = await session.check("fix")
        assert one.checks == "passed"
        assert double.statuses == []


async def test_the_controller_tells_once_what_became_of_each_commit(site: Site, repo: Repo) -> None:
    async with forge(repo) as (double, github, _):
        controller = Controller(site.db, site.source, Pace(60), github)
        for _ in range(3):
            await controller.run_once()
        good = repo.git("rev-parse", "main")
        bad = repo.push("main", {"flows/orders.yaml": "name: [", "flows/other.yaml": text("other", 2)})
        for _ in range(3):
            await controller.run_once()
        told = [(one["sha"], one["context"], one["state"]) for one in double.statuses]
        assert told == [(good, "automata/sync/prod", "success"), (bad, "automata/sync/prod", "failure")]
        assert len(double.statuses[1]["description"]) <= 140


# --- telling --------------------------------------------------------------------------------------------------------


def report(*summaries: str) -> dict[str, Any]:
    stages = [{"name": "test", "state": "failed", "required": True, "summary": one, "took_sec": 0.1, "report": None}
              for one in summaries]  # fmt: skip
    return {
        "ok": False,
        "failed": ["test"],
        "stages": stages,
        "base": "a" * 40,
        "head": "b" * 40,
        "environment": "prod",
    }


@pytest.mark.parametrize("is_app", [False, True], ids=["a person's token", "an app's token"])
async def test_there_is_one_comment_and_it_is_ours(repo: Repo, is_app: bool, open_forge: OpenForge) -> None:
    double, github, _ = await open_forge(is_app=is_app, page=2)
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    double.opened("fix")
    forged = {"id": 1, "issue": 1, "body": f"{MARKER}\nhi", "user": {"login": "mallory", "type": "User"}}
    double.comments = {1: forged, **{2 + n: {**forged, "id": 2 + n, "body": "talk"} for n in range(5)}}
    pull = await github.find_pull("fix", "main")
    assert pull is not None
    for word in ("first", "second", "third"):
        await tell_check(github, pull.head, pull, report(word), "")
    ours = [one for one in double.comments.values() if one["user"]["login"] != "mallory"]
    assert len(ours) == 1
    assert "third" in ours[0]["body"]
    assert double.comments[1]["body"].endswith("hi")
    assert [one["state"] for one in double.statuses] == ["failure"] * 3


async def test_a_comment_and_a_description_fit_what_github_takes(repo: Repo, open_forge: OpenForge) -> None:
    double, github, _ = await open_forge()
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    double.opened("fix")
    pull = await github.find_pull("fix", "main")
    await tell_check(github, head, pull, report(*["long " * 1_000] * 50), "")
    await tell_sync(github, head, "prod", Refused("no " * 200))
    assert len(double.statuses) == 2
    assert double.statuses[-1]["context"] == "automata/sync/prod"
    assert double.statuses[-1]["state"] == "failure"
    assert len(double.comments) == 1


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "error", "code", "slept"),
    [
        (limited(403, **{"Retry-After": "3"}), None, "", [3.0]),
        (limited(429, **{"Retry-After": "2"}), None, "", [2.0]),
        (limited(429), Unavailable, "forge_limit", []),
        (limited(403, **{"Retry-After": "3600"}), Unavailable, "forge_limit", []),
        (limited(403), Refused, "forge_forbidden", []),
        (web.Response(status=502, text="<html>"), None, "", [0.5]),
        (web.Response(status=301, headers={"Location": "http://127.0.0.1:1/"}), Refused, "forge_moved", []),
        (web.Response(status=200, text="{"), None, "", [0.5]),
        (web.Response(status=200, body=b"[" + b" " * MAX_ANSWER_BYTES + b"]"), None, "", [0.5]),
        (web.json_response([{"number": "x"}]), Unavailable, "forge_odd", []),
        (web.json_response({"message": "Not Found"}, status=404), Missing, "forge_missing", []),
    ],
)
async def test_what_github_says_in_trouble(
    open_forge: OpenForge, answer: Any, error: Any, code: str, slept: list[float]
) -> None:
    double, github, waits = await open_forge()
    double.fail("GET", "/pulls", answer)
    if error is None:
        assert await github.find_pull("fix", "main") is None
    else:
        with pytest.raises(error) as told:
            await github.find_pull("fix", "main")
        assert told.value.code == code
        assert TOKEN not in str(told.value)
    assert waits == slept


async def test_an_empty_budget_is_waited_for_when_it_is_short(open_forge: OpenForge) -> None:
    double, github, waits = await open_forge()
    reset = str(int(time.time()) + 5)
    double.fail("GET", "/pulls", limited(403, **{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}))
    assert await github.find_pull("fix", "main") is None
    assert len(waits) == 1
    assert 3 <= waits[0] <= 5


async def test_it_is_asked_a_few_times_and_no_more(open_forge: OpenForge) -> None:
    double, github, waits = await open_forge()
    for _ in range(9):
        double.fail("GET", "/pulls", web.json_response({"message": "x"}, status=503))
    with pytest.raises(Unavailable):
        await github.find_pull("fix", "main")
    assert (len(double.asked), waits) == (4, [0.5, 1.0, 2.0])


async def test_a_lost_answer_makes_nothing_twice(repo: Repo, open_forge: OpenForge) -> None:
    double, github, _ = await open_forge()
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    double.fail("POST", "/pulls", "lost")
    pull = await github.open_pull("fix", "main", "Fix", "")
    assert len(double.pulls) == 1
    double.fail("POST", "/comments", "lost")
    await github.comment(pull, MARKER, f"{MARKER} hello")
    assert len(double.comments) == 1
    double.fail("PUT", "/merge", "lost")
    assert await github.merge(pull, head, "Merge", "") == double.pulls[1]["merged"]
    assert [method for method, path in double.asked if path.endswith("/merge")] == ["PUT"]


async def test_a_merge_that_was_not_made_is_not_said_to_be(repo: Repo, open_forge: OpenForge) -> None:
    double, github, _ = await open_forge()
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    pull = await github.open_pull("fix", "main", "Fix", "")
    double.fail("PUT", "/merge", web.json_response({"message": "x"}, status=500))
    with pytest.raises(Unavailable):
        await github.merge(pull, head, "Merge", "")
    assert double.pulls[1]["merged"] is None
    repo.push("main", {"flows/orders.yaml": text("orders", 5)})
    with pytest.raises(Refused, match="merge conflicts") as told:
        await github.merge(pull, head, "Merge", "")
    assert told.value.code == "not_mergeable"


async def test_a_pull_request_of_more_commits_than_github_tells_is_not_judged(
    repo: Repo, open_forge: OpenForge
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    commit = "commit refs/heads/fix\ncommitter A <a@b> %d +0000\ndata 1\nx\n"
    many = commit % 0 + "from refs/heads/fix^0\n" + "".join(commit % n for n in range(1, 260))
    subprocess.run(["git", "-C", str(repo.bare), "fast-import", "--quiet"], input=many, text=True, check=True)

    double, github, _ = await open_forge()
    double.opened("fix")
    pull = await github.find_pull("fix", "main")
    assert pull is not None
    with pytest.raises(Refused) as told:
        await github.reviews(pull)
    assert told.value.code == "too_many_commits"


async def test_a_list_without_an_end_and_one_that_leads_elsewhere_are_given_up(
    repo: Repo, open_forge: OpenForge
) -> None:
    double, github, _ = await open_forge()
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    double.opened("fix")
    pull = await github.find_pull("fix", "main")
    assert pull is not None
    double.comments = {n: {"id": n, "issue": 1, "body": "talk", "user": {"login": "eve"}} for n in range(40)}
    double.page = 1
    with pytest.raises(Unavailable, match="over 30 pages"):
        await github.comment(pull, MARKER, "x")
    away = web.json_response([], headers={"Link": '<http://127.0.0.1:1/x>; rel="next"'})
    double.fail("GET", "/comments", away)
    with pytest.raises(Unavailable, match="elsewhere"):
        await github.comment(pull, MARKER, "x")


async def test_a_wrong_token_is_said_and_nowhere_shown(open_forge: OpenForge) -> None:
    double, _, _ = await open_forge()
    wrong = GitHub(double._url, REPO, "ghp_wrong")
    with pytest.raises(Refused) as told:
        await wrong.find_pull("fix", "main")
    assert told.value.code == "forge_token"
    assert "ghp_wrong" not in str(told.value)


@pytest.mark.parametrize(
    ("api", "repo"),
    [
        ("http://api.github.com", REPO),
        ("https://user:pw@api.github.com", REPO),
        ("ftp://api.github.com", REPO),
        ("https://api.github.com", "acme"),
        ("https://api.github.com", "acme/.."),
        ("https://api.github.com", "acme/flows/../../user"),
        ("https://api.github.com", "acme/flows?x=1"),
    ],
)
def test_settings_that_cannot_be_are_refused(api: str, repo: str) -> None:
    with pytest.raises(Usage):
        GitHub(api, repo, TOKEN)


def test_the_forge_is_that_of_the_settings_own_repository() -> None:
    url = "https://github.com/acme/flows.git"
    settings = Settings(repo=url, github_repo=REPO, github_token=TOKEN)
    assert forge_of(settings, Source(url)) is not None
    assert forge_of(settings, Source("https://github.com/acme/other.git")) is None
    assert forge_of(Settings(repo=url), Source(url)) is None
    with pytest.raises(Usage, match="AUTOMATA_GITHUB_TOKEN"):
        forge_of(Settings(repo=url, github_repo=REPO), Source(url))
    assert TOKEN not in repr(settings)
