"""How GitHub merges a proposal, by what the repository allows."""

from __future__ import annotations

import pytest
from aiohttp import web

from automata.errors import Refused
from automata.proposals.lifecycle import ProposalSession
from tests.proposals.forges.github_double import forge
from tests.proposals.repo import Repo, text
from tests.proposals.site import ADA, Site


@pytest.mark.parametrize(
    "methods", [{"squash"}, {"rebase"}, {"squash", "rebase"}], ids=lambda names: "+".join(sorted(names))
)
async def test_where_merge_commits_are_forbidden_it_is_squashed_or_rebased(
    site: Site, repo: Repo, methods: set[str]
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.push("fix", {"flows/stock.yaml": text("stock", 2)})
    before = repo.git("rev-parse", "main")
    async with forge(repo, methods=methods) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        await session.submit("fix")
        double.review(1, "bob")
        applied, report = await session.apply("fix")
        assert (applied.state, applied.row.merge_sha, report.status) == ("APPLIED", double.pulls[1]["merged"], "synced")
    repo.pull()
    brought = repo.git("rev-list", f"{before}..main").split()
    assert len(brought) == (1 if "squash" in methods else 2)
    assert (await site.origin(brought[0])).proposal == applied.row.number
    assert (await site.origin(brought[0])).check is not None


async def test_a_base_with_a_merge_queue_says_so_and_the_proposal_is_applied_once_it_is_merged(
    site: Site, repo: Repo
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    async with forge(repo, queue=True) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        await session.submit("fix")
        double.review(1, "bob")
        with pytest.raises(Refused) as told:
            await session.apply("fix")
        assert told.value.code == "merge_queue"
        assert double.pulls[1]["state"] == "open"
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--squash", "fix")
    repo.git("commit", "-q", "-m", "from the queue")
    repo.git("push", "-q", str(repo.bare), "main")
    assert (await (await site.session()).find("fix")).state == "APPLIED"


async def test_a_merge_that_is_refused_for_another_reason_is_not_tried_in_another_way(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    async with forge(repo, methods={"merge", "squash"}) as (double, github, _):
        session = await ProposalSession.open(site.db, site.source, ADA, site.checker, forge=github)
        await session.submit("fix")
        double.review(1, "bob")
        double.fail("PUT", "/merge", web.json_response({"message": "Required status check is expected."}, status=405))
        with pytest.raises(Refused) as told:
            await session.apply("fix")
        assert told.value.code == "not_mergeable"
        assert [way for way in double.asked if way[0] == "PUT"] == [("PUT", "/repos/acme/flows/pulls/1/merge")]
