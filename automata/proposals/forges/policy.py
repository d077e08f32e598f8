"""What a forge (GitHub) is to proposals: the pull request of a branch is the authority, and Automata tells it what it
found. Statuses and the comment are told for the reader's sake: a forge that is away keeps no check from being kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from automata.errors import AutomataError, Conflict, Refused, Usage
from automata.project.source import Source
from automata.proposals.status import ProposalStatus
from automata.report.markdown import MARKER, markdown, quoted
from automata.settings import Settings
from automata.store.proposals import ReviewRow

CHECK = "automata/check"
MAX_DESCRIPTION_CHARS = 140  # of a status: what GitHub takes

State = Literal["pending", "success", "failure", "error"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request within the repository. `author` is a login; `head` what it is at, by the forge."""

    number: int
    url: str
    author: str
    head: str


@dataclass(frozen=True, slots=True)
class Said:
    """The last word of somebody who may write to the repository: of which commit, and when."""

    login: str
    commit: str
    approved: bool
    at: datetime
    words: str = ""

    @property
    def by(self) -> str:
        """As proposals name people; the mail is the one that commits made on GitHub bear."""
        return f"{self.login} <{self.login}@users.noreply.github.com>"


@dataclass(frozen=True, slots=True)
class Reviews:
    """`hands`: logins, in lower case, of all who wrote, committed or opened it, so that none of them has a say."""

    said: tuple[Said, ...] = ()
    contributors: frozenset[str] = field(default_factory=frozenset)


class Forge(Protocol):
    """Raises Unavailable when it does not answer, Refused when it does not let us, Conflict when somebody was first."""

    async def pull(self, branch: str, base: str) -> Pull | None: ...
    async def open_pull(self, branch: str, base: str, title: str, body: str) -> Pull:
        """The one there is, or a new one."""
        ...

    async def close_pull(self, pull: Pull) -> None: ...
    async def reviews(self, pull: Pull) -> Reviews: ...
    async def status(self, sha: str, context: str, state: State, description: str, url: str) -> None: ...
    async def comment(self, pull: Pull, marker: str, text: str) -> None:
        """One comment of ours that begins with `marker`, made or changed in place."""
        ...

    async def merge(self, pull: Pull, head: str, title: str, message: str) -> str:
        """The merge commit; Conflict `head_moved` when the branch is not at `head`."""
        ...


def forge_of(settings: Settings, source: Source) -> Forge | None:
    """The forge of the settings' own repository; None where none is named, or `source` is another. Raises Usage."""
    if not settings.github_repo or not settings.repo:
        return None
    from automata.git.address import parse_address
    from automata.proposals.forges.github import GitHub

    if parse_address(settings.repo).url != source.name:
        return None
    if not settings.github_token:
        raise Usage(
            f"AUTOMATA_GITHUB_REPO names {settings.github_repo}, and there is no AUTOMATA_GITHUB_TOKEN.",
            code="no_forge_token",
            hint="docs/github.md says which permissions it needs.",
        )
    return GitHub(settings.github_api, settings.github_repo, settings.github_token)


def page_of(settings: Settings) -> str:
    """Where the console shows a proposal, but for its number; "" where nobody said how browsers reach it."""
    return f"{settings.public_url.rstrip('/')}/proposals/" if settings.public_url else ""


async def must_pull(forge: Forge, branch: str, base: str) -> Pull:
    """The open pull request of a branch. Raises Conflict `no_pull_request`."""
    if found := await forge.pull(branch, base):
        return found
    raise Conflict(
        f"There is no open pull request from {branch} to {base}.",
        code="no_pull_request",
        hint="Open one on the forge, or submit the proposal here: that opens it.",
    )


def refuse_on_forge(forge: Forge | None) -> None:
    if forge:
        raise Refused(
            "Reviews are made on the forge, where its pull request is.",
            code="on_the_forge",
            hint="Approve the pull request there; a proposal that shall not be is closed.",
        )


def pull_text(proposal: ProposalStatus, page: str) -> str:
    """What a pull request of ours says of itself."""
    text = f"Proposal {facts.row.number} of Automata, by {quoted(facts.row.author)}."
    return f"{text}\n\n{page}{facts.row.number}" if page else text


async def with_forge_reviews(forge: Forge, proposal: ProposalStatus) -> ProposalStatus:
    """The facts, with what the forge knows was said of exactly this head, by those who had no hand in it.

    Said is kept in no table until it counts: who takes it back on the forge has taken it back.
    """
    pull = await forge.pull(proposal.row.branch, proposal.base.branch)
    if pull is None or pull.head != proposal.head:
        return replace(proposal, reviews=())
    reviews = await forge.reviews(pull)
    contributors = reviews.contributors | {login for one in proposal.writers if (login := _login(one))}
    rows = [
        ReviewRow(0, *_bound(proposal), one.approved, one.by, one.words, one.at)
        for one in reviews.said
        if one.commit == proposal.head and one.login.lower() not in contributors
    ]
    return replace(proposal, reviews=tuple(sorted(rows, key=lambda row: row.created_at, reverse=True)))


def _bound(proposal: ProposalStatus) -> tuple[str, str, str, str]:
    bound = proposal.binding
    return bound.head, bound.base, bound.tree, bound.policy


def _login(key: str) -> str:
    """Whose the mail is that commits made on GitHub bear: `123+LOGIN@users.noreply.github.com`."""
    name, _, host = key.lower().rpartition("@")
    return name.rpartition("+")[2] if host == "users.noreply.github.com" else ""


async def tell_check(forge: Forge, head: str, pull: Pull | None, report: Mapping[str, Any], url: str) -> None:
    """Status of the head and the comment of the pull request, as far as the forge takes them."""
    failed = ", ".join(report.get("failed", ()))
    words = "validate, plan, test and replay: passed" if report["ok"] else f"refused by {failed or 'an error'}"
    await best_effort(forge.status(head, CHECK, "success" if report["ok"] else "failure", words, url))
    if pull and report.get("stages"):
        await best_effort(forge.comment(pull, MARKER, markdown(report)))


async def tell_sync(forge: Forge, sha: str, environment: str, error: AutomataError | None) -> None:
    """Whether a commit is what an environment runs, as its status `automata/sync/ENVIRONMENT`."""
    words = error.message if error else f"{environment} runs this commit"
    await best_effort(forge.status(sha, f"automata/sync/{environment}", "failure" if error else "success", words, ""))


async def best_effort(telling: Awaitable[None]) -> None:
    """Wait for it; what the forge does not take is logged, and no more."""
    try:
        async with asyncio.timeout(60):
            await telling
    except (AutomataError, TimeoutError) as error:
        log.warning("the forge was not told: %s", error)
