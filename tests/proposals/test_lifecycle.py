"""A proposal from its first push to its merge, on real branches and a real database."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Conflict, Invalid, Missing, Refused, Usage
from automata.git.branches import Person
from automata.project.source import Source
from automata.proposals import lifecycle
from automata.proposals.check_process import run, run_check
from automata.proposals.lifecycle import ProposalSession
from automata.store import proposals as store
from automata.store.database import Database
from automata.sync.reconcile import sync_once
from tests.amounts import times
from tests.git.served import TOKEN, USER, serving
from tests.proposals.repo import POLICY, Repo, text
from tests.proposals.site import ADA, BOB, EVE, OpenSite, Site

ROUNDS = times(12)
HTTP_ROUNDS = times(3)  # each takes a second


async def test_a_branch_that_changes_flows_is_a_proposal_and_others_are_none(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.git("push", "-q", str(repo.bare), "main:same")
    (one,) = await (await site.session()).survey()
    assert (one.row.branch, one.state, one.row.author) == ("fix", "DRAFT", "Ada <ada@example.com>")
    assert (one.paths, one.conditions) == (("flows/orders.yaml",), ["checks: pending"])
    (again,) = await (await site.session()).survey()
    assert again.row.id == one.row.id


async def test_the_whole_way_to_a_version_that_says_where_it_came_from(site: Site, repo: Repo) -> None:
    await sync_once(site.db, site.source)
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.approved("fix")
    one, synced = await session.apply("fix")
    assert (one.state, synced.status) == ("APPLIED", "synced")
    assert one.row.ended_by == "Bob <bob@example.com>"
    repo.pull()
    assert repo.git("rev-parse", "main") == one.row.merge_sha == synced.sha
    assert repo.git("log", "-1", "--format=%P").split()[1] == head
    message = repo.git("log", "-1", "--format=%B")
    assert f"Proposal: {one.row.id}" in message
    assert "Approved-by: Bob <bob@example.com>" in message
    assert (await site.origin(head)).proposal == one.row.number
    assert (one.checks, one.approvers) == ("passed", ["Bob <bob@example.com>"]), "what it was applied on stays"
    with pytest.raises(Conflict):
        await session.apply("fix")


async def test_a_push_drops_what_was_said_of_another_commit(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.push("fix", {"flows/orders.yaml": text("orders", 3)})
    session = await site.session()
    one = await session.find("fix")
    assert (one.state, one.checks, one.approvers) == ("PENDING_REVIEW", "stale", [])
    with pytest.raises(Refused, match="needs 1 approval"):
        await session.apply("fix")


@pytest.mark.parametrize(
    ("moved", "holds"),
    [
        ({"flows/other.yaml": text("other", 9)}, True),
        ({"docs/x.md": "x"}, True),
        ({"flows/stock.yaml": text("stock", 9)}, False),
        ({"automata.yaml": POLICY + "# moved\n"}, False),
        ({"tests/mocks/a.yaml": "mocks: []\n"}, False),
    ],
    ids=["another flow", "no flow", "a flow that it calls", "policy", "mocks"],
)
async def test_a_base_that_moved_matters_only_where_it_is_related(
    site: Site, repo: Repo, moved: dict[str, str], holds: bool
) -> None:
    calls = {"id": "c", "type": "flow", "config": {"flow": "stock"}}
    repo.push("main", {"flows/orders.yaml": text("orders", steps=[calls])})
    repo.push("fix", {"flows/orders.yaml": text("orders", steps=[calls, {**calls, "id": "d"}])}, "main")
    await site.approved("fix")
    repo.push("main", moved)
    one = await (await site.session()).find("fix")
    assert one.behind
    assert (one.checks, bool(one.approvers)) == (("passed", True) if holds else ("stale", False))
    if holds:
        await (await site.session()).apply("fix")
        assert len(site.checker.asked) == 2, "what is merged is checked as it is, whatever was said before"


async def test_the_author_has_no_say_and_nobody_counts_twice(site: Site, repo: Repo) -> None:
    repo.push("main", {"automata.yaml": POLICY.replace("approvals: 1", "approvals: 2")})
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.session()
    with pytest.raises(Conflict, match="draft"):
        await session.review("fix", approve=True, comment="")
    await session.submit("fix")
    await session.check("fix")
    with pytest.raises(Refused) as told:
        await (await site.session(Person("Somebody", "ADA@example.com"))).review("fix", approve=True, comment="")
    assert told.value.code == "own_proposal"
    for _ in range(2):
        one = await session.review("fix", approve=True, comment="")
    assert (one.state, one.approvers) == ("PENDING_REVIEW", ["Bob <bob@example.com>"])
    one = await (await site.session(EVE)).review("fix", approve=True, comment="yes")
    assert one.state == "APPROVED"


async def test_a_branch_cannot_lower_what_the_base_asks_for(site: Site, repo: Repo) -> None:
    repo.push("fix", {"automata.yaml": "checks: {required: [], approvals: 0}\n"}, "main")
    session = await site.session()
    await session.submit("fix")
    with pytest.raises(Refused) as told:
        await session.apply("fix")
    assert told.value.code == "not_approved"


async def test_what_the_check_refuses_is_not_merged_and_its_reason_is_kept(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    site.checker.ok = False
    session = await site.session()
    await session.submit("fix")
    await session.review("fix", approve=True, comment="")
    with pytest.raises(Refused, match="refuses it, by test"):
        await session.apply("fix")
    one = await session.find("fix")
    assert (one.checks, one.state) == ("failed", "PENDING_REVIEW")
    assert one.check is not None
    assert one.check.report["failed"] == ["test"]
    repo.pull()
    assert "change fix" not in repo.git("log", "--format=%s")


async def test_a_conflict_names_its_files(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.push("main", {"flows/orders.yaml": text("orders", 3)})
    session = await site.session()
    await session.submit("fix")
    one = await session.find("fix")
    assert one.conditions == ["checks: pending", "conflicted: flows/orders.yaml", "behind"]
    for act in (session.apply("fix"), session.check("fix"), session.review("fix", approve=True, comment="")):
        with pytest.raises(Conflict) as told:
            await act
        assert told.value.details == {"files": ["flows/orders.yaml"]}


async def test_a_merge_that_somebody_else_made_is_seen(site: Site, repo: Repo) -> None:
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.session()
    await session.submit("fix")
    repo.git("checkout", "-q", "main")
    repo.git("merge", "-q", "--no-ff", "-m", "by hand", "fix")
    repo.git("push", "-q", str(repo.bare), "main")
    await sync_once(site.db, site.source)
    (one,) = await (await site.session()).survey(ended=True)
    assert (one.row.state, one.row.merge_sha) == ("APPLIED", repo.git("rev-parse", "main"))
    origin = await site.origin(head)
    assert (origin.proposal, origin.applied_by, origin.check, origin.approvals) == (
        one.row.number,
        None,
        None,
        None,
    )


async def test_an_apply_that_died_behind_its_move_is_finished_by_who_looks_next(
    site: Site, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.approved("fix")

    async def dies(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(lifecycle.ProposalSession, "_record", dies)
        with pytest.raises(ZeroDivisionError):
            await session.apply("fix")
    assert await site.value("SELECT state FROM proposals") == "PENDING_REVIEW"
    await sync_once(site.db, site.source)
    (one,) = await (await site.session()).survey(ended=True)
    assert one.row.state == "APPLIED"
    origin = await site.origin(head)
    assert (origin.proposal, origin.check["passed"]) == (one.row.number, True)
    assert [said["by"] for said in origin.approvals] == ["Bob <bob@example.com>"]


async def test_no_ends_it_and_another_push_is_a_new_one(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.session()
    await session.submit("fix")
    one = await session.review("fix", approve=False, comment="no")
    assert one.state == "REJECTED"
    assert await session.survey() == []
    for act in (session.submit("fix"), session.apply("fix"), session.close("fix")):
        with pytest.raises(Conflict):
            await act
    repo.push("fix", {"flows/orders.yaml": text("orders", 3)})
    (new,) = await (await site.session()).survey()
    assert new.row.number > one.row.number
    assert (await (await site.session()).close("fix")).state == "CLOSED"


async def test_a_proposal_can_be_made_and_changed_without_git(site: Site, repo: Repo) -> None:
    session = await site.session(ADA)
    one = await session.create("new", {"flows/orders.yaml": text("orders", 2).encode()}, "Two\n\nwhy", None)
    assert (one.row.title, one.row.author, one.state) == ("Two", "Ada <ada@example.com>", "DRAFT")
    two = await session.update(str(one.row.number), {"flows/other.yaml": None}, None, "Another title")
    assert (two.row.title, two.paths) == ("Another title", ("flows/orders.yaml", "flows/other.yaml"))
    assert two.head != one.head
    assert "+" in await session.difference("new")
    with pytest.raises(Conflict):
        await session.create("new", {"x": b"1"}, "Again", None)
    with pytest.raises(Usage):
        await session.create("main", {"x": b"1"}, "Main", None)
    with pytest.raises(Invalid):
        await session.update("new", {}, None, " ")


async def test_what_is_gone_is_said(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await (await site.session()).survey()
    repo.git("push", "-q", str(repo.bare), ":fix")
    session = await site.session()
    assert (await session.find("fix")).conditions == ["the branch is gone"]
    with pytest.raises(Missing, match="is gone"):
        await session.apply("fix")
    with pytest.raises(Missing) as told:
        await session.find("nothing")
    assert told.value.exit_code == 3
    repo.git("push", "-q", str(repo.bare), "main:next")
    repo.git("--git-dir", str(repo.bare), "symbolic-ref", "HEAD", "refs/heads/next")
    repo.git("push", "-q", str(repo.bare), ":main")
    with pytest.raises(Missing):
        await ProposalSession.open(site.db, Source(str(repo.bare), branch="main"), BOB)


async def test_of_two_processes_that_apply_what_conflicts_exactly_one_wins_every_time(
    fresh_database_url: str, repo: Repo
) -> None:
    losers = await _races(repo, fresh_database_url, str(repo.bare), ROUNDS)
    assert "branch_moved" in losers, "they must have met at the branch itself at least once"


async def test_of_two_machines_that_apply_over_http_exactly_one_wins_every_time(
    fresh_database_url: str, repo: Repo
) -> None:
    with serving(repo.bare.parent) as server:
        url = server.url.replace("//", f"//{USER}:{TOKEN}@")
        losers = await _races(repo, fresh_database_url, f"{url}/flows.git", HTTP_ROUNDS)
    print(f"applied over http: {HTTP_ROUNDS} of {HTTP_ROUNDS} times by one of two, {sorted(losers)}")


async def _races(repo: Repo, url: str, address: str, rounds: int) -> set[str]:
    """What the losers were told."""
    command = [sys.executable, "-m", "tests.proposals.racer", url, address]
    root = str(Path(__file__).parents[2])
    repo.push("main", {"automata.yaml": "checks: {required: [validate]}\n"})
    racers = [
        subprocess.Popen(
            [*command, str(repo.bare.parent / f"mirrors-{side}")],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        for side in "ab"
    ]
    source = Source(address, mirrors=repo.bare.parent / "mirrors")
    try:
        assert [_said(racer) for racer in racers] == ["ready", "ready"]
        ends = [await _race(repo, url, source, racers, number) for number in range(rounds)]
    finally:
        for racer in racers:
            racer.communicate("", timeout=20)
    assert [end.count("applied") for end in ends] == [1] * rounds
    losers = {said for end in ends for said in end if said != "applied"}
    assert losers <= {"branch_moved", "conflicted"}
    repo.pull()
    assert len(repo.git("log", "--merges", "--format=%h").split()) == rounds
    return losers


async def _race(repo: Repo, url: str, source: Source, racers: list[Any], number: int) -> list[str]:
    repo.pull()
    branches = [f"{side}-{number}" for side in "ab"]
    for side, branch in enumerate(branches):
        repo.push(branch, {"flows/orders.yaml": text("orders", [number, side])}, "main")
    async with await Database.open(url, max_size=1) as db:
        session = await ProposalSession.open(db, source, BOB)
        for branch in branches:
            await session.submit(branch)
    for racer, branch in zip(racers, branches, strict=True):
        racer.stdin.write(f"{branch}\n")
    return [_said(racer) for racer in racers]


def _said(racer: Any) -> str:
    line = racer.stdout.readline().strip()
    assert line, "the racer died"
    return str(line)


async def test_the_real_check_of_a_merge_runs_apart_and_refuses_what_is_wrong(open_site: OpenSite, repo: Repo) -> None:
    site = await open_site(run_check)
    repo.push("good", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.push("bad", {"flows/stock.yaml": text("stock", "{{ steps.none.outputs }}")}, "main")
    session = await site.session()
    _, passed = await session.check("good")
    assert passed.passed, passed.report
    assert passed.report["base"] == session.base.sha
    _, refused = await session.check("bad")
    assert not refused.passed
    assert refused.report["failed"] == ["validate"]


async def test_a_check_that_hangs_or_breaks_off_says_nothing_about_the_proposal(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"within 0\.3 s"):
        await run((sys.executable, "-c", "import time; time.sleep(60)"), str(tmp_path), 0.3)
    with pytest.raises(Usage, match="is not a folder"):
        await run_check(tmp_path / "none", "", "prod", "a" * 40, "b" * 40)


async def test_a_check_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOMATA_SECRET_TOKEN", "s3cr3t")
    monkeypatch.setenv("AUTOMATA_DATABASE_URL", "postgresql://secret")
    code, out, _ = await run((sys.executable, "-c", "import os; print(dict(os.environ))"), str(tmp_path), 20)
    assert code == 0
    assert b"s3cr3t" not in out
    assert b"AUTOMATA" not in out


def test_the_states_are_those_of_the_table() -> None:
    assert {*store.OPEN, *store.ENDED} == {"DRAFT", "PENDING_REVIEW", "APPLIED", "REJECTED", "CLOSED"}
