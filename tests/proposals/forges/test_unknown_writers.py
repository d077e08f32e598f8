"""A commit whose author GitHub does not name may be any reviewer's: it costs one approval more."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from automata.git.branches import Person
from automata.proposals.forges.github import GitHub
from automata.proposals.lifecycle import ProposalSession
from automata.proposals.participants import Participant
from tests.proposals.forges.github_double import TOKEN, GitHubDouble
from tests.proposals.forges.test_github import REPO
from tests.proposals.repo import Repo, text
from tests.proposals.site import Site

SOMEBODY = Person("Somebody", "somebody@example.com")


@dataclass
class Scene:
    site: Site
    repo: Repo
    double: GitHubDouble
    github: GitHub

    async def submitted(self, mail: str, by: Person = SOMEBODY, message: str = "change") -> int:
        """A pull request of one commit that says it is by `mail`, opened by Automata when `by` submits it."""
        self.repo.push("fix", {"flows/orders.yaml": text("orders", 2)}, "main")
        self.repo.git("-c", f"user.email={mail}", "commit", "-q", "--amend", "--reset-author", "-m", message)
        self.repo.git("push", "-q", "--force", str(self.repo.bare), "fix")
        session = await self.session(by)
        await session.submit("fix")
        await session.check("fix")
        return next(iter(self.double.pulls))

    async def session(self, by: Person = SOMEBODY) -> ProposalSession:
        return await ProposalSession.open(self.site.db, self.site.source, by, self.site.checker, forge=self.github)

    async def told(self) -> tuple[str, int, list[str]]:
        one = await (await self.session()).find("fix")
        return one.state, one.needed, [by.partition(" ")[0] for by in one.approvers]


@pytest.fixture
async def scene(site: Site, repo: Repo) -> AsyncIterator[Scene]:
    double = GitHubDouble(repo.bare)
    async with double.running() as url:
        yield Scene(site, repo, double, GitHub(url, REPO, TOKEN))
    assert double.wrong == []


@pytest.mark.parametrize(
    "mail",
    ["made@up.example", "ghost@users.noreply.github.com", "7+ghost@users.noreply.github.com", "bob@EXAMPLE.com.evil"],
)
async def test_an_author_whom_github_does_not_name_costs_one_approval_more(scene: Scene, mail: str) -> None:
    number = await scene.submitted(mail)
    scene.double.review(number, "ada")  # who may have written it
    assert await scene.told() == ("PENDING_REVIEW", 2, ["ada"])
    scene.double.review(number, "bob")
    assert await scene.told() == ("APPROVED", 2, ["ada", "bob"])


async def test_an_author_whom_github_names_costs_none_and_has_no_say(scene: Scene) -> None:
    number = await scene.submitted("ada@example.com")
    scene.double.review(number, "ada")
    assert await scene.told() == ("PENDING_REVIEW", 1, [])
    scene.double.review(number, "bob")
    assert await scene.told() == ("APPROVED", 1, ["bob"])


async def test_author_and_committer_count_each(scene: Scene) -> None:
    scene.double.logins["pair@example.com"] = "carol"
    number = await scene.submitted("made@up.example", message="change\n\nCo-authored-by: X <other@up.example>")
    for login in ("ada", "bob"):
        scene.double.review(number, login)
    assert await scene.told() == ("PENDING_REVIEW", 3, ["ada", "bob"])


@pytest.mark.parametrize(
    ("mail", "needed", "login"),
    [
        ("eve@example.com", 2, "eve"),
        ("eve@automata", 2, "eve"),
        ("12+eve@users.noreply.github.com", 1, "eve"),
        ("ada@example.com", 1, "ada"),
    ],
)
async def test_who_submits_with_a_token_is_one_of_the_writers(scene: Scene, mail: str, needed: int, login: str) -> None:
    """GitHub sees a pull request of Automata's; whoever asked for it may have pushed it under a colleague's name."""
    await scene.submitted("ada@example.com", Participant("Eve", mail, "token:1"))
    assert (await scene.told())[:2] == ("PENDING_REVIEW", needed)
    scene.double.may_write.add(login)
    scene.double.review(1, login)
    state, _, approvers = await scene.told()
    assert state == "PENDING_REVIEW", approvers


async def test_who_submits_is_known_by_a_commit_on_the_default_branch(scene: Scene) -> None:
    scene.double.logins["eve@example.com"] = "eve"
    scene.double.may_write.add("eve")
    eve = Participant("Eve", "eve@example.com", "token:1")
    await scene.submitted("ada@example.com", eve)
    assert (await scene.told())[1] == 2, "GitHub has no commit of hers"
    scene.repo.git("checkout", "-q", "main")
    scene.repo.git("-c", "user.email=eve@example.com", "commit", "-q", "--allow-empty", "-m", "hers")
    scene.repo.git("push", "-q", str(scene.repo.bare), "main")
    await (await scene.session(eve)).check("fix")
    scene.double.review(1, "eve")
    assert await scene.told() == ("PENDING_REVIEW", 1, [])
    scene.double.review(1, "bob")
    assert await scene.told() == ("APPROVED", 1, ["bob"])
