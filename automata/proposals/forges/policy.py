"""What proposals do with a forge: the pull request of a branch is the authority, and hears what Automata found.

Statuses and the comment are for the reader's sake: while a forge is away, checks are made and kept all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from automata.errors import AutomataError, Conflict, Refused
from automata.proposals.forges.contract import Forge, PullRequest, PullReviews
from automata.proposals.participants import maker_mails
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


async def with_forge_reviews(
    forge: Forge, proposal: ProposalStatus, signers: Mapping[tuple[str, str], str]
) -> ProposalStatus:
    """The status, with the reviews that the forge has of exactly this head, by those who did not contribute to it.

    They are kept in no table until they count: who takes a review back on the forge has taken it back. `signers`: the
    address of each author and committer, as `branches.signers` has it.
    """
    pull = await forge.find_pull(proposal.row.branch, proposal.base.branch)
    if pull is None or pull.head != proposal.head:
        return replace(proposal, reviews=(), unknown=frozenset())
    answer = await forge.reviews(pull)
    contributors, unknown = _contributors(forge, proposal.writers, answer, signers)
    for mail in sorted(unknown & maker_mails(proposal.row.makers) - set(signers.values())):
        if login := await forge.find_login(mail):
            contributors, unknown = contributors | {login}, unknown - {mail}
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
    reviews = tuple(sorted(rows, key=lambda row: row.created_at, reverse=True))
    return replace(proposal, reviews=reviews, unknown=unknown)


def _contributors(
    forge: Forge, writers: Iterable[str], answer: PullReviews, signers: Mapping[tuple[str, str], str]
) -> tuple[frozenset[str], frozenset[str]]:
    """(logins that have no say, addresses that could be anybody's): what signs a commit is known by the forge alone.

    Anybody may write any address into a commit, also one that looks like the forge's own.
    """
    told = {signers[place]: login for place, login in answer.logins.items() if place in signers}
    signed, contributors, unknown = set(signers.values()), set(answer.contributors), set()
    for key in writers:
        named = told.get(key, "")
        claimed = forge.login_of(key)
        contributors |= {named, claimed} - {""}
        if not named and (key in signed or not claimed):
            unknown.add(key)
    return frozenset(contributors), frozenset(unknown)


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
