"""Proposals that came into their base by other commits than their own: by a squash, a rebase, or by hand."""

from __future__ import annotations

import pytest

from automata.errors import Refused
from automata.project.source import Source
from automata.proposals import reader
from automata.services.sync_controller import Controller, Pace
from automata.store import proposals as store
from automata.sync.reconcile import sync_once
from tests.git.served import TOKEN, USER, serving
from tests.proposals.repo import Repo, text
from tests.proposals.site import Site


@pytest.mark.parametrize("how", ["squash", "rebase", "by hand", "changed since", "changed beside"])
@pytest.mark.parametrize("gone", [False, True], ids=["there", "deleted"])
async def test_what_came_in_by_other_commits_is_applied_and_keeps_its_provenance(
    site: Site, repo: Repo, how: str, gone: bool
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.push("fix", {"flows/stock.yaml": text("stock", 2)})
    session = await site.session()
    await session.submit("fix")
    repo.push("main", {"flows/other.yaml": text("other", 2)})
    before = repo.git("rev-parse", "main")
    if how == "rebase":
        repo.git("cherry-pick", "main..fix")
    elif how == "by hand":
        repo.push("main", {"flows/orders.yaml": text("orders", 2), "flows/stock.yaml": text("stock", 2)})
    else:
        repo.git("merge", "-q", "--squash", "fix")
        repo.git("commit", "-q", "-m", "Fix (#7)")
    landed = repo.git("rev-parse", "main")
    if how == "changed since":
        repo.push("main", {"flows/orders.yaml": text("orders", 3)})
    if how == "changed beside":
        repo.push("main", {"flows/more.yaml": text("more")})
    repo.git("push", "-q", str(repo.bare), "main")
    if gone:
        repo.git("push", "-q", str(repo.bare), ":fix")
    await sync_once(site.db, site.source)
    (one,) = await (await site.session()).survey(ended=True)
    assert (one.row.state, one.row.merge_sha) == ("APPLIED", landed)
    brought = repo.git("rev-list", f"{before}..{landed}").split()
    assert await site.value("SELECT commits FROM proposals") == brought
    assert await (await site.session()).survey() == []
    if how != "changed since":
        assert (await site.origin(brought[0])).proposal == one.row.number


@pytest.mark.parametrize("way", ["--squash", "--no-ff"])
async def test_the_controller_notices_what_came_in_though_nobody_looks(site: Site, repo: Repo, way: str) -> None:
    controller = Controller(site.db, site.source, Pace())
    await controller.run_once()
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", way, *([] if way == "--squash" else ["-m", "by hand"]), "fix")
    if way == "--squash":
        repo.git("commit", "-q", "-m", "Fix (#7)")
    repo.git("push", "-q", str(repo.bare), "main")
    await controller.run_once()
    assert await site.value("SELECT state FROM proposals") == "APPLIED"
    commit = await site.value("SELECT commit_sha FROM flow_versions WHERE number = 2")
    assert (await site.origin(commit)).proposal == await site.value("SELECT number FROM proposals")


@pytest.mark.parametrize("how", ["other", "half", "taken back"])
async def test_what_came_in_by_half_or_was_taken_back_is_still_open(site: Site, repo: Repo, how: str) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.push("fix", {"flows/stock.yaml": text("stock", 2)})
    await (await site.session()).submit("fix")
    if how == "other":
        repo.push("main", {"flows/other.yaml": text("other", 2)})
    else:
        repo.push("main", {"flows/orders.yaml": text("orders", 2)})
    if how == "taken back":
        repo.push("main", {"flows/stock.yaml": text("stock", 2)})
        repo.push("main", {"flows/stock.yaml": text("stock"), "flows/orders.yaml": text("orders")})
    (one,) = await (await site.session()).survey()
    assert (one.row.state, one.behind, one.trouble) == ("PENDING_REVIEW", True, None)


async def test_every_proposal_is_listed_however_many_branches_there_are(
    site: Site, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names say nothing: those of the branches that are no proposals come first."""
    for number in range(7):
        repo.push(f"z{number}", {"flows/orders.yaml": text("orders", number + 5)}, "main")
    repo.git("checkout", "-q", "main")
    for number in range(20):
        repo.git("push", "-q", str(repo.bare), f"main:refs/heads/a{number}")
    monkeypatch.setattr(store, "MAX_PROPOSALS", 5)
    proposals = await (await site.session()).survey_all()
    assert sorted(proposal.row.branch for proposal in proposals) == [f"z{number}" for number in range(7)]
    monkeypatch.setattr(reader, "MAX_BRANCHES", 1)
    repo.push("b", {"flows/orders.yaml": text("orders", 50)}, "main")
    assert "b" in {proposal.row.branch for proposal in await (await site.session()).survey_all()}


NO_MERGES = """#!/bin/sh
test "$1" != refs/heads/main || test "$(git rev-list --merges --count "$2..$3")" = 0 || exit 1
"""
NOTHING = "#!/bin/sh\necho 'main is \033[31mfrozen\033[0m until Monday' >&2\nexit 1\n"


@pytest.mark.parametrize(("hook", "moves"), [(NO_MERGES, True), (NOTHING, False)], ids=["no merges", "nothing"])
async def test_a_remote_that_takes_no_merge_commit_is_given_one_with_the_same_tree(
    site: Site, repo: Repo, hook: str, moves: bool
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    head = repo.push("fix", {"flows/stock.yaml": text("stock", 2)})
    before = repo.push("main", {"flows/other.yaml": text("other", 2)})
    place = repo.bare / "hooks/update"
    place.write_text(hook)
    place.chmod(0o755)
    with serving(repo.bare.parent) as server:
        url = server.url.replace("//", f"//{USER}:{TOKEN}@")
        site.source = Source(f"{url}/flows.git", mirrors=repo.bare.parent / "mirrors")
        session = await site.approved("fix")
        if not moves:
            with pytest.raises(Refused) as told:
                await session.apply("fix")
            assert "frozen" in told.value.message
            assert "\x1b" not in told.value.message
            assert (told.value.code, (await session.find("fix")).state) == ("push_refused", "APPROVED")
            return
        applied, _ = await session.apply("fix")
    repo.pull()
    assert repo.git("rev-list", "--parents", "-1", "main").split() == [applied.row.merge_sha, before]
    assert repo.git("log", "-1", "--format=%an %cn", "main") == "Ada Bob"
    assert repo.git("diff", "--name-only", f"{before}..main").split() == ["flows/orders.yaml", "flows/stock.yaml"]
    origin = await site.origin(repo.git("rev-parse", "main"))
    assert (origin.proposal, origin.check["passed"], len(origin.approvals)) == (applied.row.number, True, 1)
    assert (applied.state, applied.row.head_sha) == ("APPLIED", head)


async def test_a_squash_of_what_was_checked_keeps_the_check_and_the_approvals(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--squash", "fix")
    repo.git("commit", "-q", "-m", "Fix (#7)")
    repo.git("push", "-q", str(repo.bare), "main")
    await sync_once(site.db, site.source)
    await (await site.session()).survey()
    origin = await site.origin(repo.git("rev-parse", "main"))
    assert origin.check["passed"]
    assert [said["by"] for said in origin.approvals] == ["Bob <bob@example.com>"]
