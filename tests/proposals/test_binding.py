"""What a check and an approval are of, who may give one, and what the base alone decides."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from automata.errors import Conflict, Refused, Unavailable, Usage
from automata.git import branches
from automata.git.branches import Person
from automata.proposals import check_process, lifecycle
from automata.proposals.check_process import run_check
from tests.proposals.repo import POLICY, Repo, text
from tests.proposals.site import ADA, BOB, EVE, Site


async def test_who_looked_at_another_commit_neither_approves_nor_applies(site: Site, repo: Repo) -> None:
    looked = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await (await site.session()).submit("fix")
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 3)})
    session = await site.session()
    with pytest.raises(Conflict) as told:
        await session.review("fix", approve=True, comment="", head=looked[:12])
    assert (told.value.code, told.value.exit_code) == ("head_moved", 6)
    await session.review("fix", approve=True, comment="", head=head[:7])
    for given, error in ((looked, Conflict), ("HEAD", Usage), (head[:6], Usage), (head.upper(), Usage)):
        with pytest.raises(error):
            await session.apply("fix", head=given)
    assert (await session.apply("fix", head=head))[0].state == "APPLIED"


async def test_an_approval_before_a_push_between_the_look_and_the_apply_is_none(site: Site, repo: Repo) -> None:
    """Force-pushed to what nobody has seen, and back to where it was: only what was approved counts."""
    seen = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.push("fix", {"flows/orders.yaml": text("orders", "evil")}, "main")
    with pytest.raises(Refused) as told:
        await (await site.session()).apply("fix")
    assert told.value.code == "not_approved"
    repo.git("push", "-q", "--force", str(repo.bare), f"{seen}:fix")
    one, _ = await (await site.session()).apply("fix")
    repo.pull()
    assert one.row.merge_sha == repo.git("rev-parse", "main")
    assert '"value": 2' in (repo.work / "flows/orders.yaml").read_text()


async def test_a_policy_that_changed_on_the_base_drops_what_was_said(site: Site, repo: Repo) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.push("main", {"automata.yaml": "checks: {required: [validate, plan], approvals: 1}\n"})
    one = await (await site.session()).find("fix")
    assert (one.checks, one.approvers, one.state) == ("stale", [], "PENDING_REVIEW")
    with pytest.raises(Refused) as told:
        await (await site.session()).apply("fix")
    assert told.value.code == "not_approved"


async def test_a_policy_that_nobody_can_read_lets_nothing_in(site: Site, repo: Repo) -> None:
    """What it falls back to would ask for less than it did."""
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await site.approved("fix")
    repo.push("main", {"automata.yaml": "checks: {approvals: many}\n"})
    session = await site.session()
    for act in (session.apply("fix"), session.review("fix", approve=True, comment=""), session.check("fix")):
        with pytest.raises(Refused) as told:
            await act
        assert (told.value.code, told.value.exit_code) == ("policy_unreadable", 5)
    assert (await session.find("fix")).state == "PENDING_REVIEW"
    assert (await session.review("fix", approve=False, comment="no")).state == "REJECTED"


async def test_a_branch_that_changes_the_policy_is_judged_by_the_old_one_until_it_is_merged(
    site: Site, repo: Repo
) -> None:
    lax = {"automata.yaml": "checks: {required: [], approvals: 0}\n", "flows/orders.yaml": text("orders", 2)}
    repo.push("lax", lax, "main")
    repo.push("next", {"flows/stock.yaml": text("stock", 2)}, "main")
    session = await site.session()
    one = await session.submit("lax")
    assert (one.base.approvals, one.state) == (1, "PENDING_REVIEW")
    site.checker.ok = False
    await session.review("lax", approve=True, comment="")
    with pytest.raises(Refused, match="refuses it"):
        await session.apply("lax")
    repo.push("lax", {"docs/x": "again"})
    site.checker.ok = True
    await (await site.approved("lax")).apply("lax")
    assert (await (await site.session()).submit("next")).base.approvals == 0


SPELLED = [
    "Bob <BOB@Example.com>",
    "Robert B. <bob@example.com>",
    "bob@example.com <bob@example.com>",
    "B <\uff42ob@example.com>",
]


async def test_one_person_under_several_spellings_is_one_approver(site: Site, repo: Repo) -> None:
    repo.push("main", {"automata.yaml": POLICY.replace("approvals: 1", "approvals: 2")})
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    await (await site.session()).submit("fix")
    await (await site.session()).check("fix")
    for who in SPELLED:
        one = await (await site.session(Person.read(who))).review("fix", approve=True, comment="")
        assert (one.state, len(one.approvers)) == ("PENDING_REVIEW", 1)
    with pytest.raises(Refused, match="needs 2 approvals of exactly this, and has 1"):
        await (await site.session()).apply("fix")


@pytest.mark.parametrize("how", ["author", "committer", "co-author", "an older commit", "a merge of another branch"])
async def test_who_had_a_hand_in_it_cannot_approve_it(site: Site, repo: Repo, how: str) -> None:
    """And who did so after approving loses the approval with the push."""
    by_bob = ("-c", "user.name=Robert", "-c", "user.email=BOB@example.com")

    def commit(branch: str, *words: str, by: tuple[str, ...] = ()) -> None:
        repo.git("checkout", "-q", "-B", branch)
        repo.git(*by, "commit", "-q", "--allow-empty", *words)

    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    if how == "author":
        commit("fix", "-m", "x", "--author", "Bob <Bob@example.com>")
    elif how == "committer":
        commit("fix", "-m", "x", "--author", "Ada <ada@example.com>", by=by_bob)
    elif how == "co-author":
        commit("fix", "-m", "x\n\nco-authored-by: B. <bob@EXAMPLE.com>")
    elif how == "an older commit":
        commit("fix", "-m", "x", by=by_bob)
        commit("fix", "-m", "y")
    else:
        commit("side", "-m", "x", by=by_bob)
        repo.git("checkout", "-q", "fix")
        repo.git("merge", "-q", "--no-ff", "-m", "bring in", "side")
    repo.push("fix", {"docs/x": "last"})

    await (await site.session()).submit("fix")
    for who in (BOB, ADA):
        with pytest.raises(Refused) as told:
            await (await site.session(who)).review("fix", approve=True, comment="")
        assert (told.value.code, told.value.exit_code) == ("own_proposal", 5)
    one = await (await site.session(EVE)).review("fix", approve=True, comment="")
    assert one.approvers == ["Eve <eve@example.com>"]


async def test_what_the_base_already_has_gives_its_writers_no_hand_in_it(site: Site, repo: Repo) -> None:
    """Bob's own commit on the base comes into the branch by a merge of the base: he may still review."""
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    repo.git("checkout", "-q", "main")
    repo.git("commit", "-q", "--allow-empty", "-m", "x", "--author", str(BOB))
    repo.push("main", {"docs/x": "x"})
    repo.git("checkout", "-q", "fix")
    repo.git("merge", "-q", "-m", "catch up", "main")
    repo.push("fix", {"docs/y": "y"})
    assert (await (await site.approved("fix")).apply("fix"))[0].state == "APPLIED"


