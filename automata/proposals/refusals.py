"""What a proposal is refused for, in the words that say what to do about it; no state is kept here."""

from __future__ import annotations

import re

from automata.errors import Conflict, Invalid, Missing, Refused, Usage
from automata.git.branches import Person
from automata.git.names import deceiving, shown
from automata.proposals.participants import identity_of
from automata.proposals.status import ProposalStatus
from automata.store import proposals as store

MAX_TITLE_CHARS = 200
MAX_COMMENT_CHARS = 4_000


def expect_head(proposal: ProposalStatus, head: str | None) -> None:
    """Raise Conflict (`head_moved`) when the branch is not at `head`, a SHA or its beginning; None expects nothing."""
    if head is None:
        return
    if not re.fullmatch(r"[0-9a-f]{7,40}", head):
        raise Usage(f"{shown(head)} is not a commit.", code="bad_sha", hint="7 to 40 hexadecimal digits are expected.")
    if not proposal.head.startswith(head):
        raise Conflict(
            f"{shown(proposal.row.branch)} is at {proposal.head[:12]} by now.",
            code="head_moved",
            hint=f"Look at it again: automata proposal diff {proposal.row.number}",
        )


def refuse_trouble(proposal: ProposalStatus) -> None:
    """Raise what keeps it from being merged: conflicts, or a branch or base that cannot be read."""
    if proposal.merge.conflicts:
        raise _conflicted(proposal)
    for trouble in (proposal.trouble, proposal.base.trouble):
        if trouble:
            raise trouble


def first_line(message: str) -> str:
    """The first line of a commit's message, as a title."""
    line = next((line for line in message.splitlines() if line.strip()), "")
    return " ".join("".join(" " if deceiving(character) else character for character in line).split())[:MAX_TITLE_CHARS]


def title_of(text: str) -> str:
    """`text` as a title. Raises Invalid (`bad_title`)."""
    text = text.strip()
    # It stands in the message of the merge: a line of its own there would be one more `Approved-by`.
    if not 0 < len(text) <= MAX_TITLE_CHARS or deceiving(text):
        raise Invalid(f"A title has 1 to {MAX_TITLE_CHARS} characters, on one line.", code="bad_title")
    return text


def _conflicted(proposal: ProposalStatus) -> Conflict:
    return Conflict(
        f"It conflicts with {proposal.base.branch} in {', '.join(proposal.merge.conflicts)}.",
        code="conflicted",
        hint="Merge the base into the branch and push.",
        details={"files": list(proposal.merge.conflicts)},
    )


def still_open(proposal: ProposalStatus, *, there: bool = True) -> ProposalStatus:
    """`proposal`, when it has not ended and, if it must be `there`, its branch is."""
    if proposal.row.state not in store.OPEN:
        raise Conflict(f"The proposal {proposal.row.number} is {proposal.row.state}.", code="proposal_ended")
    if there and not proposal.head:
        raise Missing(
            f"The branch {shown(proposal.row.branch)} is gone.",
            code="branch_not_found",
            hint="Push it again, or close it.",
        )
    return proposal


def refuse_draft(proposal: ProposalStatus) -> None:
    """Raise Conflict (`not_submitted`) when nobody has asked for a review."""
    if proposal.row.state != "PENDING_REVIEW":
        raise Conflict(
            "It is a draft: nobody has asked for a review.",
            code="not_submitted",
            hint=f"automata proposal submit {proposal.row.number}",
        )


def refuse_writer(proposal: ProposalStatus, actor: Person) -> None:
    """Raise Refused (`own_proposal`) for those who contributed to it, by their address or by what let them in."""
    if proposal.is_of(actor.key, identity_of(actor)):
        raise Refused(
            "Who wrote, committed or co-authored a part of it, made the proposal or asked for its review,"
            " cannot approve it.",
            code="own_proposal",
        )


def refuse_unapproved(proposal: ProposalStatus) -> None:
    """Raise Refused (`not_approved`) when approvals of exactly this are missing."""
    refuse_draft(proposal)
    needed, approvals = proposal.needed, len(proposal.approvers)
    if approvals < needed:
        raise Refused(
            f"It needs {needed} {'approval' if needed == 1 else 'approvals'} of exactly this, and has {approvals}.",
            code="not_approved",
            hint=_unknown_hint(proposal)
            or "A push, and a base that moved where it matters, drop approvals: ask for them again.",
        )


def _unknown_hint(proposal: ProposalStatus) -> str:
    if not proposal.unknown:
        return ""
    names = ", ".join(shown(key) for key in sorted(proposal.unknown))
    return (
        f"Nobody vouches for {names}: each costs one approval more."
        " A token with the mail makes a writer known; on a forge, an account there with the mail."
    )


def check_comment(text: str) -> None:
    """Raise Invalid (`too_long`) for a comment beyond MAX_COMMENT_CHARS."""
    if len(text) > MAX_COMMENT_CHARS:
        raise Invalid(f"A comment has at most {MAX_COMMENT_CHARS:,} characters.", code="too_long")
