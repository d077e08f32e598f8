"""Where a run comes from, over REST: each way that a version comes to be is told as what it is."""

from __future__ import annotations

from uuid import UUID

from automata.store.proposals import AppliedMerge, Binding, add_check, add_review, open_proposal, set_applied

V1 = "/api/v1"
HEAD, MERGE = "a" * 40, "c" * 40  # the first is the commit of a flow that `git_flow` makes
BOUND = Binding(HEAD, "b" * 40, "d" * 40, "policy")
REPORT = {"failed": [], "stages": [{"name": "validate", "state": "passed", "summary": "1 flow", "report": {"x": 1}}]}


async def chain(site, flow):
    run = await site.run(flow)
    answer = await site.http.get(f"{V1}/runs/{run['id']}/provenance")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def proposed(site, source, *, by):
    """A proposal that was refused and approved once before, then applied."""
    async with site.db.transaction() as conn:
        row = await open_proposal(conn, source.id, "fix", head=HEAD, title="Fix", author="Ada <ada@example.com>")
        await add_check(conn, row.id, BOUND, passed=False, report={"failed": ["test"], "stages": []})
        await add_review(conn, row.id, BOUND, approved=True, by="Eve", comment="of another merge")
        check = await add_check(conn, row.id, BOUND, passed=True, report=REPORT)
        review = await add_review(conn, row.id, BOUND, approved=True, by="Bob", comment="looks right")
        said = (check.id, [review.id]) if by else (None, [])
        await set_applied(conn, row.id, AppliedMerge(MERGE, [MERGE, HEAD], by, *said))
    return row.number


async def test_a_run_leads_to_the_proposal_its_check_and_those_who_approved_what_was_merged(site):
    source = await site.git_flow()
    number = await proposed(site, source, by="Bob")
    told = await chain(site, "synced")
    assert (told["origin"], told["run"]["flow"], told["version"]["number"]) == ("proposal", "synced", 1)
    assert (told["commit"]["sha"], told["commit"]["source"]) == (HEAD, "https://example.com/flows.git")
    proposal = told["proposal"]
    assert (proposal["number"], proposal["author"]) == (number, "Ada <ada@example.com>")
    assert (proposal["merge_sha"], proposal["applied_by"]) == (MERGE, "Bob")
    assert [(one["by"], one["comment"]) for one in told["approvals"]] == [("Bob", "looks right")]
    assert told["check"]["passed"] is True
    assert told["check"]["stages"] == [{"name": "validate", "state": "passed", "summary": "1 flow"}]
    version = (await site.http.get(f"{V1}/flows/synced/versions/1")).json()["provenance"]
    assert version == {name: told[name] for name in ("origin", "means", "proposal", "check", "approvals")}
    (listed,) = (await site.http.get(f"{V1}/flows/synced/versions")).json()["items"]
    assert listed["provenance"] == version


async def test_what_came_without_a_proposal_or_a_commit_says_so(site):
    await site.flow()
    told = await chain(site, "orders")
    assert (told["origin"], told["commit"], told["proposal"], told["check"]) == ("api", None, None, None)
    assert "no commit" in told["means"]
    source = await site.git_flow()
    told = await chain(site, "synced")
    assert (told["origin"], told["commit"]["author"], told["approvals"]) == ("push", "Ada", [])
    assert "without a proposal" in told["means"]
    await proposed(site, source, by=None)
    told = await chain(site, "synced")
    assert (told["origin"], told["check"], told["approvals"]) == ("merge", None, [])
    for sha, origin in (
        (f"{HEAD}-dirty", "files"),
        ("working-tree", "files"),
        (f"{HEAD}-or-earlier", "earlier"),  # whose commits are not all known is not of the proposal that brought HEAD
    ):
        async with site.db.transaction() as conn:
            await conn.execute("UPDATE flow_versions SET commit_sha = %s WHERE commit_sha IS NOT NULL", [sha])
        told = await chain(site, "synced")
        assert (told["origin"], told["proposal"]) == (origin, None)


async def test_a_run_that_is_not_there_is_a_404(site):
    for run in (str(UUID(int=1)), "x", "'; DROP TABLE runs"):
        assert (await site.http.get(f"{V1}/runs/{run}/provenance")).status_code == 404
