"""What a forge (GitHub) is to proposals: the pull request of a branch is the authority, and Automata tells it what it
found. Statuses and the comment are told for the reader's sake: a forge that is away keeps no check from being kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any

from automata.errors import AutomataError, Conflict, Refused
from automata.proposals.forges.contract import Forge, PullRequest
from automata.proposals.status import ProposalStatus
from automata.report.markdown import MARKER, markdown, quoted
from automata.store.proposals import ReviewRow

CHECK = "automata/check"

log = logging.getLogger(__name__)


async def must_pull(forge: Forge, branch: str, base: str) -> PullRequest:
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
    text = f"Proposal {proposal.row.number} of Automata, by {quoted(proposal.row.author)}."
    return f"{text}\n\n{page}{proposal.row.number}" if page else text


async def with_forge_reviews(forge: Forge, proposal: ProposalStatus) -> ProposalStatus:
    """Its status, with what the forge knows was said of exactly this head, by those who had no hand in it.

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


async def tell_check(forge: Forge, head: str, pull: PullRequest | None, report: Mapping[str, Any], url: str) -> None:
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
