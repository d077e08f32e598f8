"""What proposals do with a forge: the pull request of a branch is the authority, and hears what Automata found.

Statuses and the comment are for the reader's sake: while a forge is away, checks are made and kept all the same.
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
CALL_SEC = 60.0  # what a status or a comment may take: the sync or the check behind it waits so long

log = logging.getLogger(__name__)


async def require_pull(forge: Forge, branch: str, base: str) -> PullRequest:
    """The open pull request of a branch. Raises Conflict `no_pull_request`."""
    if pull := await forge.find_pull(branch, base):
        return pull
    raise Conflict(
        f"There is no open pull request from {branch} to {base}.",
        code="no_pull_request",
        hint="Open one on the forge, or submit the proposal here: that opens it.",
    )


def refuse_on_forge(forge: Forge | None) -> None:
    """Raise Refused `on_the_forge` for a review that is made here, where there is a forge."""
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
    """The status, with the reviews that the forge has of exactly this head, by those who did not contribute to it.

    They are kept in no table until they count: who takes a review back on the forge has taken it back.
    """
    pull = await forge.find_pull(proposal.row.branch, proposal.base.branch)
    if pull is None or pull.head != proposal.head:
        return replace(proposal, reviews=())
    answer = await forge.reviews(pull)
    contributors = answer.contributors | {login for mail in proposal.writers if (login := forge.login_of(mail))}
    binding = proposal.binding
    rows = [
        ReviewRow(
            0,
            binding.head,
            binding.base,
            binding.tree,
            binding.policy,
            review.approved,
            review.by,
            review.comment,
            review.at,
        )
        for review in answer.reviews
        if review.commit == proposal.head and review.login.lower() not in contributors
    ]
    return replace(proposal, reviews=tuple(sorted(rows, key=lambda row: row.created_at, reverse=True)))


async def tell_check(forge: Forge, head: str, pull: PullRequest | None, report: Mapping[str, Any], url: str) -> None:
    """Status of the head and the comment of the pull request, as far as the forge takes them."""
    failed = ", ".join(report.get("failed", ()))
    words = "validate, plan, test and replay: passed" if report["ok"] else f"refused by {failed or 'an error'}"
    await best_effort(forge.set_status(head, CHECK, "success" if report["ok"] else "failure", words, url))
    if pull and report.get("stages"):
        await best_effort(forge.comment(pull, MARKER, markdown(report)))


async def tell_sync(forge: Forge, sha: str, environment: str, error: AutomataError | None) -> None:
    """Whether a commit is what an environment runs, as its status `automata/sync/ENVIRONMENT`."""
    words = error.message if error else f"{environment} runs this commit"
    await best_effort(
        forge.set_status(sha, f"automata/sync/{environment}", "failure" if error else "success", words, "")
    )


async def best_effort(call: Awaitable[None]) -> None:
    """Wait for a call of the forge, for CALL_SEC at most; a failure is logged and not raised."""
    try:
        async with asyncio.timeout(CALL_SEC):
            await call
    except (AutomataError, TimeoutError) as error:
        log.warning("the forge was not told: %s", error)