async def test_who_says_no_before_the_branch_moves_stops_it(
    site: Site, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.approved("fix")
    start = session.base.sha
    applied = lifecycle.ProposalSession._applied

    async def late(self: Any, *given: Any) -> Any:
        await (await site.session(EVE)).review("fix", approve=False, comment="no")
        return await applied(self, *given)

    monkeypatch.setattr(lifecycle.ProposalSession, "_applied", late)
    with pytest.raises(Conflict) as told:
        await session.apply("fix")
    assert told.value.code == "proposal_ended"
    assert (await site.session()).base.sha == start


async def test_who_says_no_while_the_branch_moves_is_too_late(
    site: Site, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody waits: no transaction is open while a remote takes its time."""
    repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    session = await site.approved("fix")
    loop = asyncio.get_running_loop()

    async def no() -> None:
        assert (await (await site.session(EVE)).review("fix", approve=False, comment="no")).state == "REJECTED"

    def slow(*given: Any) -> None:
        asyncio.run_coroutine_threadsafe(no(), loop).result(20)
        branches.move(*given)

    monkeypatch.setattr(lifecycle, "move", slow)
    one, _ = await session.apply("fix")
    assert (one.state, one.row.ended_by) == ("APPLIED", "Bob <bob@example.com>")


FORGE = """import json, sys
told = json.loads(sys.argv[1])
words = sys.argv[2:]
told = {"base": words[words.index("--base") + 1], "head": words[words.index("--head") + 1], **told}
print(json.dumps(told))
sys.exit(0 if told.get("ok", True) else 1)
"""


def stages(*required: str, **states: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "state": states.get(name, "passed"), "required": name in required}
        for name in ("validate", "plan", "test", "replay")
    ]


FORGED: dict[str, dict[str, Any]] = {
    "says nothing": {},
    "only says yes": {"ok": True},
    "another head": {"ok": True, "failed": [], "stages": stages("validate"), "head": "a" * 40},
    "another base": {"ok": True, "failed": [], "stages": stages("validate"), "base": "a" * 40},
    "a stage is left out": {"ok": True, "failed": [], "stages": stages("validate")[1:]},
    "nothing was required": {"ok": True, "failed": [], "stages": stages()},
    "its verdict is not its stages'": {"ok": True, "failed": [], "stages": stages("validate", validate="failed")},
    "what is required was empty": {"ok": True, "failed": [], "stages": stages("validate", validate="empty")},
    "no list": {"ok": True, "failed": [], "stages": 7},
    "no verdict": {"ok": 1, "failed": None, "stages": stages("validate")},
}


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Let the child be one that says what it likes."""

    def say(told: dict[str, Any]) -> None:
        monkeypatch.setattr(check_process, "_COMMAND", (sys.executable, "-c", FORGE, json.dumps(told)))

    return say


async def test_a_report_that_a_child_made_up_counts_for_nothing(
    repo: Repo, forge: Callable[[dict[str, Any]], None]
) -> None:
    head = repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
    base = repo.git("rev-parse", "main")
    ask = partial(run_check, Path(repo.bare), "", "prod", base, head)
    for told in FORGED.values():
        forge(told)
        with pytest.raises(Unavailable) as refused:
            await ask()
        assert refused.value.code == "check_broken", told
    forge({"ok": True, "failed": [], "stages": stages("validate")})
    assert (await ask())["ok"], "the double tells the same shape as the real one"
